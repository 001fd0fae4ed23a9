# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep positions and grid numbers bounded on endless streams.

Positions grow with real time or with what was seen, and a model knows only so many. Their order
and the distances between close ones matter, so only the longest gaps between remembered moments
are shortened: hours in which nothing was seen, or of which nothing is left. This is done rarely,
because it moves keys relative to what they attended to when they were computed; with compact
positions, at every compression.
"""

from __future__ import annotations

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache import key_rerotation
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import MAX_GRIDS
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.observations import Observations
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS
from infinipot_ros.visual_memory.thumbnails import Thumbnails
from infinipot_ros.vlm.families.model_family import ModelFamily
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import SequenceAxis, Timeline, compress_time_gaps
from infinipot_ros.vlm.rotary import known_positions

# Grids are renumbered shortly before the last number.
RENUMBER_AT = MAX_GRIDS - 63


def key_rotation(model: VisionLanguageModel, compact: bool) -> KeyRotation:
    """
    Describe how keys of a model's grids are rotated.

    :param compact: whether positions are closed up at every compression.
    """
    family, rotary, axis = model.family, model.rotary, model.timeline()
    return KeyRotation(
        frequencies=rotary.frequencies, half=rotary.half, axes=rotary.axes,
        offsets=axis.offsets if isinstance(axis, SequenceAxis) else None,
        content=family.CONTENT_KEYS, by_slot=counts_by_slot(family, compact))


def counts_by_slot(family: ModelFamily, compact: bool) -> bool:
    """
    Return whether a token's position is its slot.

    :param compact: whether positions are closed up at every compression.
    """
    axis = family.timeline()
    return compact and isinstance(axis, SequenceAxis) and axis.flat


def last_time(family: ModelFamily, settings: MemoryConfig, prefix: int = 0) -> int:
    """
    Return the largest position of a grid that leaves some for a question and its answer.

    :param prefix: its tokens; 0 where they are not known yet.
    :raises ConfigurationError: the model knows too few positions for these settings.
    """
    known = known_positions(family.config)
    taken = prefix + settings.tail_room
    most = known - 1 - taken
    if counts_by_slot(family, settings.compact(family)):
        # Every token takes one, remembered or pending: together they are within the budget.
        least, what = settings.budget, 'the budget'
    else:
        cameras = len(settings.cameras) or MAX_CAMERAS
        waiting = cameras * settings.max_block_frames // family.FRAMES_PER_GRID
        new = waiting * _widest(family, settings.max_pixels) + settings.recent_grids(
            family) * _widest(family, settings.recent_pixels) + settings.look_grids(
            family) * _widest(family, settings.max_pixels)
        # Re-basing leaves one half free, which must hold the pending frames and those that are
        # encoded again; they are within the budget.
        least, what = 2 * min(new, settings.budget), 'time'
    if most < least:
        others = 'prefix, question and answer' if prefix else 'question and answer'
        raise ConfigurationError(
            f'the model knows {known} positions; {others} take {taken} of them, which leaves '
            f'{most} for {what}, at least {least} are needed; lower max_question_chars, '
            'max_new_tokens, session_tokens, block_size, max_batch or the budget')
    return most


def _widest(family: ModelFamily, max_pixels: int) -> int:
    """Return the most positions a grid takes: all its tokens in one row."""
    tokens = family.max_visual_tokens(max_pixels)
    return max(family.timeline().width(1, tokens, family.MAX_GRID_TEXT) if tokens else 1, 1)


def rebase_positions(
    cache: BoundedCache, timeline: Timeline, newest_ns: int, most: int,
    text: int, *, compact: bool = False,
) -> Timeline:
    """
    Move what is remembered to other positions, so that all of it takes half of ``most``.

    :param newest_ns: stamp of the newest frame, which may be pending.
    :param text: the most tokens of text that stand with a grid.
    :param compact: close up all gaps.
    :return: the timeline to go on with: as far from the newest moment as real time is.
    """
    assert cache.rotation is not None
    starts = dict(sorted(cache.grid_starts.items()))
    last = max(timeline.last, 0)
    due = max(last, timeline.due(newest_ns))
    widths = [
        timeline.width(*cache.grid_shapes.of(grid)[:2], text) for grid in starts]
    places = [*starts.values(), last, due]
    # What follows the newest grid is as far from it as it was.
    after_last = due - last if isinstance(timeline, SequenceAxis) else 1
    widths += [after_last, 1]
    # The text of the oldest grid goes before its start, and behind the prefix.
    lead = min(min(starts.values(), default=0), text)
    moved = compress_time_gaps(places, most // 2 - lead, widths)
    if compact:
        closed = compress_time_gaps(places, None, widths)
        moved = min(moved, closed, key=max)
    *after, new_last, new_due = (lead + place for place in moved)
    key_rerotation.rerotate_keys(
        cache, dict(zip(starts, after, strict=True)), cache.rotation)
    return timeline.rebased(new_last if timeline.last >= 0 else -1, new_due - due)


def renumber(cache: BoundedCache, observations: Observations, *jpegs: Thumbnails) -> None:
    """Renumber all grids from 0; distances stay, if half of all numbers suffice."""
    grids = sorted({
        *(grid for grid, _ in observations.items()),
        *(grid for each in jpegs for grid in each.grids())})
    grids.append(cache.next_grid)
    numbers = compress_time_gaps(grids, MAX_GRIDS // 2)
    key_rerotation.renumber(cache, grids, numbers)
    renumbered = dict(zip(grids, numbers, strict=True))
    observations.renumber(renumbered)
    for each in jpegs:
        each.renumber(renumbered)
