# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one table of parameters: its checks, and what is made from it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES
from infinipot_ros.node import parameters
from infinipot_ros.node.parameter_table import RENAMED
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import DTYPES, load_config


def test_the_table_can_be_printed_without_ros_or_torch() -> None:
    code = ('import sys, infinipot_ros.node.parameters as p; print(p.markdown_table()); '
            'assert not {"rclpy", "torch", "rcl_interfaces"} & set(sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f'`{row.name}`' in done.stdout for row in parameters.TABLE)


def test_help_is_for_a_terminal_and_needs_no_ros() -> None:
    done = subprocess.run(
        [sys.executable, '-c', 'import sys; sys.modules["rclpy"] = sys.modules["torch"] = None; '
         'from infinipot_ros.node.main import main; main()', '--ros-args', '--help'],
        capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == parameters.help_text()
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert all(f'  {row.name}:=' in done.stdout for row in parameters.TABLE)


def test_the_defaults_pass_their_own_checks() -> None:
    assert parameters.problems(parameters.defaults()) == []
    assert len(parameters.BY_NAME) == len(parameters.TABLE)


def test_the_choices_are_those_of_the_rooms_below() -> None:
    assert parameters.BY_NAME['memory.policy'].choices == POLICY_NAMES
    assert parameters.BY_NAME['memory.policy'].default == DEFAULT_POLICY
    assert set(parameters.BY_NAME['dtype'].choices) == set(DTYPES)


def test_the_observer_gets_every_setting() -> None:
    values = parameters.defaults()
    settings = parameters.memory_config(values)
    settings.validate()
    plain = MemoryConfig(model='infinipot-tiny', max_backward_jump_s=0.0)
    assert settings == plain, 'the defaults of the node and of the observer differ'
    values.update({
        'memory.policy': 'infinipot_v', 'memory.tar_ratio': 0.25, 'memory.recent_ratio': 0.0,
        'block_size': 4})
    settings = parameters.memory_config(values)
    assert (settings.tar_ratio, settings.recent_ratio, settings.block_size) == (0.25, 0.0, 4)
    values['block_size'] = 3
    values['memory.positions'] = 'compact'
    settings = parameters.memory_config(values)
    assert settings.positions == 'compact'
    with pytest.raises(ConfigurationError, match='a multiple of 2'):
        settings.max_grid_tokens(make_family(load_config('infinipot-tiny')))


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('memory.budget', 1, '8 to'), ('memory.budget', 2.0, 'integer'),
    ('memory.budget', True, 'integer'), ('ingest.fps', 1, 'double'),
    ('ingest.fps', float('nan'), 'within'), ('dtype', 'int8', 'bfloat16'),
    ('model', '  ', 'empty'), ('memory.keep_ratio', 1.0, '0.05 to 0.99'),
])
def test_a_wrong_value_is_named_with_its_limits(name, value, words) -> None:
    [sentence] = parameters.problems({name: value})
    assert f"'{name}'" in sentence and words in sentence


def test_what_needs_the_model_rebuilt_is_refused_while_there_is_one() -> None:
    current = parameters.defaults()
    change = {'block_size': 4}
    assert parameters.refusal(change, current, configured=False) == ''
    reason = parameters.refusal(change, current, configured=True)
    assert 'cleanup' in reason and 'configure' in reason
    assert parameters.refusal({'block_size': 2}, current, configured=True) == ''
    assert parameters.refusal({'ingest.fps': 5.0}, current, configured=True) == ''
    assert parameters.refusal({'memory.budget': 64}, current, configured=True) == '', \
        'whether it can is for the observer to say'
    assert 'start' in parameters.refusal({'autostart': False}, current, configured=False)
    assert parameters.refusal({'autostart': False}, {}, configured=False) == '', 'being declared'
    assert parameters.refusal({'use_sim_time': True}, current, configured=True) == ''


@pytest.mark.parametrize(('names', 'words'), [
    (['front', 'front'], 'one name'), (['front', ''], 'a name is a letter'), (['a/b'], "'a/b'"),
    ([f'c{n}' for n in range(17)], '16 is the most')])
def test_cameras_that_cannot_be(names, words) -> None:
    [sentence] = parameters.problems({'cameras': names})
    assert words in sentence


def test_cameras_and_shares_reach_the_observer() -> None:
    values = parameters.defaults()
    assert parameters.camera_names(values) == ()
    values.update({'cameras': ['front', 'rear'], 'memory.camera_shares': [0.75, 0.25]})
    assert parameters.problems(values) == []
    settings = parameters.memory_config(values)
    assert (settings.cameras, settings.camera_shares) == (('front', 'rear'), (0.75, 0.25))
    assert parameters.problems({'memory.camera_shares': [0.0]}), 'no share'


def test_the_queue_gets_its_rules() -> None:
    values = {**parameters.defaults(), 'ingest.queue_policy': 'drop_new',
              'ingest.max_backward_jump': 2.5}
    policy = parameters.ingest_policy(values)
    assert (policy.keep_last, policy.max_backward_jump_ns) == (False, 2_500_000_000)


def test_descriptors_carry_ranges_and_words() -> None:
    pytest.importorskip('rcl_interfaces.msg')
    for row in parameters.TABLE:
        built = parameters.descriptor(row)
        assert built.description and built.additional_constraints
        ranges = len(built.integer_range) + len(built.floating_point_range)
        assert ranges == (row.low is not None)
        assert built.read_only == (row.changes == parameters.AT_START)


def test_renamed_parameters_lead_to_present_ones() -> None:
    assert set(RENAMED.values()) <= set(parameters.BY_NAME)
    assert not set(RENAMED) & set(parameters.BY_NAME)
