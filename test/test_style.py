# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Linters as tests: ruff and mypy as pyproject.toml sets them, and the licence lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPDX = ('# SPDX-FileCopyrightText: 2026 The infinipot_ros authors',
        '# SPDX-License-Identifier: Apache-2.0')
OURS = ('infinipot_ros', 'test', 'launch', 'scripts', 'benchmarks', 'tools', '*.py')


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # Linters look at the checkout; what is built and sourced must not change their verdict.
    environment = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'MYPYPATH')}
    return subprocess.run(
        [sys.executable, '-m', *command], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=600)


def python_files() -> list[Path]:
    found: list[Path] = []
    for name in OURS:
        path = ROOT / name
        found += ROOT.glob(name) if '*' in name else path.rglob('*.py') if path.is_dir() else []
    return sorted(p for p in found if '__pycache__' not in p.parts)


def test_ruff():
    pytest.importorskip('ruff')
    result = run('ruff', 'check', '.')
    assert result.returncode == 0, result.stdout + result.stderr


def test_mypy():
    pytest.importorskip('mypy')
    result = run('mypy')
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_file_names_its_licence():
    scripts = [
        p for p in (ROOT / 'scripts').iterdir() if p.is_file() and p.suffix != '.bash']
    missing = []
    for path in [*python_files(), *scripts]:
        lines = [line for line in path.read_text().splitlines() if not line.startswith('#!')]
        if lines and tuple(lines[:2]) != SPDX:
            missing.append(str(path.relative_to(ROOT)))
    assert not missing
