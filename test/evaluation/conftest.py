# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model of two layers, what one process found with it, and what is evaluated; made once."""

import shutil
import subprocess

import pytest
from eval_command import write_lines
from quality_streams import measure_all, untimed_lines
from recording_files import camera, write_bag
from tiny_models import make_tiny

from infinipot_ros.evaluation.run_store import OUTCOMES


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('models') / 'tiny', layers=2)


@pytest.fixture(scope='session')
def reference(model, tmp_path_factory):
    """The outcomes of one process that ran through."""
    folder = tmp_path_factory.mktemp('reference')
    measure_all(model, folder)
    return untimed_lines(folder / OUTCOMES)


@pytest.fixture
def bag(tmp_path):
    """A bag of 40 frames with three questions in its folder."""
    bag = write_bag(tmp_path / 'walk', {'/cam': camera(40)})
    write_lines(bag / 'questions.jsonl', (12, 25, 39))
    return bag


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(folder)], capture_output=True,
        text=True, check=False) if shutil.which('mount') else None
    if mounted is None or mounted.returncode:
        pytest.skip(f'no tmpfs can be mounted: {mounted.stderr if mounted else "no mount"}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)
