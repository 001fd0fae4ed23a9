# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node's parts without ROS: a small model, and parameters for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_tiny

from infinipot_ros.node import parameters


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture
def values(tiny) -> dict[str, Any]:
    return {**parameters.defaults(), 'model': str(tiny), 'memory.budget': 64,
            'ingest.max_pixels': 3136, 'ingest.fps': 0.0}
