# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which files a save replaces: saved memories alone and, on request, those it knows."""

import os

import pytest
import torch
from safetensors.torch import save_file
from saved_memories import feed, make

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.storage import check_replaceable, load, load_at_start, save


def other_safetensors(path):
    save_file({'keys': torch.zeros(2)}, path)


@pytest.mark.parametrize('put', [
    lambda path: path.write_text('a letter'), lambda path: path.write_bytes(os.urandom(4000)),
    other_safetensors, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize('replace', [True, False])
def test_what_is_no_saved_memory_is_never_replaced(tiny, tmp_path, put, replace):
    path = tmp_path / 'memory'
    memory = make(tiny)
    save(memory, path)
    put(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match='memory is there and is not a saved memory; give'):
        save(memory, path, replace=replace)
    assert path.read_bytes() == before
    path.write_bytes(b'')
    save(memory, path, replace=replace)


def test_a_memory_replaces_on_request_only_the_files_it_knows(tiny, tmp_path):
    path, another = tmp_path / 'memory', tmp_path / 'another'
    memory, other = make(tiny), make(tiny)
    feed(memory, 4)
    for target in (path, another, path):
        save(memory, target, replace=False)
    before = path.read_bytes()
    with pytest.raises(StorageError, match='neither loaded from nor saved to; load it first'):
        save(other, path, replace=False)
    with pytest.raises(StorageError, match='neither loaded'):
        check_replaceable(other, path, replace=False)
    assert path.read_bytes() == before
    (tmp_path / 'link').symlink_to(path)
    load(other, tmp_path / 'link')
    feed(other, 2, start=70)
    save(other, path, replace=False)
    with pytest.raises(StorageError, match='neither loaded'):
        save(memory, path, replace=False)
    save(memory, path)
    load_at_start(restarted := make(tiny), path)
    save(restarted, path, replace=False)
