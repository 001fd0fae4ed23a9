# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The name that this transformers gives the cache in a forward pass."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
import transformers
from tiny_models import KINDS, make_tiny
from torch import nn

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model import cache_argument

SECOND = 1_000_000_000


class New(nn.Module):
    def forward(self, inputs_embeds, position_ids, attention_mask, use_cache, cache=None):
        return inputs_embeds, cache


class Old(nn.Module):
    def forward(
            self, inputs_embeds, position_ids, attention_mask, use_cache, past_key_values=None):
        return inputs_embeds, past_key_values


class OtherCache(nn.Module):
    def forward(
            self, inputs_embeds, position_ids, attention_mask, use_cache, memory=None, **kwargs):
        return inputs_embeds, memory


class OtherPositions(nn.Module):
    def forward(self, inputs_embeds, positions, attention_mask, use_cache, cache=None, **kwargs):
        return inputs_embeds, cache


class NoMask(nn.Module):
    def forward(self, inputs_embeds, position_ids, use_cache, cache=None, **kwargs):
        return inputs_embeds, cache


def test_the_name_is_the_one_in_the_signature():
    assert cache_argument(New()) == 'cache'
    assert cache_argument(Old()) == 'past_key_values'


@pytest.mark.parametrize(('module', 'missing'), [
    (OtherCache, 'past_key_values'), (OtherPositions, 'position_ids'),
    (NoMask, 'attention_mask')])
def test_a_transformers_of_another_signature_is_refused_with_its_version_and_the_way_out(
        module, missing):
    with pytest.raises(ConfigurationError) as caught:
        cache_argument(module())
    assert f'transformers {transformers.__version__} ' in str(caught.value)
    assert missing in str(caught.value) and module.__name__ in str(caught.value)
    assert "pip install 'transformers>=4.57,<6'" in str(caught.value)


@pytest.mark.parametrize('kind', KINDS)
def test_watching_and_asking_raise_no_warning(kind, tmp_path):
    folder = make_tiny(kind, tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (12, 56, 56, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        memory = VisualMemory(MemoryConfig(str(folder), budget=16, max_pixels=56 * 56))
        for index, frame in enumerate(frames):
            memory.add_frame(frame, (index + 1) * SECOND)
        memory.ask('What is there?')
    assert memory.status().compressions


def test_models_of_this_transformers_know_the_name(tmp_path):
    for kind in KINDS:
        whole = transformers.AutoModelForImageTextToText.from_pretrained(
            make_tiny(kind, tmp_path / kind))
        for module in (whole, whole.model.language_model):
            assert cache_argument(module) in inspect.signature(module.forward).parameters
