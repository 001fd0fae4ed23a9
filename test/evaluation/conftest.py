# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model of two layers, and what one process that ran through found with it; made once."""

import pytest
from quality_streams import measure_all, untimed_lines
from tiny_models import make_tiny

from infinipot_ros.evaluation.journal import OUTCOMES


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('models') / 'tiny', layers=2)


@pytest.fixture(scope='session')
def reference(model, tmp_path_factory):
    """The outcomes of one process that ran through."""
    folder = tmp_path_factory.mktemp('reference')
    measure_all(model, folder)
    return untimed_lines(folder / OUTCOMES)
