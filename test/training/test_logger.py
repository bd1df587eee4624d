# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""metrics.csv when Ctrl-C comes while it is written."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip('pytorch_lightning', reason='training needs it, which make test installs')

from training.logger import MetricsLogger
from training.metrics import epochs


def test_an_interrupt_leaves_the_metrics_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the new column is noted and before the older lines have one."""
    logger = MetricsLogger(str(tmp_path), name='', version='')
    logger.log_metrics({'epoch': 0, 'val/top1': 0.5}, 3)
    logger.save()
    writer = logger.experiment
    write = writer._rewrite_with_new_header

    def interrupted(names: list[str]) -> None:
        signal.raise_signal(signal.SIGINT)
        write(names)

    monkeypatch.setattr(writer, '_rewrite_with_new_header', interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        logger.log_metrics({'epoch': 0, 'train/loss': 2.0}, 3)
        with pytest.raises(KeyboardInterrupt):
            logger.save()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    logger.finalize('failed')
    wanted = {'epoch': 0, 'step': 3, 'val/top1': 0.5, 'train/loss': 2.0}
    assert epochs(tmp_path / 'metrics.csv') == [wanted]
