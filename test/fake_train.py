# Copyright 2026 the sqz_perception authors
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.
#
# SPDX-License-Identifier: Apache-2.0
"""Stands for training.train: takes its arguments, leaves what it leaves, and learns nothing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

RECIPE = {'seed_everything': 1, 'trainer': {'max_epochs': 1, 'devices': 1}, 'model': {'rate': 0.1}}


def main() -> int:
    values = dict(part[2:].split('=', 1) for part in sys.argv[1:] if '=' in part)
    if '--print_config' in sys.argv:
        wrong = [name for name in values if name.startswith('model.') and name != 'model.rate']
        print(json.dumps(RECIPE))
        print(*(f'error: unrecognized arguments: --{name}' for name in wrong), file=sys.stderr)
        return 2 * bool(wrong)
    rate = float(values.get('model.rate', 0.1))
    folder = Path(values['trainer.default_root_dir'])
    if rate > 1:
        print('Traceback\nerror: the loss became infinite;\n  lower the rate')
        return 1
    epochs = int(values['trainer.max_epochs'])
    with (folder / 'metrics.csv').open('w') as metrics:
        print('epoch,val/top1,val/top5,val/loss', file=metrics)
        for epoch in range(epochs):
            print(f'{epoch},{rate},1.0,0.5', file=metrics, flush=True)
            (folder / 'last.ckpt').write_text(values.get('ckpt_path', ''))
            time.sleep(0.1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
