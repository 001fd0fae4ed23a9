# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One random checkpoint of each kind, made once."""

import pytest
from tiny_models import KINDS, make_tiny


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    return {kind: make_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope='session')
def tiny(checkpoints):
    return str(checkpoints['qwen2_5_vl'])


@pytest.fixture(scope='module')
def folder(kind, tmp_path_factory):
    return make_tiny(kind, tmp_path_factory.mktemp(kind))
