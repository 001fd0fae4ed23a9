# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What holds for every family of models, on a tiny checkpoint of each.

A test marked ``family_cell`` is named in docs/explanation/equality.md, once for each family.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from camera import SECOND, START, noise, stamp
from families import FAMILIES, FIRST_LAYER_KEYS, GRIDS, WRITTEN_OUT
from PIL import Image
from plain_model import watch_scores
from streams import assert_same, contents
from tiny_models import make_tiny
from transformers import AutoModelForImageTextToText, AutoTokenizer

from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import AFTER, BEFORE, GRID, ROW, text_tokens
from infinipot_ros.visual_memory.evidence import best_moments
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import cache_shape
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.positions import text_positions
from infinipot_ros.vlm.rotary import known_positions

QUESTION = 'Where did I leave the red mug?'
# Of which prefix, question and answer take up to 145: no more than a few grids fit.
FEW = 175


def known(kind):
    """More where a grid takes as many positions as its text and a side, or as its tokens."""
    # The last one knows 2.5 times as many as it says.
    return FEW if kind in ('qwen2_vl', 'qwen2_5_vl', 'llava_next_video') else 3 * FEW


@cache
def loaded(path, weights=''):
    return load_model(path, weights=weights)


@pytest.fixture(scope='module', params=FAMILIES)
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def short(kind, tmp_path_factory):
    """A model that knows few positions."""
    return make_tiny(kind, tmp_path_factory.mktemp('short'), positions=known(kind))


@pytest.fixture(scope='module')
def shallow(kind, tmp_path_factory):
    """One layer: what a key is depends on nothing but its token and its position."""
    return make_tiny(
        kind, tmp_path_factory.mktemp('shallow'), positions=known(kind), layers=1)


def make(folder, weights='', **changes):
    settings = MemoryConfig(**{
        'model': str(folder), 'weights': weights, 'budget': 96, 'max_pixels': 12 * 784,
        'max_new_tokens': 4, 'max_question_chars': 60, 'session_tokens': 0, 'max_batch': 2,
        'cameras': ('',), **changes})
    return VisualMemory(settings, loaded(settings.model, weights))


def feed(memory, start, end):
    for index in range(start, end):
        memory.add_frame(noise(index), stamp(index))


class Reading:
    """Listens to what the language model reads, without changing it."""

    def __init__(self, model):
        self.embeddings, self.positions, self.arguments = [], [], []
        self._model, self._forward = model, model.forward

    def __enter__(self):
        def listening(embeddings, positions, *rest, **named):
            self.embeddings.append(embeddings[0])
            self.positions.append(positions[:, 0])
            self.arguments.append(named.get('arguments') or {})
            return self._forward(embeddings, positions, *rest, **named)

        self._model.forward = listening
        return self

    def __exit__(self, *_):
        del self._model.forward


def seconds_of(frames, per_grid, fps=2.0):
    """The mean time of each grid's first and last frame; an odd last frame counts twice."""
    times = [(stamp(index, fps) - stamp(0, fps)) / SECOND for index in range(frames)]
    return [(times[first] + times[min(first + per_grid, frames) - 1]) / 2
            for first in range(0, frames, per_grid)]


# -- what the model reads ---------------------------------------------------------------------


@pytest.mark.family_cell('prompt')
@pytest.mark.parametrize('kind', WRITTEN_OUT, scope='module')
@pytest.mark.parametrize('frames', [2, 5])
def test_what_is_read_is_the_chat_template_with_the_video_expanded(kind, folder, frames):
    family = FAMILIES[kind]
    memory = make(folder, max_new_tokens=1, budget=256)
    with Reading(memory.model) as reading:
        memory.reset()
        feed(memory, 0, frames)
        memory.ask(QUESTION)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = family.chat or tokenizer.chat_template
    text = tokenizer.apply_chat_template(
        [{'role': 'user', 'content': [{'type': 'video'}, {'type': 'text', 'text': QUESTION}]}],
        tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert text.count(family.placeholder) == 1
    height, width = memory.model.encoded_size(*noise(0).shape[:2], memory.settings.max_pixels)
    rows, columns = memory.model.grid_size(height, width)
    seconds = seconds_of(frames, memory.model.family.FRAMES_PER_GRID)
    ids = torch.tensor(tokenizer(text.replace(
        family.placeholder, family.expand(seconds, rows * columns)))['input_ids'])

    read = torch.cat(reading.embeddings)[:len(ids)]
    visual = ids == tokenizer.convert_tokens_to_ids(family.mark)
    assert int(visual.sum()) == len(seconds) * rows * columns
    assert torch.equal(read[~visual], memory.model.embed(ids[~visual].unsqueeze(0))[0])
    assert not torch.isin(read[visual], memory.model.embed(ids.unique().unsqueeze(0))[0]).all()


def image_processor(**arguments):
    """Qwen2-VL's, which Qwen3-VL shares, that works without torchvision."""
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil as Processor,
        )
    except ImportError:
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import (
            Qwen2VLImageProcessor as Processor,
        )
    return Processor(**arguments)


def pixels_of(memory, frames, tower):
    """What the vision tower is given."""
    given = []
    hook = getattr(memory.model.family.core, tower).register_forward_pre_hook(
        lambda _, arguments: given.append(arguments[0]))
    memory.model.encode(torch.from_numpy(np.stack(frames)))
    hook.remove()
    return given[0]


@pytest.mark.family_cell('pixels')
@pytest.mark.parametrize('kind', WRITTEN_OUT, scope='module')
def test_pixels_are_those_of_the_familys_processor(kind, folder):
    family = FAMILIES[kind]
    memory = make(folder)
    height, width = memory.model.encoded_size(84, 112, memory.settings.max_pixels)
    frames = [noise(index, height, width) for index in range(2)]
    process = image_processor(do_resize=False, **family.image_processor)
    first, second = (
        process(images=Image.fromarray(frame), return_tensors='pt')['pixel_values'].float()
        for frame in frames)
    # A picture stands for both frames of its grid; a video has the first in the first half.
    halves = [each.view(len(each), 3, 2, -1) for each in (first, second)]
    theirs = torch.stack([halves[0][:, :, 0], halves[1][:, :, 1]], dim=2).flatten(1)
    assert torch.allclose(pixels_of(memory, frames, family.tower), theirs, atol=1e-5)


@pytest.mark.family_cell('pixels')
@pytest.mark.parametrize('kind', WRITTEN_OUT, scope='module')
@pytest.mark.parametrize('size', [(96, 128), (480, 640), (500, 300), (20, 30), (720, 1280)])
def test_frames_are_resized_as_the_familys_processor_does(kind, folder, size):
    family = FAMILIES[kind]
    memory, most = make(folder, max_pixels=100_352, budget=512), 100_352
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8)
    side = 2 * family.image_processor['patch_size']
    process = image_processor(
        min_pixels=4 * side ** 2, max_pixels=most, **family.image_processor)
    theirs = process(images=Image.fromarray(ramp), return_tensors='pt')
    fitted = memory.model.fit(ramp, most)
    rows, columns = memory.model.grid_size(*fitted.shape[:2])
    assert theirs['image_grid_thw'].tolist() == [[1, 2 * rows, 2 * columns]]
    ours = pixels_of(memory, [fitted.numpy()] * 2, family.tower)
    step = 1 / 255 / min(family.image_processor['image_std'])
    assert (ours - theirs['pixel_values'].float()).abs().max() <= 2.01 * step


# -- what is remembered -----------------------------------------------------------------------


@pytest.mark.family_cell('TaR and VaN')
def test_a_compressed_memory_stays_within_its_budget(folder):
    memory = make(folder, policy='infinipot_v', block_size=2)
    for index in range(60):
        memory.add_frame(noise(index), stamp(index))
        assert memory.status().tokens <= 96
    status = memory.status()
    assert status.compressions > 3
    assert status.tokens > 48, 'it is used as well'
    for layer in memory.coordinates():
        text = text_tokens(layer)
        for coordinates, own in zip(layer, text, strict=True):
            seen = coordinates[~own][:, GRID].unique()
            with_text = memory.model.grid_text_tokens() > 0
            assert torch.equal(coordinates[own][:, GRID].unique(), seen[:len(seen) * with_text])
    memory.ask(QUESTION)


@pytest.mark.family_cell('rollback')
@pytest.mark.parametrize('frames', [1, 40])
def test_asking_leaves_no_trace(folder, frames):
    memory = make(folder, block_size=4)
    feed(memory, 0, frames)
    before, timeline = contents(memory), memory.debug_state().timeline
    first, second = memory.ask(QUESTION), memory.ask(QUESTION)
    assert_same(before, contents(memory))
    assert memory.debug_state().timeline == timeline
    assert (first.text, first.evidence) == (second.text, second.evidence)
    assert first.memory_tokens


@pytest.mark.family_cell('save and load')
@pytest.mark.parametrize('positions', ['absolute', 'compact'])
def test_a_saved_memory_goes_on_as_if_it_had_not_been(folder, tmp_path, positions):
    memory, other = (make(folder, block_size=4, positions=positions) for _ in range(2))
    feed(memory, 0, 37)
    save(memory, tmp_path / 'memory')
    load(other, tmp_path / 'memory')
    for each in (memory, other):
        feed(each, 37, 50)
    assert_same(contents(memory), contents(other))
    assert memory.debug_state().times == other.debug_state().times
    scores = [watch_scores(each) for each in (memory, other)]
    assert memory.ask(QUESTION).text == other.ask(QUESTION).text
    assert all(torch.equal(*pair) for pair in zip(*scores, strict=True))


@pytest.mark.family_cell('several cameras')
def test_cameras_share_a_memory_and_are_kept_apart(folder):
    memory = make(folder, cameras=('front', 'rear'), budget=128)
    for index in range(60):
        memory.add_frame(noise(index), stamp(index), ('front', 'rear')[index % 3 == 0])
        assert memory.status().tokens <= 128
    assert memory.status().compressions
    assert all(memory.status().camera_tokens[camera] for camera in ('front', 'rear'))
    answer = memory.ask(QUESTION)
    known = {(each.first_ns, each.camera) for _, each in memory.moments()}
    assert {(each.first_ns, each.camera) for each in answer.evidence} <= known


@pytest.mark.family_cell('evidence')
def test_evidence_is_what_the_plain_model_attended_to(kind, folder):
    """The plain model in one piece, over what the memory read: attention by grid."""
    memory = make(folder, budget=256, max_evidence=99)
    with Reading(memory.model) as reading:
        memory.reset()
        for index in range(12):
            memory.add_frame(noise(index), stamp(index, fps=0.1))
        scores = watch_scores(memory)
        answer = memory.ask(QUESTION)
    view = memory.capture().views[0].coordinates[0]
    prefix, length = memory.debug_state().prefix_length, len(view)
    plain = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation='eager')
    embeddings = torch.cat(reading.embeddings)
    asked = len(embeddings) - answer.new_tokens + 1
    with torch.inference_mode():
        output = plain.model.language_model(
            inputs_embeds=embeddings.unsqueeze(0), output_attentions=True,
            position_ids=memory.model.family.position_ids(
                torch.cat(reading.positions, dim=1).unsqueeze(1)),
            **together(reading))
        theirs = plain.lm_head(output.last_hidden_state[0, asked - 1:]).float()
    ours = torch.cat([each.reshape(1, -1) for each in scores])
    assert (ours - theirs[:len(ours)]).abs().max() < 1e-4
    rows = slice(asked - 1, asked - 1 + answer.new_tokens)
    attention = sum(
        layer[0, :, rows, prefix:prefix + length].double().sum((0, 1))
        for layer in output.attentions if layer is not None)
    # Text of a grid is read, not seen.
    attention[text_tokens(view)] = 0.0
    by_grid = torch.zeros(int(view[:, GRID].max()) + 1, dtype=torch.float64).index_add_(
        0, view[:, GRID].long(), attention)
    shares = dict(enumerate((by_grid / by_grid.sum()).tolist()))
    expected = best_moments(shares, dict(memory.moments()), 99)
    assert len(expected) > 3
    assert [each.grid for each in answer.evidence] == [each.grid for each in expected]
    assert [each.score for each in answer.evidence] == pytest.approx(
        [each.score for each in expected], abs=1e-4)


def together(reading):
    """The arguments of all that was read, for one forward pass over it."""
    found = [each for each in reading.arguments if each]
    if not found:
        return {}
    masks = [
        each.get('visual_pos_masks', torch.zeros(1, len(embeddings), dtype=torch.bool))
        for each, embeddings in zip(reading.arguments, reading.embeddings, strict=True)]
    return {
        'visual_pos_masks': torch.cat(masks, dim=1),
        'deepstack_visual_embeds': [
            torch.cat(depth) for depth in zip(*(
                each['deepstack_visual_embeds'] for each in found), strict=True)]}


# -- positions --------------------------------------------------------------------------------


def fresh(memory, start, stamps):
    """A grid's embeddings and positions, and where its tokens are, as if it started there."""
    model = memory.model
    block = model.encode(torch.stack([
        model.fit(noise(index), memory.settings.max_pixels) for index in stamps]))
    since = [(stamp(index) - START) / SECOND for index in (stamps[0], stamps[-1])]
    text = model.grid_text(sum(since) / 2)
    lengths = [(len(text[0]), len(text[1]))]
    sequence = model.lay_out(
        block, model.timeline().grid_positions(
            memory.debug_state().prefix_length, [start], block.rows, block.columns, lengths),
        [text])
    return block, sequence, lengths


def indices(view, grids):
    """The frames of each remembered grid, by the order of their stamps."""
    return {
        grid: [round((when - START) / (SECOND / 2)) for when in (each.first_ns, each.last_ns)]
        for grid, each in view if grid in grids}


def slot_of(coordinates, lengths, rows, columns):
    """Where tokens of a grid stand in the order it is read in."""
    before, row, column = lengths[0][0], coordinates[:, 1], coordinates[:, 2]
    inside = torch.where(row == BEFORE, before + column, before + row * columns + column)
    return torch.where(row == AFTER, before + rows * columns + column, inside).long()


def check_keys(memory):
    """Every key of the first layer is the one the model writes at its grid's position now."""
    state, view = memory.debug_state(), memory.capture().views[0]
    held = 0
    for grid, frames in indices(memory.moments(), state.times).items():
        per_grid = memory.model.family.FRAMES_PER_GRID
        block, sequence, lengths = fresh(memory, state.times[grid], frames[:per_grid])
        own = BoundedCache(
            cache_shape(memory.model.shape, memory.settings), Budget(64), prefix_room=0,
            tail_room=0)
        with own.writing_grids(
                1, block.rows, block.columns, texts=lengths, starts=[state.times[grid]]):
            memory.model.forward(
                sequence.embeddings, sequence.positions, own, arguments=sequence.arguments)
        expected = own.views()[0]
        for head, coordinates in enumerate(view.coordinates):
            mine = coordinates[:, GRID] == grid
            slots = slot_of(coordinates[mine], lengths, block.rows, block.columns)
            held += int(mine.sum())
            assert torch.equal(view.values[head, mine], expected.values[head, slots])
            assert torch.allclose(view.keys[head, mine], expected.keys[head, slots], atol=1e-5)
    assert held == view.coordinates[..., ROW].numel()


@pytest.mark.family_cell('re-base')
@pytest.mark.parametrize('kind', FIRST_LAYER_KEYS, scope='module')
def test_a_moved_key_is_the_key_that_the_model_would_have_written_there(short):
    memory = make(short, policy='uniform')
    feed(memory, 0, 90)
    assert memory.status().rebases
    check_keys(memory)


@pytest.mark.family_cell('re-base')
@pytest.mark.parametrize('kind', FIRST_LAYER_KEYS, scope='module')
def test_scores_are_those_of_the_plain_model_at_the_new_positions(shallow):
    memory = make(shallow, policy='uniform')
    feed(memory, 0, 90)
    assert memory.status().rebases
    state, views = memory.debug_state(), memory.capture().views
    kept = views[0].coordinates[0]
    assert torch.equal(views[0].coordinates, kept.expand_as(views[0].coordinates))
    prefix = state.prefix_length
    parts = [(memory.model.embed(memory.model.prompt.prefix_ids)[0],
              text_positions(0, prefix)[:, 0])]
    for grid, frames in indices(memory.moments(), state.times).items():
        block, sequence, lengths = fresh(
            memory, state.times[grid], frames[:memory.model.family.FRAMES_PER_GRID])
        slots = slot_of(kept[kept[:, GRID] == grid], lengths, block.rows, block.columns)
        parts.append((sequence.embeddings[0, slots], sequence.positions[:, 0, slots]))
    with Reading(memory.model) as reading:
        scores = watch_scores(memory)
        memory.ask(QUESTION)
    parts += zip(reading.embeddings, reading.positions, strict=True)
    plain = AutoModelForImageTextToText.from_pretrained(shallow, dtype=torch.float32)
    with torch.inference_mode():
        hidden = plain.model.language_model(
            inputs_embeds=torch.cat([each for each, _ in parts]).unsqueeze(0),
            position_ids=memory.model.family.position_ids(
                torch.cat([each for _, each in parts], dim=1).unsqueeze(1))).last_hidden_state
        first = prefix + len(kept) + len(reading.embeddings[0]) - 1
        theirs = plain.lm_head(hidden[0, first:]).float()
    ours = torch.cat([each.reshape(1, -1) for each in scores])
    assert (ours - theirs[:len(ours)]).abs().max() < 1e-4
    assert theirs.std() > 0.1


@pytest.mark.family_cell('re-base')
def test_no_token_has_a_position_that_the_model_does_not_know(short):
    memory = make(short, positions='absolute')
    with Reading(memory.model) as reading:
        for index in range(90):
            memory.add_frame(noise(index), stamp(index, fps=0.5))
            if index % 11 == 0:
                memory.ask('What was there?')
    assert memory.status().rebases
    assert max(int(each.max()) for each in reading.positions) < known_positions(
        memory.model.config)


@pytest.mark.family_cell('compact positions')
@pytest.mark.parametrize('kind', GRIDS, scope='module')
def test_compact_positions_are_closed_up_at_every_compression(kind, folder):
    memory = make(folder, positions='compact', policy='uniform')
    feed(memory, 0, 90)
    state = memory.debug_state()
    widths = [
        memory.model.timeline().width(
            *memory.model.grid_size(*memory.model.encoded_size(56, 84, 12 * 784)),
            memory.model.grid_text_tokens())] * len(state.times)
    starts = list(state.times.values())
    # After the last compression one more block came, in real time.
    assert all(a < b for a, b in pairwise(starts))
    assert starts[-2] - starts[0] <= sum(widths) + 2
    if kind in FIRST_LAYER_KEYS:
        check_keys(memory)
    memory.ask(QUESTION)


# -- quantised --------------------------------------------------------------------------------


@pytest.mark.family_cell('quantised')
def test_a_quantised_model_answers_from_a_memory(folder):
    pytest.importorskip('bitsandbytes')
    memory, plain = make(folder, 'int8'), make(folder)
    for each in (memory, plain):
        feed(each, 0, 40)
    assert memory.status().compressions and memory.status().tokens <= 96
    assert memory.model.weight_bytes < plain.model.weight_bytes
    assert memory.plan.weights == memory.model.weight_bytes
    before = contents(memory)
    assert memory.ask(QUESTION).new_tokens
    assert_same(before, contents(memory))
