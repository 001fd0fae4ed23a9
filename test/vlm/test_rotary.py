# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many positions a model knows, as its configuration says."""

import pytest
from transformers import LlamaConfig, LlavaNextVideoConfig

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.rotary import known_positions


def config(rope, most=4096):
    return LlavaNextVideoConfig(text_config=LlamaConfig(
        max_position_embeddings=most, rope_scaling=rope))


@pytest.mark.parametrize(('rope', 'most', 'known'), [
    (None, 4096, 4096),
    ({'rope_type': 'default'}, 4096, 4096),
    # LLaVA-NeXT-Video-7B.
    ({'rope_type': 'linear', 'factor': 2.5}, 4096, 10240),
    # Qwen2.5's advice for long texts: max_position_embeddings stays.
    ({'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 32768}, 32768,
     131072),
    # Others have it name all.
    ({'rope_type': 'yarn', 'factor': 40.0, 'original_max_position_embeddings': 4096}, 163840,
     163840),
    ({'rope_type': 'llama3', 'factor': 8.0, 'original_max_position_embeddings': 8192,
      'low_freq_factor': 1.0, 'high_freq_factor': 4.0}, 131072, 131072)])
def test_rotary_scaling_counts(rope, most, known):
    assert known_positions(config(rope, most)) == known


def test_rotations_that_follow_the_length_are_refused():
    with pytest.raises(ConfigurationError, match="rope_type 'dynamic'"):
        known_positions(config({'rope_type': 'dynamic', 'factor': 2.0}))
