# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The images' recipes, without Docker: what they copy is there, what they start is a command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infinipot_ros.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / 'docker').glob('Dockerfile*'))
#: What ``pip install`` of a clone reads.
NEEDED = {'pyproject.toml', 'setup.py', 'README.md', 'infinipot_ros', 'config', 'demo', 'launch',
          'models'}


def instructions(recipe):
    """Return name and arguments of each instruction; lines are joined, comments left out."""
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith('#')]
    text = re.sub(r'\\\n\s*', '', '\n'.join(lines))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def test_there_is_one_for_jazzy_and_one_for_jetsons():
    assert [recipe.name for recipe in RECIPES] == ['Dockerfile', 'Dockerfile.l4t']


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_what_is_copied_is_there_and_is_all_that_an_install_reads(recipe):
    copied = [each for name, text in instructions(recipe) if name == 'COPY'
              for each in text.split()[:-1]]
    assert not [each for each in copied if not (ROOT / each).exists()]
    assert set(copied) >= NEEDED
    ignored = (ROOT / '.dockerignore').read_text().splitlines()
    assert not set(copied) & set(ignored)
    # What setup.py installs beside the package, in its own words.
    shared = re.search(r'SHARED = \(([^)]*)\)', (ROOT / 'setup.py').read_text())
    assert set(re.findall(r"'(\w+)'", shared[1])) <= NEEDED


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_the_base_is_pinned_and_the_entry_is_a_command_for_somebody_without_rights(recipe):
    found = instructions(recipe)
    (base,) = [text for name, text in found if name == 'FROM']
    assert re.fullmatch(r'[\w./-]+:[\w.-]*\d[\w.-]*|ros:jazzy-ros-base-noble', base)
    (entry,) = [json.loads(text) for name, text in found if name == 'ENTRYPOINT']
    command, *arguments = entry
    assert Path(command).name == 'infinipot'
    assert arguments == ['events']
    assert 'events' in {each.name for each in app.registered_commands}
    (user,) = [text.partition(':')[0] for name, text in found if name == 'USER']
    assert user not in ('0', 'root')
    installs = ' '.join(text for name, text in found if name == 'RUN')
    torch = re.search(r'^TORCH \?= (\S+)', (ROOT / 'Makefile').read_text(), re.M)[1]
    assert f'TORCH={torch}' in recipe.read_text() or '--constraint' in installs


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_hadolint_finds_nothing(recipe):
    hadolint = shutil.which('hadolint', path=str(Path(sys.executable).parent)) or shutil.which(
        'hadolint')
    if hadolint is None:
        pytest.skip("no hadolint here: pip install '.[test]'")
    found = subprocess.run([hadolint, str(recipe)], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, '')
