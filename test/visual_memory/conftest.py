# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One random checkpoint of each kind, and a saved memory."""

import pytest
from saved_memories import feed, make
from tiny_models import KINDS, make_tiny

from infinipot_ros.visual_memory.storage import save


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    return {kind: make_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope='session')
def tiny(checkpoints):
    return str(checkpoints['qwen2_5_vl'])


@pytest.fixture(scope='module')
def folder(kind, tmp_path_factory):
    return make_tiny(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return tmp_path_factory.mktemp('saved') / 'memory.safetensors'


@pytest.fixture(scope='module')
def good(checkpoints, tmp_path_factory):
    """A saved memory with something of everything in it."""
    memory = make(checkpoints['qwen2_5_vl'], block_size=4, recent_frames=2)
    feed(memory, 20, cameras=('front', 'rear'))
    feed(memory, 15, start=20, cameras=('front', 'rear'), height=84, width=56)
    path = tmp_path_factory.mktemp('good') / 'memory.safetensors'
    save(memory, path)
    return path
