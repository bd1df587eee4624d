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
"""Build and install the package: by colcon on a robot, by pip anywhere."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from setuptools import setup

NAME = 'sqz_perception'
SHARE = f'share/{NAME}'


def requirements(name: str) -> list[str]:
    """Return the lines of a file in requirements/, without its comments."""
    # Beside the real setup.py: colcon build --symlink-install runs it through a link.
    file = Path(__file__).resolve().parent / 'requirements' / f'{name}.txt'
    lines = file.read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name=NAME,
    version='0.1.0',
    description='Camera frames in, classifications out, with a model small enough for the air',
    author='sqz_perception authors',
    author_email='sqz-perception@example.org',
    maintainer='sqz_perception maintainers',
    maintainer_email='sqz-perception@example.org',
    license='Apache-2.0',
    packages=[
        'sqz_perception',
        'sqz_perception.formats',
        'sqz_perception.inference',
        'sqz_perception.model',
        'sqz_perception.nodes',
        'sqz_perception.update',
    ],
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/config', sorted(glob('config/*'))),
        (f'{SHARE}/launch', sorted(glob('launch/*.launch.py'))),
        (f'{SHARE}/models', sorted(glob('models/*.sqz'))),
    ],
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={'test': ['hypothesis', 'pytest']},
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'classifier_node = sqz_perception.nodes.entry:classifier_node',
            'image_source_node = sqz_perception.nodes.entry:image_source_node',
        ],
    },
)
