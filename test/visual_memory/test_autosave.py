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
def observer(tiny):
    return VisualMemory(MemoryConfig(model=tiny, budget=48, max_pixels=12 * 784))


def test_it_saves_a_period_later_if_something_was_seen(observer):
    autosave = Autosave(10.0)
    autosave.start(0, observer.status())
    assert not autosave.due(20 * SECOND, observer.status()), 'nothing to save'
    observer.add_frame(noise(0), stamp(0))
    assert not autosave.due(10 * SECOND - 1, observer.status())
    assert autosave.due(10 * SECOND, observer.status())
    autosave.start(10 * SECOND, observer.status())
    assert not autosave.due(30 * SECOND, observer.status()), 'nothing new'
    observer.add_frame(noise(1), stamp(1))
    assert not autosave.due(19 * SECOND, observer.status())
    assert autosave.due(20 * SECOND, observer.status())


def test_what_failed_to_be_saved_is_tried_again_and_at_the_end(observer):
    autosave = Autosave(10.0)
    autosave.start(0, observer.status())
    observer.add_frame(noise(0), stamp(0))
    assert autosave.due(10 * SECOND, observer.status())
    autosave.put_off(10 * SECOND)
    assert not autosave.due(20 * SECOND - 1, observer.status()), 'not at once'
    assert autosave.due(20 * SECOND, observer.status())
    assert autosave.changed(observer.status())


def test_a_reset_is_a_change_and_asking_is_none(observer):
    autosave = Autosave(1.0)
    observer.add_frame(noise(0), stamp(0))
    autosave.start(0, observer.status())
    observer.ask('What is there?')
    assert not autosave.changed(observer.status())
    observer.reset()
    assert autosave.due(SECOND, observer.status())


def test_no_period_never_saves(observer):
    autosave = Autosave(0.0)
    observer.add_frame(noise(0), stamp(0))
    assert not autosave.due(10 ** 18, observer.status())
    assert autosave.changed(observer.status()), 'a last save is another matter'


@pytest.mark.parametrize('period', [-1.0, float('nan'), float('inf')])
def test_a_period_is_a_time(period):
    with pytest.raises(ConfigurationError, match='autosave period'):
        Autosave(period)
