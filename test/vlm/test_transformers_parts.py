# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A torchvision that does not fit torch is named, wherever models are first imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')\n"


@pytest.fixture
def broken(tmp_path):
    """A folder with a torchvision 0.99.0 that cannot be imported."""
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text(BROKEN)
    described = tmp_path / 'torchvision-0.99.0.dist-info'
    described.mkdir()
    (described / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99.0\n')
    return tmp_path


def run(folder, *arguments):
    path = os.pathsep.join(map(str, [folder, ROOT, *sys.path]))
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, 'PYTHONPATH': path}, timeout=120,
        capture_output=True, text=True, check=False)


def test_a_command_refuses_with_both_versions_and_the_way_out(broken):
    done = run(broken, '-m', 'infinipot_ros.cli.main', 'plan', '3B')
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr
    for part in (
            'torchvision 0.99.0 does not work with', f'torch {torch.__version__}',
            'torchvision::nms does not exist', 'pip uninstall torchvision'):
        assert part in done.stderr.replace('\n', ' ')


@pytest.mark.parametrize('module', ['visual_memory.visual_memory', 'vlm.loading'])
def test_it_is_a_configuration_error_whatever_is_imported_first(broken, module):
    done = run(broken, '-c', f"""
from infinipot_ros.errors import ConfigurationError
try:
    import infinipot_ros.{module}
    from infinipot_ros.visual_memory.visual_memory import VisualMemory
except ConfigurationError as error:
    print(error)
""")
    assert 'torchvision 0.99.0 does not work' in done.stdout, done.stderr
