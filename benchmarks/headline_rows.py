# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline's rows that are more than a policy: ReKV, and channels beside a memory.

``infinipot_v+recent`` answers with the newest frames encoded again, ``infinipot_v+look`` with the
frames that a first answer rests on, ``infinipot_v+recent+look`` with both. Each declares as many
bytes as the policy alone at that budget: what is encoded again takes its tokens from the budget,
and of the budget's grids one in eight, at least one, makes room for the jpegs of a second look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.rekv import RetrievingModel
from infinipot_ros.evaluation.encodings import RememberedEncodings
from infinipot_ros.evaluation.outcome import StreamResult
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.variants import FULL, Variant
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import cache_shape

REKV = 'rekv'
"""In place of a policy; its budget is ``full``."""
RECENT, LOOK = '+recent', '+look'
CHANNELS = (RECENT, LOOK, RECENT + LOOK)
# Of each, one grid of the bundled model: a ninth of the smallest budget they are shown at.
FRAMES = 2
STORE_SHARE = 8


def show_rows(
    stream: Stream, variants: Iterable[Variant], settings: MemoryConfig, model: Any,
    *others: Any, **named: Any,
) -> Iterator[StreamResult]:
    """Show a stream to variants as ``run_stream`` does, those of this module among them."""
    chosen = list(variants)
    plain = [each for each in chosen if each.policy != REKV and '+' not in each.policy]
    if plain:
        yield from run_stream(stream, plain, settings, model, *others, **named)
    cached = RememberedEncodings(model)
    for variant in chosen:
        if variant in plain:
            continue
        watching: Any = cached
        if variant.policy == REKV:
            shown, own, watching = Variant(FULL, FULL), settings, RetrievingModel(cached)
        else:
            shown, own = split_bytes(variant, stream, settings, model)
        for result in run_stream(stream, [shown], own, watching, *others, **named):
            yield replace(result, variant=variant, timeline=[], outcomes=[
                replace(each, policy=variant.policy, budget=variant.budget)
                for each in result.outcomes])


def split_bytes(
    variant: Variant, stream: Stream, settings: MemoryConfig, model: Any,
) -> tuple[Variant, MemoryConfig]:
    """Return the policy at what is left of its budget, and settings with its channels."""
    policy, *channels = variant.policy.split('+')
    found = stream.survey()
    segment = found.segments.found[0]
    rows, columns = model.grid_size(*model.encoded_size(
        segment.height, segment.width, settings.max_pixels))
    grid = rows * columns
    tokens = Variant(policy, variant.budget).tokens(
        found.frames // model.family.FRAMES_PER_GRID, grid, 1, leave_out=False)
    assert tokens is not None
    stored = 0
    if LOOK[1:] in channels:
        stored = max(1, tokens // grid // STORE_SHARE) * grid
        shape = cache_shape(model.shape, settings)
        settings = replace(settings, second_look_frames=FRAMES, second_look_bytes=stored * (
            shape.bytes_per_token + shape.coordinate_bytes_per_token))
    if RECENT[1:] in channels:
        settings = replace(settings, recent_frames=FRAMES)
    return Variant(policy, str(tokens - stored)), settings
