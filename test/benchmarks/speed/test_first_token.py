# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""First tokens, with frames encoded again and without, on the models that are measured."""

from dataclasses import replace

from benchmarks.speed import first_token
from benchmarks.speed.decoding import full_observer
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.vlm.loading import load_model


def test_each_way_is_timed_as_often():
    model = load_model('infinipot-tiny')
    memories = {
        way: full_observer(model, replace(
            MemoryConfig('infinipot-tiny', budget=64, max_pixels=8 * 784, max_new_tokens=2),
            **changes))
        for way, changes in first_token.SETTINGS.items()}
    times = first_token.first_tokens(memories, repeats=2)
    assert {way: len(seconds) for way, seconds in times.seconds.items()} == dict.fromkeys(
        first_token.SETTINGS, 2)
    assert all(second > 0.0 for seconds in times.seconds.values() for second in seconds)
