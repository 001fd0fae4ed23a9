# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What commands are run on: a model and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from tiny_models import make_tiny


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('models') / 'tiny')


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Twelve pictures of different noise: six seconds at two frames a second."""
    path = tmp_path_factory.mktemp('pictures')
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        picture = PilImage.fromarray(noise).resize((168, 112))
        picture.save(path / f'{index}.png')
    return path
