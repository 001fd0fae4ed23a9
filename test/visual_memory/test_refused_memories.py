# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be loaded or saved is refused, and changes nothing."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from json_places import paths_into, replaced
from saved_memories import (
    HOUR,
    QUESTION,
    Untouched,
    assert_twins,
    essence,
    feed,
    make,
)
from streams import assert_same, contents
from tiny_models import make_tiny

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot
from infinipot_ros.visual_memory.storage import load, save


@pytest.fixture(scope='module')
def untouched(checkpoints):
    return Untouched(checkpoints['qwen2_5_vl'])


def test_another_model_is_refused(checkpoints, good, tmp_path):
    others = {
        'its weights': make_tiny('qwen2_5_vl', tmp_path / 'trained', seed=1),
        'number of layers is 3 there and 4 here': make_tiny(
            'qwen2_5_vl', tmp_path / 'deep', layers=4),
        'model type': checkpoints['qwen2_vl']}
    for reason, model in others.items():
        Untouched(model).refuses(good, reason)
    Untouched(others['its weights'], dtype='bfloat16').refuses(good, 'its weights')


def test_another_prefix_is_refused(untouched, tiny, path):
    memory = make(tiny)
    feed(memory, 4)
    write_snapshot(path, *to_file(replace(memory.capture(), prefix_digest='0' * 64)))
    untouched.refuses(path, 'system prompt')


def test_a_policy_that_forgets_nothing_refuses_what_passes_its_budget(tiny, path):
    memory = make(tiny, budget=96)
    feed(memory, 40)
    save(memory, path)
    full = make(tiny, policy='full', budget=48)
    feed(full, 4)
    before, tensors = essence(full), contents(full)
    with pytest.raises(StorageError, match='raise the budget'):
        load(full, path)
    assert essence(full) == before
    assert_same(tensors, contents(full))


def test_what_does_not_fit_the_dtype_is_refused(tiny, path):
    memory = make(tiny)
    feed(memory, 20)
    memory.capture().views[1].values[0, -1, 3] = 1e5
    save(memory, path)
    half = Untouched(tiny, dtype='float16')
    half.refuses(path, 'float16')


@pytest.mark.chaos
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_changes_nothing(untouched, good, path, data):
    content = bytearray(good.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.sampled_from(['cut', 'flip', 'zero', 'lengthen']))
    if damage == 'cut':
        del content[where:]
    elif damage == 'flip':
        content[where] ^= 1 << data.draw(st.integers(0, 7))
    elif damage == 'zero':
        stretch = slice(where, min(where + 64, len(content)))
        content[stretch] = bytes(byte ^ 0xFF for byte in content[stretch])
    else:
        content += b'\0'
    path.write_bytes(content)
    untouched.refuses(path)


def test_what_is_no_memory_changes_nothing(untouched, good, tmp_path):
    (tmp_path / 'text').write_text('a file about something else')
    (tmp_path / 'empty').touch()
    newer = good.read_bytes().replace(b'"version": "2"', b'"version": "7"')
    (tmp_path / 'newer').write_bytes(newer)
    write_snapshot(tmp_path / 'hollow', {}, {})
    for name, reason in (
            ('text', 'not a saved memory'), ('empty', 'not a saved memory'),
            ('newer', "version '7'"), ('hollow', 'not a valid memory'),
            ('.', 'not a regular file'), ('absent', 'No such file')):
        untouched.refuses(tmp_path / name, reason)


# Numbers of other types, at the edges of what integers of 31 to 64 bits hold, and far beyond; text
# that cannot be encoded; JSON of other shapes.
HOSTILE = [
    None, False, True, 0, -1, 1, 2, 0.5, 2.0, float('nan'), float('inf'), 2**31 - 1, 2**31, 2**62,
    2**63, -2**63, 10**300, '', 'x', '\ud800', [], {}, [0], [[0, 2, 3, 0]], {'names': []}]


@pytest.mark.parametrize('value', [0, False, True, -14, 14.0, 10**30, None, '14'])
@pytest.mark.parametrize('name', ['patch size', 'merge size', 'number of layers'])
def test_sizes_that_no_model_has_are_refused_and_named(untouched, good, path, name, value):
    with read_snapshot(good) as file:
        write_snapshot(path, replaced(file.facts, ('model', name), value), file.tensors)
    untouched.refuses(path, name)


@pytest.mark.chaos
def test_every_fact_replaced_by_a_hostile_value_is_refused_or_a_memory(tiny, good):
    memory = make(tiny)
    with read_snapshot(good) as file:
        facts, tensors = file.facts, file.tensors
        # Of the longest list the first and the last item: the others are read as these are.
        between = range(1, len(facts['shapes']) - 1)
        ways = [way for way in paths_into(facts) if way and not (
            way[0] == 'shapes' and way[1:] and way[1] in between)]
        accepted = 0
        for way in ways:
            for value in HOSTILE:
                try:
                    state = from_file(replaced(facts, way, value), tensors)
                except StorageError as error:
                    assert len(str(error).encode()) < 300
                    continue
                accepted += 1
                try:
                    memory.restore(state)
                except StorageError:
                    continue
                assert memory.ask(QUESTION).memory_tokens <= 48
        assert 0 < accepted < len(ways) * len(HOSTILE) / 5


def test_every_fact_is_needed_but_those_that_came_later(untouched, good, path):
    with read_snapshot(good) as file:
        for *outer, last in list(paths_into(file.facts))[1:]:
            facts = deepcopy(file.facts)
            inner = facts
            for key in outer:
                inner = inner[key]
            # What a policy learned is its own business.
            later = [*outer, last] in (['rebases'], ['recent'], ['recent_grids'], ['labelled'])
            if later or outer[:1] == ['policy_state'] or not isinstance(inner, dict):
                continue
            del inner[last]
            with pytest.raises(StorageError, match=str(last)):
                from_file(facts, file.tensors)


def test_a_fact_that_nobody_knows_is_refused_and_named(good):
    with read_snapshot(good) as file:
        for way in (('surprise',), ('model', 'surprise'), ('timeline', 'surprise')):
            with pytest.raises(StorageError, match='surprise'):
                from_file(replaced(file.facts, way, 0), file.tensors)


JUNK = st.one_of(
    st.sampled_from(HOSTILE), st.integers(), st.integers(-2, 4), st.floats(), st.text(max_size=4),
    st.lists(st.integers(-2, 3), max_size=4))


@pytest.mark.chaos
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_facts_made_up_with_right_checksums_change_nothing(untouched, good, path, data):
    """Or are a memory: then it works."""
    with read_snapshot(good) as file:
        facts, tensors = file.facts, dict(file.tensors)
        for _ in range(data.draw(st.integers(1, 3))):
            way = data.draw(st.sampled_from(list(paths_into(facts))[1:]))
            value = data.draw(JUNK.filter(lambda junk: junk == junk and junk not in (
                float('inf'), float('-inf'))))
            facts = replaced(facts, way, value)
        write_snapshot(path, facts, tensors)
    try_it(untouched, good, path)


@pytest.mark.chaos
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_tensors_made_up_with_right_checksums_change_nothing(untouched, good, path, data):
    with read_snapshot(good) as file:
        facts, tensors = file.facts, dict(file.tensors)
        name = data.draw(st.sampled_from(sorted(tensors)))
        tensor = tensors.pop(name).clone()
        what = data.draw(st.sampled_from(['drop', 'shape', 'cut', 'dtype', 'value', 'flip']))
        if what == 'shape':
            tensor = tensor.reshape(-1, 1)
        elif what == 'cut':
            tensor = tensor[:-1]
        elif what == 'dtype':
            tensor = tensor.to(data.draw(st.sampled_from([
                torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.uint8])))
        elif what == 'value' and tensor.numel():
            where = data.draw(st.integers(0, tensor.numel() - 1))
            value = data.draw(st.sampled_from([-1, 0, 1, 7, 120]))
            tensor.view(-1)[where] = abs(value) if tensor.dtype == torch.uint8 else value
            if tensor.is_floating_point() and data.draw(st.booleans()):
                tensor.view(-1)[where] = float('nan')
        elif what == 'flip' and tensor.ndim:
            tensor = tensor.flip(data.draw(st.integers(0, tensor.ndim - 1)))
        if what != 'drop':
            tensors[name] = tensor
        write_snapshot(path, facts, tensors)
    try_it(untouched, good, path)


def try_it(untouched, good, path):
    memory = untouched.memory
    try:
        load(memory, path)
    except StorageError:
        untouched.check()
    else:
        assert memory.status().tokens <= 48
        memory.ask(QUESTION)
        feed(memory, 9, start=60, later_ns=30 * 24 * HOUR, cameras=('front',))
        memory.ask(QUESTION)
        load(memory, good)
        untouched.look()


def test_what_nobody_foresaw_while_reading_is_a_refusal(untouched):
    untouched.refuses('a name with a \0 in it', 'null')


def test_a_fault_of_the_machine_halfway_leaves_an_empty_memory(tiny, path, monkeypatch):
    memory = make(tiny)
    feed(memory, 20)
    save(memory, path)
    other, fresh = make(tiny), make(tiny)
    feed(other, 8, start=70)
    with monkeypatch.context() as patch:
        # No file gets as far: it takes a device that fails.
        patch.setattr(
            FrameEncoder, 'make_position_room', lambda _: torch.zeros(2) + torch.zeros(3))
        with pytest.raises(StorageError, match=r'the memory is empty now \(RuntimeError'):
            load(other, path)
    assert_twins(other, fresh)
    load(other, path)
    assert_twins(other, memory)


def test_a_failed_save_changes_nothing_and_names_the_reason(untouched, tmp_path):
    for path, reason in (
            ('/dev/full', 'not a regular file'), (tmp_path, 'not a regular file'),
            (tmp_path / 'absent' / 'memory', 'No such file')):
        with pytest.raises(StorageError) as caught:
            save(untouched.memory, path)
        assert reason in str(caught.value)
        untouched.check()
