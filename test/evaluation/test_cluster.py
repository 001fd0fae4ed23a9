# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real Ray cluster of two workers, some of which are killed: outcomes of one process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from eval_command import write_lines
from quality_streams import (
    GRID_TOKENS,
    damaged_stream,
    make_stream,
    make_tasks,
    measure_all,
    mortal_stream,
    untimed_lines,
)
from recording_files import camera, write_bag
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.cli.ray_option import check_ray, name_address
from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation import cluster
from infinipot_ros.evaluation.cluster import run_on_cluster, split_jobs
from infinipot_ros.evaluation.provenance import machine
from infinipot_ros.evaluation.ray_session import ray_session
from infinipot_ros.evaluation.run_store import OUTCOMES, RUNS

STARTED_S = 300
# Not by importing it: that is when Ray decides where it listens.
needs_ray = pytest.mark.skipif(
    find_spec('ray') is None, reason="Ray is not installed: pip install '.[test]'")
PYTHONPATH = os.pathsep.join(path for path in sys.path if path)


@pytest.fixture(scope='module')
def ray():
    """A cluster of two cores, kept for all tests that only look at what is run on it."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('PYTHONPATH', PYTHONPATH)
            patch.setattr(os, 'sched_getaffinity', lambda process: {0, 1})
            session = stack.enter_context(ray_session('local'))
        yield session


def measure_there(model, folder, **options):
    """Measure on the cluster this process is connected to."""
    return measure_all(
        model, folder, spread=partial(run_on_cluster, address='local', output=folder), **options)


@needs_ray
def test_events_of_a_cluster_are_those_of_one_process(ray, model, tmp_path):
    bag = write_bag(tmp_path / 'walk', {'/cam': camera(20)})
    for name, spread in (('here', ('--workers', '1')), ('there', ('--ray',))):
        result = CliRunner().invoke(app, [
            'events', str(bag), '--watch', 'What is there?', '--every', '0.5', '--budget', '64',
            '--max-pixels', '3136', '--max-new-tokens', '2', '--model', str(model), *spread,
            '--out', str(tmp_path / f'{name}.jsonl')], prog_name='infinipot')
        assert result.exit_code == 0, result.output
    assert (tmp_path / 'there.jsonl').read_text() == (tmp_path / 'here.jsonl').read_text() != ''


# Who does what ----------------------------------------------------------------------------------


def test_streams_are_jobs_and_are_dealt_out_where_they_are_few():
    tasks = make_tasks(policies=('full', 'uniform', 'recent'), budgets=('/4', '/8'))
    for workers in (1, 2, 4):
        assert {job.variants for job in split_jobs(tasks, workers)} == {tasks[0].variants}
    jobs = split_jobs(tasks, 7)
    assert [len(job.variants) for job in jobs] == [3] * 4 + [2] * 4
    assert sorted((job.name, variant) for job in jobs for variant in job.variants) == sorted(
        (task.name, variant) for task in tasks for variant in task.variants)
    # Never more than there are variants, and whole where somebody needs all variants in one place.
    assert len(split_jobs(tasks, 100)) == sum(len(task.variants) for task in tasks)
    assert len(split_jobs(tasks, 100, whole=True)) == len(tasks)


# On the cluster ---------------------------------------------------------------------------------


@needs_ray
def test_with_workers_killed_midway_outcomes_are_those_of_one_process(
        ray, model, reference, tmp_path, monkeypatch):
    # Each worker that is started imports torch again.
    monkeypatch.setattr(cluster, 'MAX_LOSSES', 2)
    # The first stream kills one worker, and the last one every worker it gets.
    grave, done, failures = tmp_path / 'grave', [], []
    last = replace(make_tasks()[0], name='noise-9', seed=9)
    measure_there(
        model, tmp_path / 'out', load=partial(mortal_stream, grave), keep_going=True,
        tasks=[*make_tasks(), last], failures=failures,
        on_run=lambda task, variant: done.append((task.name, variant)))
    assert not psutil.pid_exists(int(grave.read_text()))
    assert untimed_lines(tmp_path / 'out' / OUTCOMES) == reference
    assert len(done) == len(set(done)) == 4 * 3
    [failure] = failures
    assert failure.stream == 'noise-9'
    assert '2 workers in a row were lost' in failure.message
    lines = [json.loads(line) for line in (tmp_path / 'out' / RUNS).read_text().splitlines()]
    assert len(lines) == 4 * 3
    for line in lines:
        assert {name: line[name] for name in machine()} == json.loads(json.dumps(machine()))
        assert line['stream_tokens'] == len(make_stream().frames) // 2 * GRID_TOKENS


@needs_ray
def test_what_a_stream_refuses_is_raised_and_the_cluster_stays(ray, model, tmp_path):
    [task] = make_tasks(policies=('full',), seeds=1)[:1]
    with pytest.raises(InfinipotError, match='is damaged'):
        measure_there(model, tmp_path / 'out', load=damaged_stream, tasks=[task])
    with pytest.raises(ConfigurationError, match=r'has no GPU.*leave out --device'):
        measure_there(model, tmp_path / 'gpu', settings={'device': 'cuda'})
    assert len([node for node in ray.nodes() if node['Alive']]) == 1


# The command ------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path):
    """A bag with questions."""
    bag = write_bag(tmp_path / 'walk', {'/cam': camera(60)})
    write_lines(bag / 'questions.jsonl', (20, 40, 59))
    return bag


def command(model, *arguments):
    return ['eval', *map(str, arguments), '--model', str(model), '--max-new-tokens', '3', '--fps',
            '0', '--policy', 'full', '--policy', 'uniform', '--policy', 'tar', '--budget', '/4']


@pytest.fixture
def room():
    """A folder for temporary files whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:
        yield Path(folder)


@pytest.fixture
def started(model, recording, room, tmp_path):
    """``--ray`` in a process group of its own, which is to end with all it started."""
    child = subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main',
         *command(model, recording, '--output', tmp_path / 'out', '--ray')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {'PYTHONPATH': PYTHONPATH, 'TMPDIR': str(room)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    yield child
    child.kill()
    child.wait()


def listening(process):
    """Addresses at which a process and its children can be reached."""
    found = set()
    for each in [process, *process.children(recursive=True)]:
        try:
            found |= {connection.laddr.ip for connection in each.net_connections()
                      if connection.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return {address.removeprefix('::ffff:') for address in found}


@needs_ray
def test_ray_alone_starts_a_cluster_nobody_else_reaches_and_ctrl_c_ends_it(
        model, recording, started, room, tmp_path):
    out, deadline = tmp_path / 'out', time.monotonic() + STARTED_S
    reachable, family = set(), []
    while not ((out / RUNS).exists() and (out / RUNS).read_text()):
        assert started.poll() is None, started.stderr.read()
        assert time.monotonic() < deadline
        process = psutil.Process(started.pid)
        family = process.children(recursive=True) or family
        reachable |= listening(process)
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=120)
    assert started.returncode == 130, errors
    assert 'infinipot: interrupted; run again to go on' in errors
    assert 'Traceback' not in errors
    assert reachable == {'127.0.0.1'}
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert not list(room.iterdir())
    assert not (Path.home() / '.ray').exists()

    finished = (out / RUNS).read_text().splitlines()
    assert len(finished) >= 1
    for folder in (out, tmp_path / 'through'):
        result = CliRunner().invoke(
            app, command(model, recording, '--output', folder, '--workers', 1))
        assert result.exit_code == 0, result.stderr
    assert (out / RUNS).read_text().splitlines()[:len(finished)] == finished
    assert untimed_lines(out / OUTCOMES) == untimed_lines(tmp_path / 'through' / OUTCOMES)


@pytest.mark.parametrize(('given', 'read'), [
    ('bag --ray', 'bag --ray=local'), ('--ray bag', '--ray=local bag'),
    ('--ray --fps 0', '--ray=local --fps 0'), ('--ray auto bag', '--ray auto bag'),
    ('--ray head-1.lab:6379 bag', '--ray head-1.lab:6379 bag'),
    ('--ray ray://head bag', '--ray ray://head bag'), ('--ray [::1]:1', '--ray [::1]:1'),
    ('--ray=auto', '--ray=auto'), ('bag --fps 0', 'bag --fps 0')])
def test_an_address_may_be_left_out(given, read):
    assert name_address(given.split()) == read.split()


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--ray', '--workers', '2'), r'--workers 2 and --ray exclude each other'),
    (('--ray', '--device', 'cuda:1'), r'each worker has a GPU of its own: give --device cuda$'),
    (('--ray=head',), r"'head' is not an address of a Ray cluster; give HOST:PORT"),
])
def test_what_does_not_go_together_is_refused(tmp_path, arguments, message):
    for name in (['eval', str(tmp_path)], ['bench', 'quality']):
        result = CliRunner().invoke(
            app, [*name, *arguments, '--output', str(tmp_path / 'out')], prog_name='infinipot')
        assert result.exit_code == 2
        assert re.search(message, result.stderr.strip())
        assert not (tmp_path / 'out').exists()


def test_without_ray_everything_goes_together():
    check_ray(None, 3, 'cuda:1')


@needs_ray
def test_a_cluster_that_does_not_answer_is_an_error():
    message = r'no Ray cluster answers at 127\.0\.0\.1:1 .*ray start --head'
    with pytest.raises(ConfigurationError, match=message), ray_session('127.0.0.1:1'):
        pass


def test_where_ray_is_missing_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    message = r"pip install '\.\[ray\]'"
    with pytest.raises(ConfigurationError, match=message), ray_session('local'):
        pass
