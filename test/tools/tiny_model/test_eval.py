# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A world's stream from its bag is what it is in the benchmark: the same answers, all of them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from infinipot_ros.cli.main import app

pytest.importorskip('matplotlib', reason='the report draws with matplotlib')

SEED = 2_000_000
FRAMES = 200
CELLS = ('--policy', 'full', '--policy', 'infinipot_v', '--budget', '/8', '--workers', 1)
SAME = (
    'suite', 'policy', 'budget', 'budget_tokens', 'id', 'kind', 'delay', 'question', 'expected',
    'answer', 'right', 'retention', 'held', 'seen_tokens', 'compressions', 'asked_ns', 'score',
    'memory_bytes', 'new_tokens', 'evidence')


def command(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)], prog_name='infinipot')
    assert result.exit_code == 0, result.stderr


def answered(folder):
    lines = [json.loads(line) for line in (folder / 'outcomes.jsonl').read_text().splitlines()]
    return [{name: line[name] for name in SAME} for line in lines]


def test_eval_of_a_suites_bag_equals_the_benchmark(renderer, tmp_path):
    command(
        'bench', 'quality', '--suite', 'tour', '--streams', 1, '--other-streams', 0, '--frames',
        FRAMES, *CELLS, '--cache', tmp_path / 'cache', '--output', tmp_path / 'bench')
    command(
        'tour', tmp_path / 'bags' / 'one', '--suite', 'tour', '--seed', SEED, '--frames', FRAMES)
    command('eval', tmp_path / 'bags' / 'one', *CELLS, '--output', tmp_path / 'eval')
    found = answered(tmp_path / 'eval')
    assert found == answered(tmp_path / 'bench')
    assert len(found) == 2 * 20
    assert any(0 < each['retention'] < 1 for each in found if each['retention'] is not None)
