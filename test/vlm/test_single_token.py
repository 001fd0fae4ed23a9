# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A single new token needs no mask: none is made, and nothing else changes."""

import sys

import pytest
import torch
from tiny_models import KINDS, make_tiny
from transformers import DynamicCache

from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.positions import text_positions


@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_token_read_alone_is_read_as_among_others(kind, attention, tmp_path, monkeypatch):
    model = load_model(str(make_tiny(kind, tmp_path)), attn_implementation=attention)
    module = sys.modules[type(model.module.model.language_model).__module__]
    made, create = [], module.create_causal_mask
    monkeypatch.setattr(
        module, 'create_causal_mask', lambda **given: made.append(1) or create(**given))
    ids, cache = [7, 8, 9, 10, 11, 12], DynamicCache()
    whole = model.forward(model.embed(ids), text_positions(0, 6), None)
    model.forward(model.embed(ids[:4]), text_positions(0, 4), cache)
    assert len(made) == 2
    for place in (4, 5):
        alone = model.forward(model.embed([ids[place]]), text_positions(place, 1), cache)
        assert torch.allclose(alone[0, 0], whole[0, place], atol=1e-4)
    assert len(made) == 2, 'a mask was made for a single token'


def test_layers_that_see_a_window_get_the_model_s_own_mask(tmp_path):
    config = load_config(str(make_tiny('qwen2_5_vl', tmp_path)))
    assert make_family(config).masks_of_one() == {'full_attention': None}
    text = config.get_text_config()
    text.layer_types = ['full_attention', 'sliding_attention'][-len(text.layer_types):]
    assert make_family(config).masks_of_one() is None
