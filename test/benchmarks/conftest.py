# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny model for benchmarks of answers."""

import pytest
from tiny_models import make_tiny

from infinipot_ros.vlm.loading import load_model


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return str(make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model'), layers=2))


@pytest.fixture(scope='module')
def model(folder):
    return load_model(folder)
