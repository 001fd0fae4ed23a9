# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep positions and grid numbers bounded on endless streams.

Positions grow with real time, and a model knows only so many. Their order and the distances
between close ones matter, so only the longest gaps between remembered moments are shortened: hours
in which nothing was seen, or of which nothing is left. This is done rarely, because it moves keys
relative to what they attended to when they were computed.
"""

from __future__ import annotations

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache import key_rerotation
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import MAX_GRIDS
from infinipot_ros.visual_memory.memory_config import FRAMES_PER_GRID, MemoryConfig
from infinipot_ros.visual_memory.observations import Observations
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS
from infinipot_ros.visual_memory.thumbnails import Thumbnails
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.positions import TemporalAxis, compress_time_gaps

# Grids are renumbered shortly before the last number.
RENUMBER_AT = MAX_GRIDS - 63


def last_time(model: QwenVL, settings: MemoryConfig, cache: BoundedCache) -> int:
    """
    Return the largest temporal index that leaves positions for a question and its answer.

    :raises ConfigurationError: the model knows too few positions for these settings.
    """
    taken = cache.prefix_length + cache.tail_room
    most = model.most_positions - 1 - taken
    cameras = len(settings.cameras) or MAX_CAMERAS
    # Re-basing leaves one half free, which must hold the pending frames.
    least = 2 * min(cameras * settings.max_block_frames // FRAMES_PER_GRID, settings.budget)
    if most < least:
        raise ConfigurationError(
            f'the model knows {model.most_positions} positions; prefix, question and answer take '
            f'{taken} of them, which leaves {most} for time, at least {least} are needed; lower '
            'max_question_chars, max_new_tokens, session_tokens, block_size or max_batch')
    return most


def rebase_positions(
    cache: BoundedCache, observations: Observations, timeline: TemporalAxis, newest_ns: int,
    most: int, model: QwenVL,
) -> TemporalAxis:
    """
    Move what is remembered in time, so that all of it takes half of ``most``.

    :param newest_ns: stamp of the newest frame, which may be pending.
    :return: the timeline to go on with: as far from the newest moment as real time is.
    """
    grids, before = list(observations.times), list(observations.times.values())
    last = max(timeline.last, 0)
    due = max(last, timeline.due(newest_ns))
    *after, new_last, new_due = compress_time_gaps([*before, last, due], most // 2)
    base = cache.prefix_length
    key_rerotation.rerotate_keys(
        cache, grids, [base + time for time in before], [base + time for time in after],
        model.temporal_frequencies)
    observations.move(after)
    return timeline.rebased(new_last if timeline.last >= 0 else -1, new_due - due)


def renumber(cache: BoundedCache, observations: Observations, thumbnails: Thumbnails) -> None:
    """Renumber all grids from 0; distances stay, if half of all numbers suffice."""
    grids = sorted({*observations.times, *(grid for grid, _ in thumbnails.items())})
    grids.append(cache.next_grid)
    numbers = compress_time_gaps(grids, MAX_GRIDS // 2)
    key_rerotation.renumber(cache, grids, numbers)
    renumbered = dict(zip(grids, numbers, strict=True))
    observations.renumber(renumbered)
    thumbnails.renumber(renumbered)
