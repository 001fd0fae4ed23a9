# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a frame, a first token, a token and the cache cost as a stream grows, beside full KV.

The bounded memory is shown the clip over and over, as a camera would show it, and is asked at each
length. Full KV reads the visual tokens of the clip's frames over and over, without encoding them
again but where that is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from infinipot_ros.evaluation.verify.bundled_clip import BundledClip
from infinipot_ros.evaluation.verify.equality import never_stopping
from infinipot_ros.evaluation.verify.growing_cache import GrowingCache
from infinipot_ros.evaluation.verify.peak_memory import wait_for
from infinipot_ros.evaluation.verify.power_meter import PowerMeter
from infinipot_ros.evaluation.verify.verification_record import SpeedRow
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import MIB, available_bytes
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model import VisionLanguageModel

#: The lengths of the paper's table of an Orin, in visual tokens.
LENGTHS = (1_000, 5_000, 20_000, 100_000)
QUICK_LENGTHS = LENGTHS[:2]
NEW_TOKENS = 16
REPEATS = 3
# Left free beside full KV, for activations and for others.
SPARE = 2 ** 30


class StreamSpeed:
    """
    Time a stream at its lengths.

    :param lengths: in visual tokens, ascending.
    """

    def __init__(
        self, clip: BundledClip, lengths: Sequence[int], meter: PowerMeter,
        on_state: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._clip, self._lengths, self._meter = clip, lengths, meter
        self._on_state = on_state
        self._question = clip.questions[0].question

    def bounded(self, memory: VisualMemory) -> Iterator[SpeedRow]:
        """Show a memory the stream; a row at each length."""
        memory.warm_up()
        model, settings = memory.model, memory.settings
        height, width = self._clip.frames[0].rgb.shape[:2]
        grid = model.grid_tokens(*model.encoded_size(height, width, settings.max_pixels))
        per_grid = model.family.FRAMES_PER_GRID
        frames, shown = self._clip.endless(), 0
        for length in self._lengths:
            wanted = -(-length // grid) * per_grid
            self._on_state(f'{length:,} tokens, bounded: {wanted:,} frames')
            wait_for(model.device)
            self._meter.restart()
            began, before = time.perf_counter(), shown
            while shown < wanted:
                frame = next(frames)
                memory.add_frame(frame.rgb, frame.stamp_ns)
                shown += 1
            wait_for(model.device)
            seconds = time.perf_counter() - began
            first, rest = [], []
            with never_stopping(model):
                for _ in range(REPEATS):
                    answer = memory.ask(self._question, max_new_tokens=NEW_TOKENS)
                    first.append(answer.first_token_s)
                    rest.append((answer.latency_s - answer.first_token_s) / (
                        answer.new_tokens - 1))
            yield SpeedRow(
                memory='bounded', tokens_seen=length, frames_per_s=(shown - before) / seconds,
                first_token_ms=1000 * statistics.median(first),
                tokens_per_s=1 / statistics.median(rest),
                cache_bytes=memory.status().budget_bytes, power_w=self._meter.mean())

    def full(self, model: VisionLanguageModel, settings: MemoryConfig) -> Iterator[SpeedRow]:
        """Let a plain cache grow; a row at each length, as far as there is memory."""
        stream = FullStream(model, settings, self._clip)
        reason = ''
        for length in self._lengths:
            reason = reason or stream.lacks(length, settings.device)
            if not reason:
                self._on_state(f'{length:,} tokens, full KV')
                self._meter.restart()
                try:
                    yield stream.row(length, self._question, self._meter)
                    continue
                except torch.cuda.OutOfMemoryError as error:
                    reason = str(error).splitlines()[0]
            yield SpeedRow(memory='full', tokens_seen=length, skipped=reason)


class FullStream:
    """The stream as a plain cache holds it."""

    def __init__(
        self, model: VisionLanguageModel, settings: MemoryConfig, clip: BundledClip,
    ) -> None:
        self._model = model
        self._growing = GrowingCache(model)
        pixels = torch.stack([
            model.fit(frame.rgb, settings.max_pixels)
            for frame in clip.frames[:settings.max_block_frames]])
        self._frames = pixels[:settings.block_size]
        self._block = model.encode(pixels)
        # The first also says what a token takes.
        self._growing.append(self._block)

    def lacks(self, length: int, device: str) -> str:
        """Return why the cache cannot grow to a length, or the empty string."""
        needed = self._growing.bytes_at(length) - self._growing.nbytes + SPARE
        free = available_bytes(device)
        return '' if needed <= free else (
            f'takes {needed / MIB:,.0f} MiB more, {device} has {free / MIB:,.0f} MiB free')

    def row(self, length: int, question: str, meter: PowerMeter) -> SpeedRow:
        """Grow to a length, and time what comes behind."""
        model, growing = self._model, self._growing
        while growing.tokens < length:
            growing.append(self._block)
        ids = model.prompt.question_ids(question)
        seconds, first, rest = [], [], []
        for _ in range(REPEATS):
            wait_for(model.device)
            began = time.perf_counter()
            growing.append(model.encode(self._frames))
            wait_for(model.device)
            seconds.append(time.perf_counter() - began)
            to_first, to_last = growing.ask(ids, NEW_TOKENS)
            first.append(to_first)
            rest.append(to_last / (NEW_TOKENS - 1))
        return SpeedRow(
            memory='full', tokens_seen=length,
            frames_per_s=len(self._frames) / statistics.median(seconds),
            first_token_ms=1000 * statistics.median(first),
            tokens_per_s=1 / statistics.median(rest), cache_bytes=growing.nbytes,
            power_w=meter.mean())
