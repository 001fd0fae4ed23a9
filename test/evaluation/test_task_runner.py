# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many streams on several processes, killed and taken up again: always the same outcomes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from importlib.metadata import version

import pytest
from quality_streams import (
    CONFIG,
    FRAMES,
    GRID_TOKENS,
    damaged_stream,
    deadly_stream,
    fail_with_much_to_do,
    make_tasks,
    measure_all,
    measure_until_killed,
    other_stream,
    untimed_lines,
)

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.provenance import code_digest
from infinipot_ros.evaluation.run_store import OUTCOMES, RUNS, TIMELINE, RunStore
from infinipot_ros.evaluation.task_runner import worker_context


def test_every_stream_and_variant_is_there_once(reference):
    counts = Counter((line['stream'], line['policy'], line['id']) for line in reference)
    assert len(counts) == 4 * 3 * 3
    assert set(counts.values()) == {1}


def test_two_processes_find_what_one_does(model, reference, tmp_path):
    done = []
    measure_all(
        model, tmp_path, workers=2, on_run=lambda task, variant: done.append((task, variant)))
    assert untimed_lines(tmp_path / OUTCOMES) == reference
    assert len(done) == len(set(done)) == 4 * 3


def test_workers_import_nothing_that_lies_in_the_current_folder(tmp_path):
    here, there = tmp_path / 'here', tmp_path / 'there'
    here.mkdir()
    there.mkdir()
    (here / 'transformers.py').write_text('raise SystemError("not this one")\n')
    (there / 'main.py').write_text(
        'from infinipot_ros.evaluation.task_runner import worker_context\n'
        'if __name__ == "__main__":\n'
        '    process = worker_context().Process(target=print, args=("alive",))\n'
        '    process.start()\n'
        '    process.join()\n'
        '    raise SystemExit(process.exitcode)\n')
    environment = {name: value for name, value in os.environ.items()
                   if name != 'PYTHONSAFEPATH'}
    done = subprocess.run(
        [sys.executable, there / 'main.py'], cwd=here, env=environment, capture_output=True,
        text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, 'alive\n'), done.stderr


def test_a_killed_run_goes_on(model, reference, tmp_path):
    process = worker_context().Process(
        target=measure_until_killed, args=(model, tmp_path, 5))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    before = (tmp_path / RUNS).read_text().splitlines()
    assert len(before) == 5
    # As if it had been killed while writing, too.
    with (tmp_path / OUTCOMES).open('a') as file:
        file.write(json.dumps(reference[-1]) + '\n{"stream": "noi')
    with (tmp_path / RUNS).open('a') as file:
        file.write('{"stream": "noise-1", "pol')
    with (tmp_path / TIMELINE).open('a') as file:
        file.write((tmp_path / TIMELINE).read_text().splitlines()[0].replace('full', 'other'))
    done = []
    measure_all(model, tmp_path, on_run=lambda task, variant: done.append((task.name, variant)))
    assert untimed_lines(tmp_path / OUTCOMES) == reference
    assert (tmp_path / RUNS).read_text().splitlines()[:5] == before
    sampled = Counter(
        (line['stream'], line['policy']) for line in
        map(json.loads, (tmp_path / TIMELINE).read_text().splitlines()))
    assert len(sampled) == 4 * 3
    assert max(sampled.values()) <= FRAMES
    assert len(done) == len(set(done)) == 4 * 3


def test_what_is_done_is_not_done_again(model, reference, tmp_path):
    measure_all(model, tmp_path)
    # Not one stream is loaded.
    measure_all(model, tmp_path, load=damaged_stream)
    assert untimed_lines(tmp_path / OUTCOMES) == reference


def test_a_benchmark_can_be_widened(model, reference, tmp_path):
    measure_all(model, tmp_path, tasks=make_tasks(policies=('full', 'uniform'), seeds=1))
    measure_all(model, tmp_path)
    assert untimed_lines(tmp_path / OUTCOMES) == reference


def test_another_configuration_is_refused_unless_fresh(model, tmp_path):
    one = make_tasks(policies=('full',), seeds=1)
    measure_all(model, tmp_path, tasks=one)
    with pytest.raises(ConfigurationError, match=r'block_size 8 became 4.*--fresh'):
        measure_all(model, tmp_path, tasks=one, config=CONFIG | {'block_size': 4})
    found = measure_all(
        model, tmp_path, tasks=one[:1], config=CONFIG | {'block_size': 4}, fresh=True)
    assert {each.stream for each in found} == {'noise-0'}


def test_a_stream_that_changed_is_refused(model, tmp_path):
    measure_all(model, tmp_path, tasks=make_tasks(policies=('full',)))
    with pytest.raises(ConfigurationError, match='has changed since'):
        measure_all(model, tmp_path, load=other_stream)


def test_other_code_is_refused_unless_fresh(model, tmp_path):
    one = make_tasks(policies=('full',), seeds=1)
    measure_all(model, tmp_path, tasks=one)
    text = (tmp_path / RUNS).read_text()
    (tmp_path / RUNS).write_text(text.replace(code_digest(), '0123456789ab', 1))
    with pytest.raises(ConfigurationError, match=r'other code \(.*0123456789ab.*--fresh'):
        measure_all(model, tmp_path)
    found = measure_all(model, tmp_path, tasks=one, fresh=True)
    assert {each.stream for each in found} == {'noise-0', 'other-0'}


@pytest.mark.parametrize(('name', 'line'), [
    (OUTCOMES, '{"stream": "noise-0"}'), (OUTCOMES, '{"stream": '), (OUTCOMES, '3'),
    (RUNS, '{"stream": "noise-0", "policy": "full", "budget": "full"}'), (RUNS, 'nothing'),
    ('config.json', '{"model"')])
def test_what_is_no_store_is_refused_unless_fresh(tmp_path, name, line):
    (tmp_path / name).write_text(f'{line}\n')
    with pytest.raises(ConfigurationError, match=r'cannot read.*--fresh'):
        RunStore(tmp_path, CONFIG)
    with RunStore(tmp_path, CONFIG, fresh=True) as store:
        assert not store.outcomes


def test_every_line_tells_when_and_on_what_it_was_measured(model, tmp_path):
    measure_all(model, tmp_path, tasks=make_tasks(policies=('full',), seeds=1))
    for line in map(json.loads, (tmp_path / RUNS).read_text().splitlines()):
        assert datetime.fromisoformat(line['date']).tzinfo is not None
        assert line['versions']['torch'] == version('torch')
        assert line['code'] == code_digest()
        assert line['stream_tokens'] == FRAMES // 2 * GRID_TOKENS


def test_one_run_at_a_time_writes_to_a_folder(tmp_path):
    with RunStore(tmp_path, CONFIG), pytest.raises(ConfigurationError, match='another run'):
        RunStore(tmp_path, CONFIG)
    with RunStore(tmp_path, CONFIG) as store:
        assert store.outcomes == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigurationError, match='cannot be written'):
        RunStore(tmp_path / 'file' / 'folder', CONFIG)


@pytest.mark.parametrize('workers', [1, 2])
def test_what_a_stream_refuses_is_raised(model, tmp_path, workers):
    with pytest.raises(InfinipotError, match='is damaged'):
        measure_all(model, tmp_path, load=damaged_stream, workers=workers)


def test_a_failed_run_ends_however_much_there_was_to_do(model, tmp_path):
    process = worker_context().Process(
        target=fail_with_much_to_do, args=(model, tmp_path))
    process.start()
    process.join(120)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def test_a_worker_that_is_killed_is_noticed(model, tmp_path):
    with pytest.raises(InfinipotError, match=r'ended with code -9.*fewer --workers'):
        measure_all(model, tmp_path, load=deadly_stream, workers=2)
