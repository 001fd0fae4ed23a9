# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is saved is what is loaded, to the bit; what cannot be loaded changes nothing."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from camera import SECOND, START, noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import assert_same, contents, places
from tiny_models import KINDS, make_tiny

from infinipot_ros.errors import MemoryInUseError, StorageError
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory import storage
from infinipot_ros.visual_memory.file_lock import MemoryLock
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot
from infinipot_ros.visual_memory.storage import load, load_at_start, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model

HOUR = 3600 * SECOND
QUESTION = 'What was there?'


@cache
def loaded_model(path, dtype):
    return load_model(path, dtype=dtype)


def make(model, **changes):
    settings = MemoryConfig(**{
        'model': str(model), 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, 'session_tokens': 16, **changes})
    return VisualMemory(settings, loaded_model(settings.model, settings.dtype))


def pose_of(index):
    covariance = tuple(float(number + 1) for number in range(36)) if index % 2 else ()
    return Pose(index / 3, -1.0, 0.5, 0.0, 0.0, 0.6, 0.8, 'map', covariance)


def feed(memory, count, start=0, later_ns=0, cameras=('',), **size):
    for index in range(start, start + count):
        memory.add_frame(
            noise(index, **size), stamp(index) + later_ns, cameras[index % len(cameras)],
            pose_of(index) if index % 3 else None)


def essence(memory):
    """All there is to a memory, besides how long things took."""
    state = memory.capture()
    status = replace(memory.status(), last_ingest_ms=0.0, last_query_ms=0.0)
    return {
        'status': replace(status, budget_tokens=0, budget_bytes=0, camera_tokens={
            camera: tokens for camera, tokens in status.camera_tokens.items() if tokens}),
        'shapes': state.shapes, 'next_grid': state.next_grid,
        'timeline': state.timeline, 'stamps': state.stamps, 'policy': state.policy,
        'learned': dict(state.policy_state), 'observations': dict(state.observations),
        'thumbnails': list(state.thumbnails),
        'blocks': [(block.grids, block.grid_tokens) for block in state.blocks],
        'frames': [
            (frame.pixels.tolist(), frame.stamp_ns, frame.camera, frame.pose)
            for block in state.blocks for frame in block.frames]}


def assert_twins(one, other):
    assert_same(contents(one), contents(other))
    assert essence(one) == essence(other)


def answer_of(memory):
    answer = memory.ask(QUESTION)
    return replace(answer, latency_s=0.0, first_token_s=0.0)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return tmp_path_factory.mktemp('saved') / 'memory.safetensors'


# -- the same again ---------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('policy', POLICY_NAMES)
def test_a_loaded_memory_is_the_saved_one_and_goes_on_like_it(checkpoints, path, kind, policy):
    budget = 400 if policy == 'full' else 48
    memory, other = (
        make(checkpoints[kind], policy=policy, block_size=4, budget=budget) for _ in range(2))
    feed(memory, 33)
    feed(other, 3, start=70)
    saved = save(memory, path)
    assert saved.size == path.stat().st_size
    loaded = load(other, path)
    assert_twins(memory, other)
    assert answer_of(memory) == answer_of(other)
    assert (loaded.tokens, loaded.frames_lost, loaded.dtype) == (saved.tokens, 0, '')
    assert str(path) in saved.describe()
    assert str(path) in loaded.describe()
    for each in (memory, other):
        feed(each, 30, start=33)
    assert_twins(memory, other)
    assert answer_of(memory) == answer_of(other)


@settings(max_examples=15, deadline=None)
@given(
    stretches=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([(56, 84), (84, 56), (56, 56)])),
        max_size=5),
    block_size=st.sampled_from([2, 4, 6]), cameras=st.sampled_from([('',), ('front', 'rear')]))
def test_any_memory_comes_back(tiny, path, stretches, block_size, cameras):
    memory, other = (make(tiny, block_size=block_size) for _ in range(2))
    index = 0
    for count, (height, width) in stretches:
        feed(memory, count, start=index, cameras=cameras, height=height, width=width)
        index += count
    save(memory, path)
    load(other, path)
    assert_twins(memory, other)
    if index:
        assert answer_of(memory) == answer_of(other)
    for each in (memory, other):
        feed(each, 12, start=index, cameras=cameras)
    assert_twins(memory, other)
    again = path.with_suffix('.again')
    before = essence(memory)
    save(memory, again)
    assert essence(memory) == before, 'saving changes nothing'
    save(other, path)
    assert again.read_bytes() == path.read_bytes(), 'the same memory makes the same file'


def test_a_memory_moves_to_the_same_model_elsewhere(tiny, path, tmp_path):
    memory = make(tiny)
    feed(memory, 20)
    save(memory, path)
    copy = make_tiny('qwen2_5_vl', tmp_path / 'copy')
    load(other := make(copy), path)
    assert_twins(memory, other)


def test_loading_again_replaces_what_is_there(tiny, path):
    memory = make(tiny)
    feed(memory, 20)
    save(memory, path)
    then = essence(memory)
    feed(memory, 25, start=20)
    load(memory, path)
    assert essence(memory) == then
    memory.reset()
    load(memory, path)
    assert essence(memory) == then


# -- where it can -----------------------------------------------------------------------------


@pytest.mark.parametrize('policy', [name for name in POLICY_NAMES if name != 'full'])
@pytest.mark.parametrize('waiting', [0, 3])
def test_a_smaller_budget_gets_less(tiny, path, policy, waiting):
    memory = make(tiny, budget=96, block_size=8)
    feed(memory, 40 + waiting)
    save(memory, path)
    small = make(tiny, budget=30, policy=policy, block_size=2)
    allocated = places(small)
    loaded = load(small, path)
    status = small.status()
    assert loaded.saved_tokens > 30 >= loaded.tokens == status.tokens > 0
    assert 'compressed' in loaded.describe()
    assert places(small) == allocated
    # What is left is of what was there, token by token.
    for whole, part in zip(memory.capture().views, small.capture().views, strict=True):
        for head in range(2):
            known = {tuple(place): key for place, key in zip(
                whole.coordinates[head].tolist(), whole.keys[head], strict=True)}
            for place, key in zip(part.coordinates[head].tolist(), part.keys[head], strict=True):
                if place[0] < memory.capture().next_grid:
                    assert torch.equal(known[tuple(place)], key)
    assert status.newest_ns == stamp(39 + waiting)
    feed(small, 20, start=40 + waiting)
    assert small.ask(QUESTION).memory_tokens <= 30


def test_cameras_keep_their_shares_in_a_smaller_budget(tiny, path):
    memory = make(tiny, budget=96, block_size=2)
    feed(memory, 60, cameras=('rear', 'front'))
    save(memory, path)
    small = make(
        tiny, budget=32, cameras=('front', 'rear'), camera_shares=(0.75, 0.25), block_size=2)
    load(small, path)
    assert small.status().camera_tokens == {'rear': 6, 'front': 18}
    feed(small, 60, start=60, cameras=('rear', 'front'))
    held = small.status().camera_tokens
    assert held['front'] > held['rear'] > 0


def test_a_larger_budget_takes_all(tiny, path):
    memory, large = make(tiny), make(tiny, budget=200)
    feed(memory, 31)
    save(memory, path)
    load(large, path)
    assert_same(contents(memory), contents(large))
    assert answer_of(memory) == answer_of(large)
    feed(large, 60, start=31)
    assert large.status().tokens > 48


def test_another_policy_goes_on_in_its_own_way(tiny, path):
    memory, other = make(tiny), make(tiny, policy='recent')
    feed(memory, 40)
    save(memory, path)
    load(other, path)
    assert_same(contents(memory), contents(other))
    feed(other, 40, start=40)
    assert int(other.coordinates()[..., 0].min()) >= 30


@pytest.mark.parametrize(('written', 'read'), [
    ('float32', 'bfloat16'), ('bfloat16', 'float32'), ('float32', 'float16'),
    ('float16', 'bfloat16')])
def test_another_dtype_is_converted(tiny, path, written, read):
    memory, other = make(tiny, dtype=written), make(tiny, dtype=read)
    feed(memory, 30)
    save(memory, path)
    loaded = load(other, path)
    assert loaded.dtype == written
    assert f'converted from {written}' in loaded.describe()
    for before, after in zip(memory.capture().views, other.capture().views, strict=True):
        assert after.keys.dtype == getattr(torch, read)
        assert torch.equal(before.keys.to(after.keys.dtype), after.keys)
        assert torch.equal(before.values.to(after.keys.dtype), after.values)
        assert torch.equal(before.coordinates, after.coordinates)
    feed(other, 20, start=30)
    other.ask(QUESTION)


def test_pixels_that_wait_find_room_or_are_told_lost(tiny, path):
    memory = make(tiny, budget=48, block_size=8)
    feed(memory, 3)
    save(memory, path)
    tiny_budget = make(tiny, budget=4, block_size=2, max_pixels=4 * 784)
    loaded = load(tiny_budget, path)
    assert loaded.frames_lost == 3
    assert '3 frames' in loaded.describe()
    same = make(tiny, block_size=2)
    assert load(same, path).frames_lost == 0
    assert same.status().frames_encoded == 2
    assert same.status().frames_pending == 1


@pytest.mark.chaos
@pytest.mark.parametrize(('gap_ns', 'segments'), [
    (SECOND, 1), (HOUR - SECOND, 1), (2 * HOUR, 2), (-HOUR, 2)])
def test_the_clock_across_a_restart_is_as_across_any_gap(tiny, path, gap_ns, segments):
    memory, other = make(tiny), make(tiny)
    feed(memory, 20)
    save(memory, path)
    load(other, path)
    for each in (memory, other):
        feed(each, 20, start=20, later_ns=gap_ns)
        assert each.status().segments == segments
    assert_twins(memory, other)


# -- where it cannot --------------------------------------------------------------------------


class Untouched:
    """A memory that must be as it was, to the bit."""

    def __init__(self, model, **changes):
        self.memory = make(model, **changes)
        feed(self.memory, 21, start=50, cameras=('front', 'rear'))
        self.look()

    def look(self):
        self.before, self.tensors = essence(self.memory), contents(self.memory)

    def refuses(self, path, reason=''):
        with pytest.raises(StorageError) as caught:
            load(self.memory, path)
        assert reason in str(caught.value)
        assert len(str(caught.value)) < 600
        self.check()

    def check(self):
        assert_same(self.tensors, contents(self.memory))
        assert essence(self.memory) == self.before


@pytest.fixture(scope='module')
def untouched(checkpoints):
    return Untouched(checkpoints['qwen2_5_vl'])


@pytest.fixture(scope='module')
def good(checkpoints, tmp_path_factory):
    """A saved memory with something of everything in it."""
    memory = make(checkpoints['qwen2_5_vl'], block_size=4)
    feed(memory, 20, cameras=('front', 'rear'))
    feed(memory, 15, start=20, cameras=('front', 'rear'), height=84, width=56)
    path = tmp_path_factory.mktemp('good') / 'memory.safetensors'
    save(memory, path)
    return path


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


def paths_into(value, at=()):
    """Give the way to everything inside a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, inner in items:
        yield from paths_into(inner, (*at, key))


def changed(facts, way, value):
    """Copy facts with one thing in them replaced."""
    facts = deepcopy(facts)
    *outer, last = way
    inner = facts
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return facts


# Numbers of other types, at the edges of what integers of 31 to 64 bits hold, and far beyond; text
# that cannot be encoded; JSON of other shapes.
HOSTILE = [
    None, False, True, 0, -1, 1, 2, 0.5, 2.0, float('nan'), float('inf'), 2**31 - 1, 2**31, 2**62,
    2**63, -2**63, 10**300, '', 'x', '\ud800', [], {}, [0], [[0, 2, 3, 0]], {'names': []}]


@pytest.mark.parametrize('value', [0, False, True, -14, 14.0, 10**30, None, '14'])
@pytest.mark.parametrize('name', ['patch size', 'merge size', 'number of layers'])
def test_sizes_that_no_model_has_are_refused_and_named(untouched, good, path, name, value):
    with read_snapshot(good) as file:
        write_snapshot(path, changed(file.facts, ('model', name), value), file.tensors)
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
                    state = from_file(changed(facts, way, value), tensors)
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


def test_every_fact_is_needed_but_the_one_that_version_1_lacked(untouched, good, path):
    with read_snapshot(good) as file:
        for *outer, last in list(paths_into(file.facts))[1:]:
            facts = deepcopy(file.facts)
            inner = facts
            for key in outer:
                inner = inner[key]
            # What a policy learned is its own business.
            if [*outer, last] == ['rebases'] or outer[:1] == ['policy_state'] or not isinstance(
                    inner, dict):
                continue
            del inner[last]
            with pytest.raises(StorageError, match=str(last)):
                from_file(facts, file.tensors)


def test_a_fact_that_nobody_knows_is_refused_and_named(good):
    with read_snapshot(good) as file:
        for way in (('surprise',), ('model', 'surprise'), ('timeline', 'surprise')):
            with pytest.raises(StorageError, match='surprise'):
                from_file(changed(file.facts, way, 0), file.tensors)


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
            facts = changed(facts, way, value)
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


# -- held ------------------------------------------------------------------------------------


def test_a_file_that_another_memory_is_kept_in_is_read_but_not_written(tiny, path):
    memory, other = make(tiny), make(tiny)
    feed(memory, 20)
    with MemoryLock(path) as lock:
        save(memory, path, lock)
        before = path.read_bytes()
        feed(other, 8, start=70)
        with pytest.raises(MemoryInUseError, match='in use'):
            save(other, path)
        with MemoryLock(path.with_name('another')) as own, pytest.raises(MemoryInUseError):
            save(other, path, own)
        assert path.read_bytes() == before
        load(other, path)
        assert_twins(memory, other)
        save(memory, path.with_name('copy'), lock)
    save(other, path)
    assert path.read_bytes() == before, 'the same memory makes the same file'
    assert not list(path.parent.glob('.*')), 'no lock is left'


# -- at start ---------------------------------------------------------------------------------


def test_at_start_there_may_be_nothing_something_or_something_bad(tiny, tmp_path):
    path = tmp_path / 'memory.safetensors'
    memory = make(tiny)
    assert load_at_start(memory, path) is None
    feed(memory, 20)
    save(memory, path)
    restarted = make(tiny)
    loaded = load_at_start(restarted, path)
    assert loaded.tokens == memory.status().tokens
    assert_twins(memory, restarted)
    aside = ['', *(f'.{number}' for number in range(2, storage.MAX_REFUSED + 1))]
    for attempt in range(storage.MAX_REFUSED + 2):
        path.write_text(f'damaged {attempt}')
        empty = make(tiny)
        refused = load_at_start(empty, path)
        assert isinstance(refused, StorageError)
        assert 'set aside' in str(refused)
        assert not path.exists()
        # The first ones stay; the last place is for the newest.
        for number, ending in enumerate(aside[:attempt + 1]):
            kept = attempt if ending == aside[-1] else number
            assert (tmp_path / f'memory.safetensors.refused{ending}').read_text() == (
                f'damaged {kept}')
        feed(empty, 4)
        save(empty, path)
    assert len(list(tmp_path.iterdir())) == storage.MAX_REFUSED + 1
    path.unlink()
    path.mkdir()
    assert isinstance(load_at_start(make(tiny), path), StorageError)
    assert path.is_dir()


def test_at_start_a_file_made_up_with_right_checksums_is_set_aside(tiny, good, tmp_path):
    path = tmp_path / 'memory'
    with read_snapshot(good) as file:
        write_snapshot(path, changed(file.facts, ('model', 'patch size'), 0), file.tensors)
    memory = make(tiny)
    refused = load_at_start(memory, path)
    assert isinstance(refused, StorageError) and 'patch size' in str(refused)
    assert [each.name for each in tmp_path.iterdir()] == ['memory.refused']
    assert_twins(memory, make(tiny))
    assert load_at_start(memory, path) is None, 'the next start has nothing to stumble over'


def test_the_first_stamp_is_remembered_over_a_restart(tiny, path):
    memory, other = make(tiny, budget=400), make(tiny, budget=400)
    feed(memory, 10)
    save(memory, path)
    load(other, path)
    assert other.ask(QUESTION).observed_from_ns == START
