# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot bench quality``: streams of the simulator, and what is made of them."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import quality_command as bench_cli
from benchmarks import quality_streams as quality
from benchmarks.quality_command import POLICIES, QUICK, Plan, plan_tasks
from benchmarks.quality_streams import (
    STREAM_CODE,
    film_name,
    load_film,
    load_stream,
    stream_code,
)
from infinipot_ros.cli.main import app
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.task_runner import count_workers
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES
from infinipot_ros.vlm.loading import weights_digest
from tools.tiny_model import house
from tools.tiny_model.splits import split_of
from tools.tiny_model.suites import SUITES, make_stream

pytest.importorskip('matplotlib', reason='the report draws with matplotlib')

SEED = 2_000_000
FRAMES = 100


def bench(*arguments):
    return CliRunner().invoke(
        app, ['bench', 'quality', *map(str, arguments)], prog_name='infinipot')


def test_a_stream_is_filmed_once(renderer, tmp_path, monkeypatch):
    first = load_stream('spin', SEED, frames=FRAMES, questions=4, cache=tmp_path)
    assert [path.name for path in (tmp_path / 'films').iterdir()] == [
        f'{film_name(make_stream("spin", SEED, FRAMES))}.npz']
    monkeypatch.setattr(quality, 'film', lambda *_: pytest.fail('filmed again'))
    again = load_stream('spin', SEED, frames=FRAMES, questions=4, cache=tmp_path)
    assert again.digest() == first.digest()
    assert (first.name, first.suite, first.seed) == (f'spin-{SEED}', 'spin', SEED)
    assert len(first.stamps_ns) == len(first.frames) == FRAMES


def test_a_film_comes_back_whole(renderer, tmp_path):
    drive = make_stream('vigil', SEED, FRAMES)
    filmed, kept = load_film(drive, tmp_path), load_film(drive, tmp_path)
    assert kept.jpegs == filmed.jpegs
    for name in ('frames', 'things', 'rooms', 'inside'):
        one, other = getattr(kept, name), getattr(filmed, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_other_tours_have_other_names():
    drives = [make_stream(suite, seed, frames) for suite, seed, frames in (
        ('tour', SEED, 100), ('tour', SEED + 1, 100), ('tour', SEED, 102),
        ('cuts', SEED, 100), ('vigil', SEED, 100))]
    assert len({film_name(drive) for drive in drives}) == 5


def test_questions_are_asked_of_whole_grids_with_evidence_before(renderer, tmp_path):
    stream = load_stream('tour', SEED, frames=200, questions=12, cache=tmp_path)
    assert stream.questions
    for question in stream.questions:
        asked = stream.stamps_ns.index(question.ask_at_ns)
        assert asked % 2 == 1
        if question.tokens is not None and len(question.tokens):
            assert question.tokens[:, 0].max() <= asked // 2
            assert question.tokens.min() >= 0
            assert (question.tokens[:, 1:].max(0) < (4, 6)).all()


def test_nothing_that_was_trained_on_is_measured():
    for split in ('test', 'validation'):
        plan = Plan(SUITES, ('full', 'uniform'), ('/8', '/4'), 20, 5)
        tasks = plan_tasks(plan, split)
        assert {split_of(task.seed) for task in tasks} == {split}
        assert len(tasks) == len({task.name for task in tasks}) == 20 * len(SUITES)
        widths = [len(task.variants) for task in tasks if task.suite == 'tour']
        assert widths == [3] * 5 + [2] * 15
    assert plan_tasks(QUICK, 'test')


def test_every_policy_is_measured_once():
    # Two variants are the method itself, under a longer name, and one is ``recent``.
    assert {*POLICIES} == {*POLICY_NAMES} - {
        'infinipot_v/true_coordinates', 'infinipot_v/rotated_keys', 'swa_released'}
    assert len(POLICIES) == len(set(POLICIES))


def test_a_gpu_takes_one_process():
    assert count_workers(None, 'cuda') == count_workers(1, 'cuda:1') == 1
    assert count_workers(None, 'cpu') == len(os.sched_getaffinity(0))
    assert count_workers(7, 'cpu') == 7


def test_the_code_that_makes_streams_is_known():
    folder = Path(house.__file__).parent
    for name in {*STREAM_CODE} - {'eye'}:
        text = (folder / f'{name}.py').read_text()
        assert {*re.findall(r'from tools\.tiny_model\.(\w+) import', text)} <= {*STREAM_CODE}
    assert stream_code() == stream_code()


def test_a_film_that_cannot_be_kept_leaves_nothing(renderer, tmp_path, monkeypatch):
    def fail(draft, **arrays):
        draft.write_bytes(b'some')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', fail)
    with pytest.raises(ConfigurationError, match=r'No space left.*--cache'):
        load_film(make_stream('vigil', SEED, FRAMES), tmp_path)
    assert not [*(tmp_path / 'films').iterdir()]


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--suite', 'party'], "no suite 'party'"),
    (['--policy', 'best'], "no policy 'best'"),
    (['--budget', '/0'], "budget '/0'"),
    (['--split', 'train'], "'train' is not held out"),
    (['--quick', '--suite', 'tour', '--frames', 400],
     '--quick is a fixed set and takes no --suite, --frames'),
    (['--policy', 'full', '--policy', 'tar', '--budget', '/4', '--other-streams', 0, '--suite',
      'tour', '--model', 'nowhere/nothing'], 'not on this machine'),
    (['--policy', 'tar', '--budget', '/4', '--other-streams', 0], 'none is measured'),
    (['--block-size', 3], 'block_size is 3'),
    (['--frames', 20], 'a stream of 20 frames'),
    (['--device', 'cuda', '--workers', 2], '2 workers would each hold the model on cuda'),
])
def test_what_cannot_be_measured_is_refused(tmp_path, arguments, message):
    result = bench('--output', tmp_path / 'out', *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / 'out').exists()


def test_weights_are_told_apart(tmp_path):
    digest = weights_digest('infinipot-tiny')
    assert len(digest) == 64
    assert weights_digest('infinipot-tiny') == digest
    for folder in (tmp_path, tmp_path / 'empty'):
        folder.mkdir(exist_ok=True)
        (folder / 'config.json').write_text('{}')
    (tmp_path / 'model.safetensors').write_bytes(b'other')
    assert weights_digest(str(tmp_path)) != digest
    with pytest.raises(ConfigurationError, match='no weights'):
        weights_digest(str(tmp_path / 'empty'))


def test_a_small_benchmark_runs_and_goes_on(renderer, tmp_path):
    options = (
        '--suite', 'tour', '--policy', 'full', '--policy', 'infinipot_v', '--budget', '/8',
        '--frames', 120, '--questions', 6, '--workers', 1, '--cache', tmp_path / 'cache',
        '--output', tmp_path / 'out')
    result = bench(*options, '--streams', 1)
    assert result.exit_code == 0, result.stderr
    assert 'infinipot_v' in result.stdout
    first = (tmp_path / 'out' / 'outcomes.jsonl').read_text()
    again = bench(*options, '--streams', 2)
    assert again.exit_code == 0, again.stderr
    assert (tmp_path / 'out' / 'outcomes.jsonl').read_text().startswith(first)
    refused = bench(*options, '--streams', 2, '--block-size', 4)
    assert refused.exit_code == 2
    assert 'block_size 8 became 4' in refused.stderr


@pytest.fixture(scope='module')
def quick(renderer, tmp_path_factory):
    """The quick benchmark as a user runs it, but of two streams a suite instead of six."""
    folder = tmp_path_factory.mktemp('quick')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_cli, 'QUICK', replace(QUICK, streams=2, other_streams=2))
        done = bench('--quick', '--workers', 2, '--output', folder / 'out', '--cache',
                     folder / 'cache')
    assert done.exit_code == 0, done.stderr
    shutil.rmtree(folder / 'cache')
    return folder / 'out', done.stdout


def accuracy(figures, policy, budget):
    [found] = [each['accuracy'] for each in figures if (each['suite'], each['group']) == (
        'all suites', 'all') and (each['policy'], each['budget']) == (policy, budget)]
    return found


@pytest.mark.soak
def test_the_quick_benchmark_writes_what_it_promises(quick):
    folder, shown = quick
    assert {path.name for path in folder.iterdir()} == {
        '.lock', 'cells.jsonl', 'config.json', 'outcomes.jsonl', 'report.html', 'results.csv',
        'results.json', 'timeline.csv', 'timeline.jsonl'}
    results = json.loads((folder / 'results.json').read_text())
    assert results['config']['weights_sha256'] == weights_digest('infinipot-tiny')
    cells = {(each['suite'], each['policy'], each['budget']) for each in results['figures']}
    assert cells == {
        (suite, policy, budget)
        for suite in (*QUICK.suites, 'all suites') for policy in QUICK.policies
        for budget in (('full',) if policy == 'full' else QUICK.budgets)}
    outcomes = [json.loads(line) for line in (folder / 'outcomes.jsonl').read_text().splitlines()]
    for each in outcomes:
        assert split_of(each['seed']) == 'test'
        assert each['held'] <= each['budget_tokens']
        if each['policy'] == 'full' and each['retention'] is not None:
            assert each['retention'] == 1.0
    for policy in QUICK.policies:
        assert policy in shown


@pytest.mark.soak
def test_full_is_best_and_the_default_beats_uniform(quick):
    figures = json.loads((quick[0] / 'results.json').read_text())['figures']
    full = accuracy(figures, 'full', 'full')
    default = accuracy(figures, DEFAULT_POLICY, '120')
    assert full >= default > accuracy(figures, 'uniform', '120')
