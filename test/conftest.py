# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What every test gets: a ROS domain of its own that stays on this machine, a home of its own.

Property tests draw the same examples every time; with ``HYPOTHESIS_PROFILE=fuzz``, as
``make fuzz`` sets, they draw fresh ones, in ``FUZZ_ROUNDS`` rounds.

Set when this file is imported, before any test module is, so that rclpy, transformers and child
processes all see it. Tests that need ROS are left out where it is not built, unless
``INFINIPOT_REQUIRE_ROS=1`` (as ``make test`` sets) makes that an error.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from annotations import shared_data
from hypothesis import HealthCheck, is_hypothesis_test, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from isolation import isolate

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
NEEDS_ROS = ('process', 'launch')
#: Files that take longest, those that wait and those that compute in turns: begun first, so that
#: at the end no processor is left alone with one of them.
LONGEST = (
    'evaluation/test_cluster.py', 'benchmarks/test_quality.py', 'process/test_operations.py',
    'test_style.py', 'test_docs.py',
    'process/test_replay_command.py',
    'evaluation/test_eval_resume.py', 'process/test_replay.py', 'cli/test_ask.py',
    'cli/test_commands.py',
    'process/test_controls.py', 'process/test_memory_files.py', 'evaluation/test_task_runner.py',
    'process/test_lifecycle.py',
    'tools/tiny_model/test_training.py', 'process/test_load.py',
    'evaluation/test_eval_refusals.py',
    'process/test_images.py', 'vlm/test_cuda_graph.py', 'process/test_demo.py',
    'evaluation/test_eval.py', 'process/test_asking.py', 'visual_memory/test_bound.py',
    'process/test_cameras.py', 'visual_memory/test_families.py',
    'visual_memory/test_position_rebase.py',
    'process/test_bad_input.py',
    'tools/tiny_model/test_eval.py', 'visual_memory/test_storage.py',
    'visual_memory/test_refused_memories.py', 'vlm/test_quantization.py',
    'evaluation/report/test_quality_page.py')

PROFILE = os.environ.get('HYPOTHESIS_PROFILE', 'test')
# Nothing that depends on how busy the machine is.
settings.register_profile(
    'test', derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    'fuzz', settings.get_profile('test'), derandomize=False, print_blob=True,
    database=DirectoryBasedExampleDatabase('.hypothesis/examples'))
settings.load_profile(PROFILE)


def prefer_built_package() -> None:
    """
    Keep the checkout's root off ``sys.path`` (``python -m pytest`` puts it first).

    There it would hide the built package, the one with ``infinipot_ros.msg`` and ``.srv``. At the
    end it is where ``benchmarks`` and ``tools`` are found.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry or '.').resolve() != ROOT]
    sys.path.append(str(ROOT))


def why_no_ros() -> str:
    """Say what keeps the ROS tests from running here; empty when nothing does."""
    if importlib.util.find_spec('rclpy') is None:
        return 'rclpy is not installed'
    if importlib.util.find_spec('infinipot_ros.msg') is None:
        return 'the interfaces are not built or not sourced: make test does both'
    return ''


_domain_lock = isolate()
prefer_built_package()
NO_ROS = why_no_ros()
collect_ignore = list(NEEDS_ROS) if NO_ROS else []


def pytest_report_header() -> list[str]:
    """Show where the tested code is, and what is left out."""
    spec = importlib.util.find_spec('infinipot_ros')
    lines = [f'infinipot_ros: {spec.origin if spec else "not found"}, '
             f'ROS_DOMAIN_ID {os.environ["ROS_DOMAIN_ID"]}']
    if NO_ROS:
        lines.append(f'no ROS: {NO_ROS}; left out: {", ".join(f"test/{n}" for n in NEEDS_ROS)}')
    return lines


def pytest_configure() -> None:
    """Refuse to run without ROS where it is required."""
    if NO_ROS and os.environ.get('INFINIPOT_REQUIRE_ROS') == '1':
        raise pytest.UsageError(f'INFINIPOT_REQUIRE_ROS is set, but {NO_ROS}')


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what ``scripts/reference_tables.py`` reads."""
    parser.addoption(
        '--family-cells', action='store_true',
        help='with --collect-only: list which test holds which property of which family')


def pytest_collection_finish(session: pytest.Session) -> None:
    """List property, kind of model and test, tab-separated, one test a line, where asked to."""
    # Modules and tests stay. Every client that leaves ROS collects garbage: not through them.
    gc.collect()
    gc.freeze()
    if not session.config.getoption('family_cells'):
        return
    for item in session.items:
        for mark in item.iter_markers('family_cell'):
            print('family-cell', mark.args[0], item.callspec.params['kind'],
                  item.nodeid.partition('[')[0], sep='\t')


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat property tests while fuzzing: most say themselves how many examples are enough."""
    if PROFILE == 'fuzz' and is_hypothesis_test(metafunc.function):
        metafunc.fixturenames.append('fuzz_round')
        rounds = range(int(os.environ.get('FUZZ_ROUNDS', '10')))
        metafunc.parametrize('fuzz_round', rounds, scope='module')


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Draw other examples in every round of fuzzing, and the same ones again for one seed."""
    if PROFILE == 'fuzz' and 'INFINIPOT_SEED' in os.environ and is_hypothesis_test(item.obj):
        number = item.callspec.params['fuzz_round']
        seed(f"{os.environ['INFINIPOT_SEED']}.{number}")(item.obj)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Put long files first; skip what is marked ``ros`` outside the left-out folders.

    Tests on published annotation files are deselected where the files are missing: they are an
    addition to those on our own.
    """
    absent = [item for item in items for mark in item.iter_markers('shared_data')
              if not all(shared_data(name).is_file() for name in mark.args)]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if NO_ROS:
        for item in items:
            if item.get_closest_marker('ros'):
                item.add_marker(pytest.mark.skip(reason=NO_ROS))


@pytest.fixture(scope='session')
def renderer():
    """Draw houses; skipped, with the reason, where MiniWorld or headless EGL is missing."""
    from infinipot_ros.errors import ConfigurationError
    from tools.tiny_model.rendering import Renderer
    try:
        return Renderer()
    except ConfigurationError as error:
        pytest.skip(str(error))
