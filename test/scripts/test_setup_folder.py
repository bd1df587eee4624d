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
"""The set-up removes only what it made, and refuses paths that ROS 2 cannot have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import setup_folder
from setup_failures import SetupError
from setup_folder import MARKER, check_path, clear

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> list[tuple[str, bytes | None]]:
    """Return the names and contents of all that lies in a folder."""
    return sorted(
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None)
        for path in folder.rglob('*')
    )


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Return a folder that somebody else keeps files in."""
    folder = tmp_path / 'mine'
    (folder / 'deep').mkdir(parents=True)
    (folder / 'deep' / 'file').write_text('precious')
    (folder / 'setup.log').write_text('my own log')
    return folder


def set_up(venv: Path | str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the set-up as make does, to an end that comes before anything is installed."""
    command = [sys.executable, str(ROOT / 'scripts' / 'setup_env.py'), 'lint', '--venv', str(venv)]
    # A Python without venv: a folder that is not refused is not touched either.
    stop = 'raise ImportError'
    (cwd / 'site').mkdir(exist_ok=True)
    (cwd / 'site' / 'venv.py').write_text(stop)
    env = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(cwd / 'site')}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    'form', ['mine', 'mine/', './mine', 'mine/deep/..', 'link', 'link/', 'link/deep', 'mine/deep']
)
def test_a_folder_of_somebody_else_stays(mine: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / 'link').symlink_to(mine)
    before = contents(mine)
    run = set_up(form, tmp_path)
    assert contents(mine) == before
    assert run.returncode == 1
    assert run.stderr.startswith(f'error: {mine}'), run.stderr
    assert 'was not made by this set-up' in run.stderr
    assert run.stderr.count('\n') == 1


def test_a_virtual_environment_of_somebody_else_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path / 'v'], check=True)
    before = contents(tmp_path / 'v')
    assert 'was not made by this set-up' in set_up('v', tmp_path).stderr
    assert contents(tmp_path / 'v') == before


def test_stamps_alone_do_not_make_a_folder_ours(mine: Path, tmp_path: Path) -> None:
    (mine / 'setup.json').write_text('{"venv": "of another checkout"}')
    assert 'was not made by this set-up' in set_up('mine', tmp_path).stderr


@pytest.mark.parametrize(
    'form', ['', '.', '..', '/', str(ROOT), str(ROOT / 'test'), str(ROOT.parent)]
)
def test_the_checkout_and_what_holds_it_stay(tmp_path: Path, form: str) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'cwd').mkdir()
    (tmp_path / 'cwd' / 'file').touch()
    run = set_up(form, tmp_path / 'cwd')
    assert 'was not made by this set-up' in run.stderr
    assert (tmp_path / 'file').exists()
    assert (tmp_path / 'cwd' / 'file').exists()
    assert not (ROOT.parent / MARKER).exists()


def test_a_marked_folder_that_holds_the_checkout_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MARKER).touch()
    monkeypatch.setattr(setup_folder, 'ROOT', tmp_path / 'src' / 'checkout')
    (tmp_path / 'src' / 'checkout').mkdir(parents=True)
    for folder in (tmp_path, tmp_path / 'src'):
        with pytest.raises(SetupError, match='was not made by this set-up'):
            clear(folder)
    assert (tmp_path / 'src' / 'checkout').is_dir()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('precious')
    assert 'was not made by this set-up' in set_up('file', tmp_path).stderr
    assert (tmp_path / 'file').read_text() == 'precious'


def test_links_in_a_circle_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / 'a').symlink_to('b')
    (tmp_path / 'b').symlink_to('a')
    run = set_up('a', tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith('error: ') and run.stderr.count('\n') == 1


def test_an_empty_folder_is_taken_and_its_own_is_cleared(tmp_path: Path, mine: Path) -> None:
    venv = tmp_path / 'venv'
    venv.mkdir()
    clear(venv)
    (venv / 'lib').mkdir()
    (venv / 'lib' / 'module.py').touch()
    (venv / 'to-mine').symlink_to(mine)
    (venv / 'nowhere').symlink_to('nothing')
    before = contents(mine)
    clear(venv)
    assert [path.name for path in venv.iterdir()] == [MARKER]
    assert contents(mine) == before


def test_an_interrupted_removal_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tmp_path / 'venv'
    clear(venv)
    (venv / 'lib').mkdir()
    (venv / 'share').mkdir()

    def interrupted(path: Path) -> None:
        path.rmdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'rmtree', interrupted)
        with pytest.raises(KeyboardInterrupt):
            clear(venv)
    clear(venv)
    assert [path.name for path in venv.iterdir()] == [MARKER]


def test_distclean_removes_what_make_made_only(tmp_path: Path) -> None:
    (tmp_path / 'scripts').mkdir()
    (tmp_path / 'scripts' / 'setup_env.py').touch()
    for name in ('.venv', '.venv-kilted', '.venv-own'):
        (tmp_path / name / 'bin').mkdir(parents=True)
    (tmp_path / '.venv-kilted' / MARKER).touch()
    (tmp_path / '.venv-link').symlink_to('.venv')
    command = ['make', '-f', ROOT / 'Makefile', 'distclean']
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert '.venv stays' in run.stdout and '.venv-own stays' in run.stdout
    assert '.venv-kilted stays' not in run.stdout
    assert sorted(path.name for path in tmp_path.glob('.venv*')) == [
        '.venv', '.venv-link', '.venv-own',
    ]  # fmt: skip
    assert (tmp_path / '.venv' / 'bin').is_dir()


def test_clean_elsewhere_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / 'build').mkdir()
    run = subprocess.run(
        ['make', '-f', ROOT / 'Makefile', 'clean'], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode and 'run make in the root of the checkout' in run.stderr
    assert (tmp_path / 'build').is_dir()


@pytest.mark.parametrize('name', ['plain', 'two words', 'Käse', '日本', "+@%=,~#'(&!^)"])
def test_other_characters_are_taken(name: str) -> None:
    check_path(Path('/home') / name)


@pytest.mark.parametrize('character', ':;$"\\`*?<>|[]{}\n\t\x7f\udce4')
def test_a_path_that_cannot_work_is_refused_by_name(tmp_path: Path, character: str) -> None:
    name = f'a{character}b'
    with pytest.raises(SetupError) as refused:
        check_path(Path('/home', name))
    assert repr(f'/home/{name}') in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_refused_path_is_not_made(tmp_path: Path) -> None:
    run = set_up(tmp_path / 'a;\udce4', tmp_path)
    assert run.returncode == 1 and 'which breaks ROS 2' in run.stderr
    assert run.stderr.count('\n') == 1
    assert not (tmp_path / 'a;\udce4').exists()
