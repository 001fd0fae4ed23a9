# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a memory saves itself."""

import pytest
from camera import SECOND, noise, stamp

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.autosave import Autosave
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory


@pytest.fixture
def memory(tiny):
    return VisualMemory(MemoryConfig(model=tiny, budget=48, max_pixels=12 * 784))


def test_it_saves_a_period_later_if_something_was_seen(memory):
    autosave = Autosave(10.0)
    autosave.start(0, memory.status())
    assert not autosave.due(20 * SECOND, memory.status()), 'nothing to save'
    memory.add_frame(noise(0), stamp(0))
    assert not autosave.due(10 * SECOND - 1, memory.status())
    assert autosave.due(10 * SECOND, memory.status())
    autosave.start(10 * SECOND, memory.status())
    assert not autosave.due(30 * SECOND, memory.status()), 'nothing new'
    memory.add_frame(noise(1), stamp(1))
    assert not autosave.due(19 * SECOND, memory.status())
    assert autosave.due(20 * SECOND, memory.status())


def test_what_failed_to_be_saved_is_tried_again_and_at_the_end(memory):
    autosave = Autosave(10.0)
    autosave.start(0, memory.status())
    memory.add_frame(noise(0), stamp(0))
    assert autosave.due(10 * SECOND, memory.status())
    autosave.put_off(10 * SECOND)
    assert not autosave.due(20 * SECOND - 1, memory.status()), 'not at once'
    assert autosave.due(20 * SECOND, memory.status())
    assert autosave.changed(memory.status())


def test_a_reset_is_a_change_and_asking_is_none(memory):
    autosave = Autosave(1.0)
    memory.add_frame(noise(0), stamp(0))
    autosave.start(0, memory.status())
    memory.ask('What is there?')
    assert not autosave.changed(memory.status())
    memory.reset()
    assert autosave.due(SECOND, memory.status())


def test_no_period_never_saves(memory):
    autosave = Autosave(0.0)
    memory.add_frame(noise(0), stamp(0))
    assert not autosave.due(10 ** 18, memory.status())
    assert autosave.changed(memory.status()), 'a last save is another matter'


@pytest.mark.parametrize('period', [-1.0, float('nan'), float('inf')])
def test_a_period_is_a_time(period):
    with pytest.raises(ConfigurationError, match='autosave period'):
        Autosave(period)
