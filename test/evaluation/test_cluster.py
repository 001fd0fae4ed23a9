# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real Ray cluster of two workers, some of which are killed: what one process finds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from quality_streams import (
    GRID_TOKENS,
    damaged_stream,
    make_stream,
    make_tasks,
    measure_all,
    mortal_stream,
    partly_deadly_stream,
    untimed_lines,
)
from recording_files import START, camera, write_bag
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.cli.ray_option import check_ray, name_address
from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.cluster import deal_out, run_on_cluster
from infinipot_ros.evaluation.ray_session import ray_session
from infinipot_ros.evaluation.run_store import CELLS, OUTCOMES, machine

STARTED_S = 300
PYTHONPATH = os.pathsep.join(path for path in sys.path if path)


@pytest.fixture(scope='module')
def address():
    """Two nodes of one core each, which only this machine reaches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        patch.setenv('RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER', '0')
        patch.setenv('PYTHONPATH', PYTHONPATH)
        pytest.importorskip('ray', reason="Ray is not there: pip install '.[ray]'")
        from ray.cluster_utils import Cluster

        node = {'num_cpus': 1, 'object_store_memory': 2 ** 27, 'include_dashboard': False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            yield cluster.address
        finally:
            cluster.shutdown()


def measure_there(model, folder, address, **options):
    return measure_all(
        model, folder, spread=partial(run_on_cluster, address=address, output=folder), **options)


# Who does what ----------------------------------------------------------------------------------


def test_streams_are_jobs_and_are_dealt_out_where_they_are_few():
    tasks = make_tasks(policies=('full', 'uniform', 'recent'), budgets=('/4', '/8'))
    for workers in (1, 2, 4):
        assert {job.cells for job in deal_out(tasks, workers)} == {tasks[0].cells}
    jobs = deal_out(tasks, 7)
    assert [len(job.cells) for job in jobs] == [3] * 4 + [2] * 4
    assert sorted((job.name, cell) for job in jobs for cell in job.cells) == sorted(
        (task.name, cell) for task in tasks for cell in task.cells)
    # Never more than there are cells, and whole where somebody needs all cells in one place.
    assert len(deal_out(tasks, 100)) == sum(len(task.cells) for task in tasks)
    assert len(deal_out(tasks, 100, whole=True)) == len(tasks)


# On the cluster ---------------------------------------------------------------------------------


def test_with_a_worker_killed_midway_outcomes_are_those_of_one_process(
        model, reference, address, tmp_path):
    grave, done = tmp_path / 'grave', []
    measure_there(
        model, tmp_path / 'out', address, load=partial(mortal_stream, grave),
        on_run=lambda task, cell: done.append((task.name, cell)))
    assert not psutil.pid_exists(int(grave.read_text()))
    assert untimed_lines(tmp_path / 'out' / OUTCOMES) == reference
    assert len(done) == len(set(done)) == 4 * 3
    lines = [json.loads(line) for line in (tmp_path / 'out' / CELLS).read_text().splitlines()]
    assert len(lines) == 4 * 3
    for line in lines:
        assert {name: line[name] for name in machine()} == json.loads(json.dumps(machine()))
        assert line['stream_tokens'] == len(make_stream().frames) // 2 * GRID_TOKENS


def test_a_stream_that_kills_every_worker_is_given_up_and_the_others_go_on(
        model, reference, address, tmp_path):
    tasks = make_tasks(seeds=1)
    failures = []
    measure_there(
        model, tmp_path, address, load=partly_deadly_stream, tasks=tasks, keep_going=True,
        failures=failures)
    assert [failure.stream for failure in failures] == ['noise-0']
    assert '3 workers in a row were lost' in failures[0].message
    assert untimed_lines(tmp_path / OUTCOMES) == [
        line for line in reference if line['stream'] == 'other-0']


def test_what_a_stream_refuses_is_told_and_the_cluster_stays(model, address, tmp_path):
    with pytest.raises(InfinipotError, match='is damaged'):
        measure_there(model, tmp_path / 'out', address, load=damaged_stream)
    with pytest.raises(ConfigurationError, match=r'has no GPU.*leave out --device'):
        measure_there(model, tmp_path / 'gpu', address, settings={'device': 'cuda'})
    with ray_session(address) as ray:
        assert len([node for node in ray.nodes() if node['Alive']]) == 2


# The command ------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path):
    """Two bags, each with questions."""
    made = []
    for number in range(2):
        bag = write_bag(tmp_path / f'walk{number}', {'/cam': camera(60)})
        (bag / 'questions.jsonl').write_text(''.join(json.dumps({
            'id': f'q{frame}', 'ask_at': START + frame * 100_000_000, 'question': 'What is it?',
            'answer': 'grey'}) + '\n' for frame in (20, 40, 59)))
        made.append(bag)
    return made


def command(model, *arguments):
    return ['eval', *map(str, arguments), '--model', str(model), '--max-new-tokens', '3', '--fps',
            '0', '--policy', 'full', '--policy', 'uniform', '--policy', 'tar', '--budget', '/4']


@pytest.fixture
def room():
    """A folder for temporary files whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:
        yield Path(folder)


@pytest.fixture
def started(model, recordings, room, tmp_path):
    """``--ray`` in a process group of its own, which is to end with all it started."""
    pytest.importorskip('ray', reason="Ray is not there: pip install '.[ray]'")
    child = subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main',
         *command(model, *recordings, '--output', tmp_path / 'out', '--ray')],
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


def test_ray_alone_starts_a_cluster_nobody_else_reaches_and_ctrl_c_ends_it(
        model, recordings, started, room, tmp_path):
    out, deadline = tmp_path / 'out', time.monotonic() + STARTED_S
    reachable, family = set(), []
    while not ((out / CELLS).exists() and (out / CELLS).read_text()):
        assert started.poll() is None, started.stderr.read()
        assert time.monotonic() < deadline
        process = psutil.Process(started.pid)
        family = process.children(recursive=True) or family
        reachable |= listening(process)
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    _, told = started.communicate(timeout=120)
    assert started.returncode == 130, told
    assert 'infinipot: interrupted; run again to go on' in told
    assert 'Traceback' not in told
    assert reachable == {'127.0.0.1'}
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert not list(room.iterdir())
    assert not (Path.home() / '.ray').exists()

    finished = (out / CELLS).read_text().splitlines()
    assert len(finished) >= 1
    for folder in (out, tmp_path / 'through'):
        result = CliRunner().invoke(
            app, command(model, *recordings, '--output', folder, '--workers', 1))
        assert result.exit_code == 0, result.stderr
    assert (out / CELLS).read_text().splitlines()[:len(finished)] == finished
    assert untimed_lines(out / OUTCOMES) == untimed_lines(tmp_path / 'through' / OUTCOMES)


@pytest.mark.parametrize(('given', 'read'), [
    ('bag --ray', 'bag --ray=local'), ('--ray bag', '--ray=local bag'),
    ('--ray --fps 0', '--ray=local --fps 0'), ('--ray auto bag', '--ray auto bag'),
    ('--ray head-1.lab:6379 bag', '--ray head-1.lab:6379 bag'),
    ('--ray ray://head bag', '--ray ray://head bag'), ('--ray [::1]:1', '--ray [::1]:1'),
    ('--ray=auto', '--ray=auto'), ('bag --fps 0', 'bag --fps 0')])
def test_an_address_may_be_left_out(given, read):
    assert name_address(given.split()) == read.split()


@pytest.mark.parametrize(('arguments', 'told'), [
    (('--ray', '--workers', '2'), r'--workers 2 and --ray exclude each other'),
    (('--ray', '--device', 'cuda:1'), r'each worker has a GPU of its own: give --device cuda$'),
    (('--ray=head',), r"'head' is no address of a Ray cluster; give HOST:PORT"),
])
def test_what_does_not_go_together_is_refused(tmp_path, arguments, told):
    for name in (['eval', str(tmp_path)], ['bench', 'quality']):
        result = CliRunner().invoke(
            app, [*name, *arguments, '--output', str(tmp_path / 'out')], prog_name='infinipot')
        assert result.exit_code == 2
        assert re.search(told, result.stderr.strip())
        assert not (tmp_path / 'out').exists()


def test_without_ray_everything_goes_together():
    check_ray(None, 3, 'cuda:1')


def test_a_cluster_that_is_not_there_is_told():
    pytest.importorskip('ray', reason="Ray is not there: pip install '.[ray]'")
    told = r'no Ray cluster answers at 127\.0\.0\.1:1 .*ray start --head'
    with pytest.raises(ConfigurationError, match=told), ray_session('127.0.0.1:1'):
        pass


def test_where_ray_is_missing_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    told = r"pip install '\.\[ray\]'"
    with pytest.raises(ConfigurationError, match=told), ray_session('local'):
        pass
