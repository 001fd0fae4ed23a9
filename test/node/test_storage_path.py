# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a memory is kept: a directory made when it is needed, a name that no other node has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinipot_ros.errors import StorageError
from infinipot_ros.node.storage_path import memory_name, saved_path


def test_the_directory_is_made_and_names_stay_in_it(tmp_path: Path) -> None:
    root = tmp_path / 'new' / 'memories'
    assert saved_path(str(root), 'kitchen') == root.resolve() / 'kitchen'
    assert root.is_dir()
    assert root.stat().st_mode & 0o777 == 0o700, 'it will show what the camera saw'
    root.chmod(0o755)
    saved_path(str(root), 'kitchen')
    assert root.stat().st_mode & 0o777 == 0o755, 'one that exists stays as it is'
    with pytest.raises(StorageError, match='leads out'):
        saved_path(str(root), '../kitchen')


@pytest.mark.parametrize('directory', ['~nobody_of_this_name/memories', '/dev/null/memories'])
def test_a_directory_that_cannot_be_is_refused(directory: str) -> None:
    with pytest.raises(StorageError, match=r'storage\.directory'):
        saved_path(directory, 'kitchen')


# Of what names in ROS are made.
TOKENS = st.from_regex('[A-Za-z_][A-Za-z0-9_]{0,30}', fullmatch=True)
NAMES = st.lists(TOKENS, min_size=1, max_size=12).map(lambda tokens: '/' + '/'.join(tokens))


@pytest.mark.parametrize(('node', 'file'), [
    ('/infinipot', 'infinipot.memory.safetensors'),
    ('/robot1/infinipot', 'robot1.infinipot.memory.safetensors'),
    ('/fleet/robot_2/memory', 'fleet.robot_2.memory.memory.safetensors')])
def test_by_default_a_file_has_the_name_of_its_node(node: str, file: str) -> None:
    assert memory_name('', node) == file
    assert memory_name('  ', node) == file
    assert memory_name('kitchen', node) == 'kitchen'


@given(one=NAMES, other=NAMES)
def test_two_nodes_never_have_one_file_by_default(one: str, other: str) -> None:
    assert (memory_name('', one) == memory_name('', other)) == (one == other)


def test_the_longest_names_fit_and_stay_apart(tmp_path: Path) -> None:
    nodes = ['/' + 'a' * length for length in (180, 181, 182, 250)]
    nodes += ['/' + 'a' * 249 + 'b', '/' + 'a/' * 120 + 'b', '/' + 'a/' * 120 + 'c']
    names = {memory_name('', node) for node in nodes}
    assert len(names) == len(nodes)
    for name in names:
        assert saved_path(str(tmp_path), name).name == name


@pytest.mark.parametrize('name', ['.kitchen.lock', '.kitchen.part', 'sub/.kitchen.lock'])
def test_names_of_what_lies_beside_a_memory_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / 'sub').mkdir()
    with pytest.raises(StorageError, match='leave out the dot'):
        saved_path(str(tmp_path), name)
    assert saved_path(str(tmp_path), name.replace('.k', 'k')).suffix in ('.lock', '.part')
