# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Policies are found by their files: adding one takes one file and no other edit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.policies import registry
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy, read_names

NEWEST_HALF = """
import torch
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, same_for_all_heads

NAMES = ('newest_half',)


class NewestHalf(EvictionPolicy):
    RATIOS = ('recent_ratio',)

    def __init__(self, recent_ratio=0.5):
        self.recent_ratio = recent_ratio

    def select(self, view, target):
        count = view.keys.shape[1]
        return same_for_all_heads(torch.arange(count - target, count), view)
"""
USE = """
import sys
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy
assert 'torch' not in sys.modules
from infinipot_ros.node.parameter_table import BY_NAME
assert 'newest_half' in BY_NAME['memory.policy'].choices
assert 'torch' not in sys.modules
print(type(make_policy('newest_half', recent_ratio=0.25)).__name__, 'full' in POLICY_NAMES)
"""


def test_a_new_file_is_a_new_policy(tmp_path):
    package = Path(registry.__file__).resolve().parents[2]
    shutil.copytree(package, tmp_path / 'infinipot_ros', ignore=shutil.ignore_patterns('*.pyc'))
    (tmp_path / 'infinipot_ros/kv_cache/policies/newest_half.py').write_text(NEWEST_HALF)
    result = subprocess.run(
        [sys.executable, '-c', USE], env={**os.environ, 'PYTHONPATH': str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120)
    assert result.stdout == 'NewestHalf True\n', result.stderr


@pytest.mark.parametrize('name', POLICY_NAMES)
def test_every_name_makes_a_policy_of_the_file_that_gives_it(name):
    policy = make_policy(name)
    module = sys.modules[type(policy).__module__]
    assert name in module.NAMES


def test_a_file_without_names_is_no_policy(tmp_path):
    path = tmp_path / 'helpers.py'
    path.write_text('from math import pi\nOTHER = (1,)\n')
    assert read_names(path) == ()


@pytest.mark.parametrize(('text', 'words'), [
    ('NAMES = (', 'was never closed'), ('NAMES = [x for x in "ab"]', 'written out'),
    ('NAMES = "full"', 'NAMES is'), ('NAMES = (1,)', 'NAMES is')])
def test_a_file_that_is_no_policy_is_named(tmp_path, text, words):
    path = tmp_path / 'mine.py'
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read_names(path)
    assert str(path) in str(refused.value)


def test_a_bad_file_costs_no_other_policy(tmp_path):
    package = Path(registry.__file__).resolve().parents[2]
    shutil.copytree(package, tmp_path / 'infinipot_ros', ignore=shutil.ignore_patterns('*.pyc'))
    policies = tmp_path / 'infinipot_ros/kv_cache/policies'
    (policies / 'mine.py').write_text('NAMES = (')
    (policies / 'removed.py').symlink_to(policies / 'nothing.py')
    use = ('from infinipot_ros.kv_cache.policies.registry import make_policy\n'
           'make_policy("recent")\nmake_policy("mine")')
    result = subprocess.run(
        [sys.executable, '-c', use], env={**os.environ, 'PYTHONPATH': str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120)
    reason = result.stderr.splitlines()[-1]
    assert "there is no policy 'mine'" in reason and 'mine.py' in reason
    assert 'removed.py' not in reason
