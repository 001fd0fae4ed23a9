# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which models know the simulated houses only: those that say so, wherever they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_models import make_tiny

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import model_caveat
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.knowledge import CAVEAT

BUNDLED = Path(__file__).resolve().parents[2] / 'models' / 'infinipot-tiny'


def caveat(folder):
    """Say what a memory with this model says, and what is known without loading it."""
    settings = MemoryConfig(str(folder), budget=256, max_pixels=24 * 784)
    return VisualMemory(settings).caveat, model_caveat(str(folder))


def test_the_bundled_model_is_known_by_its_name_and_in_a_copy_of_another(tmp_path):
    copy = shutil.copytree(BUNDLED, tmp_path / 'Qwen2.5-VL-3B-Instruct')
    assert caveat('infinipot-tiny') == caveat(copy) == (CAVEAT, CAVEAT)


def test_another_model_of_the_bundled_ones_name_needs_no_caveat(tmp_path):
    assert caveat(make_tiny('qwen2_5_vl', tmp_path / 'infinipot-tiny')) == ('', '')


@pytest.mark.parametrize('value', [False, None, 'true', 1, {}])
def test_what_is_not_true_marks_no_model(tmp_path, value):
    config = make_tiny('qwen2_vl', tmp_path) / 'config.json'
    config.write_text(json.dumps(
        json.loads(config.read_text()) | {'simulated_houses_only': value}))
    assert model_caveat(str(tmp_path)) == ''
