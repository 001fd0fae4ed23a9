# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The oldest supported pair: Python 3.10 (ROS 2 Humble's, JetPack 6's) and transformers 4.57.

``make test-py310`` runs it. Only the ROS-free tests: rclpy's binary belongs to a ROS
installation, and where one with Python 3.10 is, ``make test`` covers it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

TORCH = os.environ.get('TORCH', 'torch==2.13.0')


def find_python310() -> str | None:
    """Find a Python 3.10 that runs; pyenv's shims may name one that does not."""
    shims = [Path(entry) for entry in os.get_exec_path() if entry.endswith('/shims')]
    roots = [Path('~/.pyenv').expanduser(), *(shim.parent for shim in shims)]
    candidates = ['python3.10']
    for root in roots:
        candidates += sorted(map(str, root.glob('versions/3.10.*/bin/python3.10')))
    for candidate in candidates:
        path = shutil.which(candidate)
        check = [path, '-c', 'import ensurepip']
        if path and subprocess.run(check, capture_output=True).returncode == 0:
            return path
    return None


PYTHON310 = find_python310()


@nox.session(name='py310', python=PYTHON310 or False)
def py310(session: nox.Session) -> None:
    """Run the ROS-free tests with transformers 4.57."""
    if PYTHON310 is None:
        session.skip('no Python 3.10 on this machine: looked for python3.10 on PATH and in pyenv')
    session.install('--quiet', TORCH, 'transformers>=4.57,<5', '-e', '.[test,world]')
    # What depends on transformers; the rest is held to Python 3.10 by ruff and mypy.
    memory = ('equivalence', 'families', 'qwen3_vl', 'qwen3_5', 'llava', 'kept_keys', 'evidence',
              'scope', 'storage', 'refused_memories', 'load_at_start', 'recent_frames',
              'second_look', 'old_files', 'visual_memory', 'plan')
    tests = [
        'kv_cache/test_cache.py', 'kv_cache/test_recurrent_states.py', 'vlm', 'evaluation/verify',
        'evaluation/test_families.py', *(f'visual_memory/test_{name}.py' for name in memory)]
    session.run('pytest', '-n', '2', '--dist', 'loadfile', '--no-loadscope-reorder',
                '-m', 'not soak', *(f'test/{each}' for each in tests), *session.posargs,
                env={'PYTHONPATH': ''})


@nox.session(name='lmms')
def lmms(session: nox.Session) -> None:
    """Run lmms-eval on local tasks."""
    session.install('--quiet', TORCH, 'hypothesis', 'pytest<9', 'pytest-xdist', '-e', '.[lmms]')
    # It comes for CUDA only from most indexes, does not load beside a torch without, and is not
    # used here.
    session.run('pip', 'uninstall', '--quiet', '--yes', 'torchvision')
    session.run('pytest', 'test/integrations/test_lmms_eval_model.py', *session.posargs,
                env={'PYTHONPATH': ''})
