# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training: streams stand as at run time, labels are right, both steps learn and resume."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.positions import TemporalAxis, grid_positions
from infinipot_ros.vlm.prompt import Prompt
from tools.tiny_model.batches import Speller, answer_logits
from tools.tiny_model.dataset import Shard
from tools.tiny_model.eye import IGNORE, cell_labels, eye_batch
from tools.tiny_model.network import word_table
from tools.tiny_model.streams import (
    CELLS,
    Plan,
    encoded,
    make_batch,
    times,
)
from tools.tiny_model.training import curriculum, encode_shard, train_eye, train_reader
from tools.tiny_model.training_run import Run, learning_rate

HOUSES, GRIDS = 3, 6


@pytest.fixture(scope='module')
def shard():
    """Three houses of noise in which a red box shows in the upper left of every picture."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (HOUSES, GRIDS, 2, 112, 168, 3)).astype(np.uint8)
    frames[..., :28, :28, 0] = 255
    things = np.zeros((HOUSES, GRIDS, 2, CELLS, 4), np.uint16)
    things[..., 0, 0] = 700
    rooms = np.zeros((HOUSES, GRIDS, 2, CELLS, 6), np.uint16)
    rooms[..., 2] = 784
    rooms[..., 0, 2] = 84
    stamps = np.arange(HOUSES * GRIDS * 2).reshape(HOUSES, GRIDS, 2) * 500_000_000
    facts = np.full((HOUSES, 4), -1)
    facts[:, 0] = 0
    return Shard(
        frames, things, rooms, np.full((HOUSES, GRIDS, 2), 2), stamps, facts,
        facts + 2 * (facts == 0))


@pytest.fixture
def part(shard, model):
    return encoded(shard, encode_shard(model, shard), encode_shard(model, shard, single=True))


def test_labels_leave_out_what_is_in_doubt():
    things = torch.tensor([[[0, 0], [100, 0], [20, 0], [60, 50]]]).float()
    things = torch.cat([things, torch.zeros(1, 4, 2)], -1)
    rooms = torch.zeros(1, 4, 6)
    rooms[0, :, 3] = 400
    rooms[0, 0, 1] = 384
    labels = cell_labels(
        things, rooms, torch.tensor([[5, 1, 0, 0]]), torch.tensor([[2, 4, 0, 0]]))
    assert labels.shape.tolist() == [[4, 0, IGNORE, IGNORE]]
    assert labels.colour.tolist() == [[6, 5, IGNORE, IGNORE]]
    assert labels.room.tolist() == [[IGNORE, 2, IGNORE, IGNORE]]


def test_mirroring_moves_the_labels_with_the_picture(shard):
    houses, grids = np.zeros(32, int), np.zeros(32, int)
    patches, labels = eye_batch(shard, houses, grids, torch.Generator().manual_seed(0))
    red = patches[:, :, :196].mean(-1) - patches[:, :, 784:].mean(-1)
    cell = red.reshape(32, CELLS, 4).mean(-1).argmax(-1)
    assert set(cell.tolist()) == {0, 5}
    assert torch.equal(cell, (labels.shape == 0).int().argmax(-1))


def test_streams_are_numbered_and_spelt_as_at_run_time(part, tokenizer):
    speller = Speller(tokenizer)
    plan = Plan((GRIDS, GRIDS), (1.0, 1.0), 4, canonical=True)
    batch = make_batch([part], speller, plan, np.random.default_rng(0), [(0, 0)])
    prompt = Prompt(tokenizer)
    prefix = prompt.prefix_ids
    timeline, numbers = TemporalAxis(2.0), []
    for second in part.seconds[0]:
        timeline = timeline.advance(round(second * 1e9), 4, 6)
        numbers.append(timeline.last)
    visual = slice(len(prefix), len(prefix) + GRIDS * CELLS)
    expected = grid_positions(len(prefix), numbers, 4, 6)
    assert batch.ids[0, :len(prefix)].tolist() == prefix
    assert torch.equal(batch.positions[:, :1, visual], expected)
    place = visual.stop
    for question in batch.questions:
        ids = prompt.question_ids(question.text)
        there = slice(place, place + len(ids))
        assert batch.ids[0, there].tolist() == ids
        start = timeline.text_start(len(prefix))
        assert batch.positions[0, 0, there].tolist() == [*range(start, start + len(ids))]
        place += len(ids) + len(tokenizer(question.answer).input_ids)


def test_a_dialogue_is_spelt_as_at_run_time(part, tokenizer):
    plan = Plan((GRIDS, GRIDS), (1.0, 1.0), 12, goes_on=1.0)
    batch = make_batch([part], Speller(tokenizer), plan, np.random.default_rng(0), [(0, 0)])
    place = batch.start + batch.visual.shape[1]
    assert any(batch.follows) and not batch.follows[0]
    prompt = Prompt(tokenizer)
    dialogue: list[tuple[str, str]] = []
    for number, question in enumerate(batch.questions):
        dialogue = dialogue if batch.follows[number] else []
        ids = prompt.question_ids(question.text, dialogue)
        answer = tokenizer(f'{question.answer}<|im_end|>').input_ids
        assert batch.ids[0, place:place + len(ids)].tolist() == ids
        mine = batch.question == number
        assert batch.targets[mine].tolist() == answer
        assert batch.columns[mine].tolist() == [
            place + len(ids) - 1 + offset for offset in range(len(answer))]
        dialogue = [*dialogue, (question.text, question.answer)]
        if number + 1 == len(batch.questions) or not batch.follows[number + 1]:
            place += len(ids) + len(answer) - 1


def test_questions_do_not_see_each_other(part, tokenizer, model):
    speller = Speller(tokenizer)
    plan = Plan((4, 4), (0.5, 0.5), 5)
    batch = make_batch([part], speller, plan, np.random.default_rng(3))
    with torch.no_grad():
        before = answer_logits(model, batch)
        first = batch.question == 0
        row, column = batch.rows[first][0], batch.columns[first][-1] + 1
        batch.ids[row, column:] = 7
        after = answer_logits(model, batch)
    assert torch.allclose(before[first], after[first], atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize('seed', range(6))
def test_times_grow_by_at_least_one(seed):
    rng = np.random.default_rng(seed)
    numbers = times(np.sort(rng.random(40)), rng, False)
    assert numbers[0] == 0
    assert (np.diff(numbers) >= 1).all()


def test_the_curriculum_goes_from_single_grids_to_whole_tours():
    plans = [curriculum(share) for share in (0.0, 0.15, 0.3, 0.5, 0.9)]
    assert [plan.grids[1] for plan in plans] == [3, 8, 20, 28, 28]
    assert [plan.long > 0 for plan in plans] == [False, False, False, True, True]


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] < 0.02


def test_both_steps_learn_and_go_on_where_they_were(shard, model, tokenizer, tmp_path):
    run = Run(tmp_path)
    losses: list[float] = []
    train_eye(
        model, word_table(model, tokenizer).detach(), [shard], [shard], run, steps=30, batch=8,
        measure_every=15, on_step=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    part = encoded(shard, encode_shard(model, shard), encode_shard(model, shard, single=True))
    table = word_table(model, tokenizer).clone()
    losses.clear()

    def read(steps):
        train_reader(
            model, tokenizer, [part], [part], run, steps=steps, measure_every=10,
            plan_at=lambda share: Plan((1, 3), (0.5, 1.0), 4, tokens=1_000),
            on_step=lambda step, loss: losses.append(loss))

    read(20)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert not torch.equal(table, word_table(model, tokenizer))
    losses.clear()
    read(24)
    assert len(losses) == 4
    curve = [json.loads(line) for line in (tmp_path / 'curve.jsonl').read_text().splitlines()]
    assert [(line['stage'], line['step']) for line in curve] == [
        ('eye', 15), ('eye', 30), ('reader', 10), ('reader', 20), ('reader', 24)]
    assert {'all', 'sparse_all'} <= set(curve[-1])


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    Run(tmp_path, {'steps': 30})
    Run(tmp_path, {'steps': 30})
    with pytest.raises(ConfigurationError, match='steps was 30 and is 40'):
        Run(tmp_path, {'steps': 40})
