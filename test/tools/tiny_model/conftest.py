# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An untrained model of the bundled one's kind."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoTokenizer

from tools.tiny_model.network import (
    Size,
    new_model,
    word_table,
    write_description,
    write_eye_words,
)

SMALL = Size(
    hidden=64, layers=2, heads=2, kv_heads=2, intermediate=64, vision_hidden=32, vision_blocks=2,
    vision_heads=2, vision_intermediate=32)


@pytest.fixture(scope='session')
def description(tmp_path_factory):
    """Lay out a checkpoint folder without weights."""
    folder = tmp_path_factory.mktemp('description')
    write_description(folder, SMALL)
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    write_eye_words(folder, word_table(new_model(folder), words))
    return folder


@pytest.fixture(scope='session')
def tokenizer(description):
    return AutoTokenizer.from_pretrained(description, local_files_only=True)


@pytest.fixture
def model(description):
    return new_model(description, seed=1)


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)
