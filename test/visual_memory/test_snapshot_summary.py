# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A saved memory described from its file, and made anew from it with nothing but a model."""

from pathlib import Path

import pytest
from saved_memories import OLD, answer_of, assert_twins, feed, make

from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot
from infinipot_ros.visual_memory.snapshot_summary import summarise
from infinipot_ros.visual_memory.storage import open_memory, save

LIMITS = {'max_new_tokens': 4, 'max_question_chars': 60, 'session_tokens': 16}


def of(model, **changes):
    return MemoryConfig(str(model), **LIMITS, **changes)


def rewritten(source, path, settings):
    """Copy a saved memory, with other settings."""
    with read_snapshot(source) as file:
        write_snapshot(path, file.facts, file.tensors, settings)
    return path


def test_a_summary_says_what_the_memory_holds(tiny, path):
    memory = make(tiny, policy='uniform', block_size=4, recent_frames=4)
    feed(memory, 22, cameras=('front', 'rear'))
    saved = save(memory, path)
    found, status, moments = summarise(path), memory.status(), memory.moments()
    assert (found.size, found.tokens, found.policy) == (saved.size, status.tokens, 'uniform')
    assert (found.settings.model, found.settings.budget) == (Path(tiny).name, 48)
    assert (found.frames, found.frames_pending) == (20, status.frames_pending) == (20, 2)
    recent = sum(len(grid.frames) for grid in memory.capture().recent)
    assert found.recent_frames == recent > 0
    assert found.compressions == status.compressions > 0
    assert (found.first_ns, found.last_ns) == (status.oldest_ns, status.newest_ns)
    assert found.cameras == {
        name: sum(each.camera == name for _, each in moments) for name in ('front', 'rear')}
    assert found.moments == len(moments) > found.poses > 0
    assert found.thumbnails == len(memory.thumbnails)


def test_where_a_model_was_is_not_in_the_file(tiny, path):
    save(make(tiny), path)
    assert str(Path(tiny).parent).encode() not in path.read_bytes()


@pytest.mark.parametrize('changes', [
    {}, {'policy': 'recent', 'keep_ratio': 0.5}, {'recent_frames': 4}, {'block_size': 4},
    {'max_pixels': 20 * 784, 'budget': 80}, {'kv_dtype': 'int8'},
])
def test_a_memory_opened_elsewhere_answers_as_it_did(tiny, path, changes):
    memory = make(tiny, **changes)
    feed(memory, 23)
    save(memory, path)
    opened, loaded = open_memory(path, of(tiny, budget=4096, max_pixels=100 * 784))
    assert (loaded.tokens, loaded.frames_lost) == (loaded.saved_tokens, 0)
    assert answer_of(opened) == answer_of(memory)
    for each in (memory, opened):
        feed(each, 5, start=23)
    assert_twins(opened, memory)


def test_what_is_given_wins_over_the_file(tiny, path):
    memory = make(tiny)
    feed(memory, 20)
    save(memory, path)
    opened, loaded = open_memory(path, of(tiny, budget=30), keep=['budget'])
    assert opened.settings.budget == 30 and loaded.tokens <= 30 < loaded.saved_tokens


def test_a_file_without_settings_is_held_whole(tiny, tmp_path):
    memory = make(tiny, budget=5000)
    feed(memory, 40)
    save(memory, tmp_path / 'new')
    path = rewritten(tmp_path / 'new', tmp_path / 'old', {})
    found = summarise(path)
    assert found.settings.model is None and found.settings.budget is None
    small = of(tiny, budget=memory.status().tokens // 2, max_pixels=12 * 784)
    assert found.adapt(small).budget == found.tokens
    assert open_memory(path, small)[1].tokens == found.tokens
    assert summarise(OLD).settings.budget is None and summarise(OLD).tokens == 18


@pytest.mark.parametrize(('settings', 'why'), [
    ({'budget': True}, 'budget'), ({'budget': 0}, 'budget'), ({'budget': '64'}, 'budget'),
    ({'model': 7}, 'model'), ({'keep_ratio': [0.5]}, 'keep_ratio'),
    ({'recent_frames': -1}, 'recent_frames')])
def test_settings_that_none_can_have_are_refused(good, tmp_path, settings, why):
    with pytest.raises(StorageError, match=f'not a valid memory snapshot \\({why}'):
        summarise(rewritten(good, tmp_path / 'forged', settings))


def test_settings_that_do_not_work_are_refused_as_typed_ones_are(good, tiny, tmp_path):
    path = rewritten(good, tmp_path / 'forged', {'positions': 'nowhere', 'later': 1})
    with pytest.raises(ConfigurationError, match="positions is 'nowhere'"):
        open_memory(path, of(tiny))


def test_another_model_is_refused_with_the_name_that_the_file_gives(good, checkpoints, tiny):
    with pytest.raises(StorageError, match=f'another model.*the file names {Path(tiny).name!r}'):
        open_memory(good, of(checkpoints['qwen2_vl']))
