# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the published shapes, and what steps really take."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.speed.bounds import (
    steps_of,
)
from infinipot_ros.cli.main import app
from infinipot_ros.evaluation.verify.peak_memory import most_allocated
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import FULL_NAMES, SHAPES, shape_config
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.visual_memory.plan_table import BUDGETS, shape_rows
from infinipot_ros.vlm.loading import load_model


def test_every_shape_and_budget_has_a_figure():
    rows = [(row[0], row[1]) for row in shape_rows()]
    # One model knows too few positions for two of them.
    few = {('LLaVA-NeXT-Video-34B', budget) for budget in BUDGETS[1:]}
    assert {*rows} == {
        (FULL_NAMES[name], budget) for name in SHAPES for budget in BUDGETS} - few


@pytest.mark.parametrize(('name', 'parameters'), [
    ('2B', 2.21e9), ('3B', 3.75e9), ('7B', 8.29e9), ('Qwen2.5-VL-32B', 33.45e9),
    ('Qwen2-VL-72B', 73.4e9), ('Qwen3-VL-4B', 4.44e9), ('Qwen3-VL-8B', 8.77e9),
    ('Qwen3-VL-30B-A3B', 31.07e9), ('Qwen3-VL-235B-A22B', 235.7e9)])
def test_weights_are_those_of_the_published_models(name, parameters):
    settings = MemoryConfig(name, dtype='bfloat16')
    plan = plan_memory(shape_config(name), settings)
    assert plan.weights / 2 == pytest.approx(parameters, rel=0.005)


def test_parts_grow_with_the_budget_as_they_must():
    config, settings = shape_config('3B'), MemoryConfig('3B', dtype='bfloat16', budget=2048)
    small, large = (
        plan_memory(config, replace(settings, budget=budget)) for budget in (2048, 4096))
    assert large.weights == small.weights
    assert large.question == small.question
    # 36 layers of 2 heads: keys and values of 128 numbers of 2 bytes, and 3 coordinates of 4.
    assert large.cache - small.cache == 2048 * 36 * 2 * (2 * 128 * 2 + 12)
    assert large.total > small.total


def test_steps_of_a_memory_stay_within_its_plan():
    settings = MemoryConfig('infinipot-tiny', budget=512, block_size=2)
    model = load_model('infinipot-tiny')
    for step in steps_of(model, model.config, settings):
        assert 0 <= step.taken <= step.planned, step


def test_what_is_allocated_is_measured():
    kept = []
    taken = most_allocated(lambda: kept.append(torch.ones(2 ** 22)), 'cpu')
    assert 2 ** 24 <= taken < 2 ** 25


def test_the_command_tells_the_figure_before_anything_is_loaded():
    runner = CliRunner()
    result = runner.invoke(app, ['plan', '3B', '--budget', '4096'])
    assert result.exit_code == 0, result.output
    [row] = [line for line in result.output.splitlines() if line.startswith('in all ')]
    total = int(row.split()[-1].replace(',', ''))
    assert 7_161 < total < 8_500
    by_name = runner.invoke(app, ['plan', 'qwen2.5-vl-3b', '--budget', '4096'])
    # But for what this process takes by now.
    table = result.output.partition('\n\nPython')[0]
    assert by_name.output.partition('\n\nPython')[0] == table
    unknown = runner.invoke(app, ['plan', 'Qwen3.5-4B'])
    assert unknown.exit_code == 2 and 'give the folder or the hub id' in unknown.stderr
    refused = runner.invoke(app, ['plan', 'nobody/nothing'])
    assert refused.exit_code == 2 and '--allow-download' in refused.stderr
    assert '--allow-download' in runner.invoke(app, ['plan', '--help']).stdout
    assert runner.invoke(app, ['plan', '3B', '--device', 'tpu']).exit_code == 2
