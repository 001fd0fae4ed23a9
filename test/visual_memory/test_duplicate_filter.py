# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a standing robot sees: left out while nothing changes, and never a sudden event."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.duplicate_filter import mean_colours, similarity
from infinipot_ros.visual_memory.frame import FrameOutcome
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SECOND = 1_000_000_000
LIMIT = 0.95


def room(seed: int = 0) -> np.ndarray:
    """A view with some contrast, 640 x 480."""
    coarse = np.random.default_rng(seed).integers(40, 216, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR)


def with_thing(view: np.ndarray, x: int, y: int, side: int = 32) -> np.ndarray:
    changed = view.copy()
    light = changed[y:y + side, x:x + side].mean() < 128
    changed[y:y + side, x:x + side] = 230 if light else 20
    return changed


def noisy(view: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, view.shape)
    return np.clip(view + noise, 0, 255).astype(np.uint8)


def settings(tiny: str, **changes) -> MemoryConfig:
    return MemoryConfig(
        tiny, **{'budget': 64, 'max_pixels': 3136, 'max_new_tokens': 2,
                 'duplicate_similarity': LIMIT, 'max_duplicate_age_s': 10.0, **changes})


def stored(outcome: FrameOutcome) -> bool:
    return outcome.kind == 'stored'


def test_noise_is_no_change_and_a_small_thing_anywhere_is() -> None:
    rng = np.random.default_rng(1)
    for seed in range(8):
        view = room(seed)
        before = mean_colours(noisy(view, seed))
        assert similarity(before, mean_colours(noisy(view, seed + 100))) > 0.99
        x, y = int(rng.integers(0, 608)), int(rng.integers(0, 448))
        after = mean_colours(with_thing(view, x, y))
        assert similarity(before, after) < LIMIT, 'a three hundredth of the picture changed'
        mean = before.mean()
        cosine = np.sum((before - mean) * (after - mean)) / np.sqrt(
            np.sum((before - mean) ** 2) * np.sum((after - mean) ** 2))
        assert cosine > 0.97, 'the whole pictures hardly differ'


def test_pictures_without_contrast() -> None:
    dark = np.full((48, 64, 3), 3, np.uint8)
    assert similarity(mean_colours(dark), mean_colours(dark)) == 1.0
    assert similarity(mean_colours(dark), mean_colours(noisy(dark, 0))) > LIMIT
    assert similarity(mean_colours(dark), mean_colours(dark + 30)) < LIMIT, 'the light went on'


def test_a_frame_stands_for_those_like_it(tiny) -> None:
    memory = VisualMemory(settings(tiny))
    seen = [noisy(room(), seed) for seed in range(3)]
    taken = [memory.add_frame(seen[k % 3], k * SECOND) for k in range(1, 31)]
    assert [k for k, each in enumerate(taken, 1) if each.kind == 'stored'] == [1, 11, 21]
    status = memory.status()
    assert status.frames_encoded + status.frames_pending == 3 and status.frames_duplicate == 27
    assert status.newest_ns == 30 * SECOND
    answer = memory.ask('what?')
    assert (answer.observed_from_ns, answer.observed_to_ns) == (SECOND, 30 * SECOND)
    # What was left out is in the scope of what stands for it, encoded (1 to 20) or waiting.
    for first, last in ((14, 16), (24, 26)):
        scoped = memory.ask('what?', scope=Scope(first * SECOND, last * SECOND))
        assert scoped.observed_from_ns <= first * SECOND
        assert scoped.observed_to_ns >= last * SECOND
        assert all(each.last_ns >= last * SECOND for each in scoped.evidence)


def test_a_sudden_event_after_hours_is_taken_at_once(tiny) -> None:
    memory, view = VisualMemory(settings(tiny, max_duplicate_age_s=86_400.0)), room()
    seen = [noisy(view, seed) for seed in range(3)]
    for minute in range(1, 481):
        memory.add_frame(seen[minute % 3], 60 * minute * SECOND)
    assert memory.status().frames_duplicate == 479
    event = 60 * 480 * SECOND + SECOND
    assert stored(memory.add_frame(with_thing(view, 300, 200), event))
    assert stored(memory.add_frame(view, event + SECOND)), 'it is gone again'
    assert memory.ask('what?').observed_to_ns == event + SECOND


def test_slow_change_adds_up(tiny) -> None:
    memory, view = VisualMemory(settings(tiny, max_duplicate_age_s=3600.0)), room()
    taken = 0
    for k in range(1, 101):
        # A shadow that crosses the view, half a pixel a frame.
        shade = view.copy()
        shade[:, :4 * k] //= 2
        taken += stored(memory.add_frame(shade, k * SECOND))
    assert taken > 10


def test_cameras_jumps_and_resets_begin_anew(tiny) -> None:
    memory, view = VisualMemory(settings(tiny)), room()
    assert stored(memory.add_frame(view, 100 * SECOND, 'front'))
    assert stored(memory.add_frame(view, 100 * SECOND, 'rear'))
    assert not stored(memory.add_frame(view, 101 * SECOND, 'front'))
    assert stored(memory.add_frame(view, 50 * SECOND, 'front')), 'the clock jumped back'
    assert not stored(memory.add_frame(view, 51 * SECOND, 'front'))
    memory.reset()
    assert memory.status().frames_duplicate == 0
    assert stored(memory.add_frame(view, 52 * SECOND, 'front'))


def test_what_is_no_longer_remembered_stands_for_nothing(tiny) -> None:
    view = room()
    memory = VisualMemory(settings(
        tiny, cameras=('front', 'rear'), max_duplicate_age_s=3600.0, policy='recent', budget=16))
    for second in (1, 2):
        assert stored(memory.add_frame(noisy(view, 1) if second == 1 else room(5), second * SECOND,
                                'front'))
    for k in range(60):
        memory.add_frame(room(k), (3 + k) * SECOND, 'rear')
    assert all(each.camera == 'rear' for _, each in memory.moments())
    assert stored(memory.add_frame(room(5), 100 * SECOND, 'front')), 'none is left to compare with'


def test_it_is_saved_and_loaded(tiny) -> None:
    before, view = VisualMemory(settings(tiny)), room()
    before.add_frame(view, SECOND)
    before.add_frame(view, 5 * SECOND)
    after = VisualMemory(settings(tiny))
    after.restore(before.capture())
    assert after.ask('what?').observed_to_ns == 5 * SECOND
    assert stored(after.add_frame(view, 6 * SECOND)), 'what it looked like is not kept'


def test_another_memory_was_loaded_that_ends_at_the_same_moment(tiny) -> None:
    before, after = VisualMemory(settings(tiny)), VisualMemory(settings(tiny))
    before.add_frame(room(0), 2 * SECOND)
    assert stored(after.add_frame(room(1), SECOND))
    assert not stored(after.add_frame(room(1), 2 * SECOND))
    after.restore(before.capture())
    assert stored(after.add_frame(room(1), 3 * SECOND)), 'nothing remembered looks like this'
    assert after.status().frames_duplicate == 0


def test_frames_that_were_announced_and_show_the_same_are_not_waited_for(tiny) -> None:
    memory = VisualMemory(settings(tiny, budget=256))
    for k in range(1, 9):
        outcome = memory.add_frame(room(min(k, 4)), k * SECOND, queued_frames=8 - k)
        assert outcome == FrameOutcome('stored' if k <= 4 else 'duplicate', k * SECOND)
    status = memory.status()
    assert (status.frames_encoded, status.frames_pending, status.frames_duplicate) == (4, 0, 4)
    assert memory.moments()[-1][1].last_ns == 8 * SECOND


def test_it_is_off_by_default_and_checked(tiny) -> None:
    memory = VisualMemory(settings(tiny, duplicate_similarity=0.0))
    assert all(stored(memory.add_frame(room(), k * SECOND)) for k in range(1, 5))
    for wrong in ({'duplicate_similarity': 1.5}, {'max_duplicate_age_s': 0.0}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            settings(tiny, **wrong).validate()
