# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A saved memory of the bundled model, loaded once for each file of tests."""

import pytest
from saved_memories import OLD

from infinipot_ros.integrations.held_memory import HeldMemory
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.storage import open_memory


@pytest.fixture(scope='session')
def memory():
    return open_memory(OLD, MemoryConfig('infinipot-tiny', max_new_tokens=4))[0]


@pytest.fixture(scope='session')
def source(memory):
    return HeldMemory(memory, OLD.name)
