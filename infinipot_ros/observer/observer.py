# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The robot's memory: frames go in, questions are answered from what is left of them.

One object, one thread: whoever owns an ``Observer`` calls it from one thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from infinipot_ros.errors import FrameError, MemoryFullError, QuestionCode, QuestionError
from infinipot_ros.memory.cache import BoundedCache
from infinipot_ros.observer.answer import Answer, MemoryStatus
from infinipot_ros.observer.frame import Pose, RgbImage
from infinipot_ros.observer.observations import Observations, PendingFrame
from infinipot_ros.observer.plan import (
    PREFIX_ROOM,
    available_bytes,
    cache_shape,
    grids_per_block,
    plan_memory,
)
from infinipot_ros.observer.settings import FRAMES_PER_GRID, ObserverSettings
from infinipot_ros.vlm.decoding import Sampling, TextStream, decode
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.positions import NANOSECONDS, grid_positions, text_positions
from infinipot_ros.vlm.prompt import check_question, prefix_ids, question_ids

# A clock that leaps this far ahead was set (0 to wall time, say), or nothing was seen meanwhile;
# its numbers would only use up the positions the model was trained on.
MAX_FORWARD_JUMP_NS = 3600 * NANOSECONDS


class Observer:
    """
    A bounded visual memory that can be asked.

    :param model: a model loaded before with the same settings, for several memories to share;
        None loads it.
    :raises ConfigurationError: the settings, the model or the device cannot work; the message
        has the figures.
    """

    def __init__(self, settings: ObserverSettings, model: QwenVL | None = None) -> None:
        settings.validate()
        self.settings = settings
        self._sampling = Sampling(settings.temperature, settings.top_p)
        config = load_config(settings.model, local_files_only=settings.local_files_only)
        self.plan = plan_memory(config, settings)
        # The weights of a model that is there already need no room any more.
        loaded = self.plan.weights if model is not None else 0
        self.plan.check(available_bytes(settings.device) + loaded, settings.device)
        self._model = model if model is not None else load_model(
            settings.model, device=settings.device, dtype=settings.dtype,
            attn_implementation=settings.attn_implementation,
            local_files_only=settings.local_files_only)
        self._cache = BoundedCache(
            cache_shape(self._model.shape, settings), settings.make_budget(),
            prefix_room=PREFIX_ROOM, tail_room=settings.tail_room)
        self._observations = Observations()
        self.reset()

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self._policy = self.settings.make_policy()
        self._cache.clear()
        self._observations.clear()
        self._timeline = self._model.timeline()
        self._pending: list[PendingFrame] = []
        self._newest_ns = 0
        self._frames_encoded = 0
        self._segments = 0
        self._last_ingest_s = self._last_query_s = 0.0
        ids = prefix_ids(self._model.tokenizer)
        with self._cache.writing_prefix(len(ids)):
            self._model.forward(
                self._model.embed(ids), text_positions(0, len(ids)), self._cache)

    # -- frames in ----------------------------------------------------------------------------

    def observe(
        self, rgb: RgbImage, stamp_ns: int, camera: str = '', pose: Pose | None = None,
    ) -> None:
        """
        Take one frame into the memory; a question asked right after it sees it.

        :param rgb: uint8 ``[height, width, 3]``.
        :param stamp_ns: the header's stamp, integer nanoseconds; later than the last one, or
            further behind than ``max_backward_jump_s``, which starts a new segment.
        :raises FrameError: the frame is not taken and the memory is as it was.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise FrameError(
                'bad_pixels',
                f'a frame is uint8 [height, width, 3], not {rgb.dtype} {list(rgb.shape)}')
        jumped = self._check_stamp(stamp_ns)
        pixels = self._model.fit(rgb, self.settings.max_pixels)
        rows, columns = self._model.grid_size(pixels.shape[0], pixels.shape[1])
        tokens = rows * columns
        if tokens > self._cache.budget.tokens:
            raise FrameError(
                'too_many_tokens',
                f'one grid of {rgb.shape[1]}x{rgb.shape[0]} frames has {tokens} tokens, the '
                f'budget is {self._cache.budget.tokens}; raise the budget or lower max_pixels')
        if self._pending and (
                jumped or camera != self._pending[0].camera
                or pixels.shape != self._pending[0].pixels.shape):
            self._flush()
        if not self._pending:
            # Room is made now, so that an incomplete block can be asked about at any time.
            self._make_room(grids_per_block(self.settings, tokens) * tokens)
        if jumped or not self._segments:
            self._segments += 1
            self._timeline = self._timeline.new_segment(stamp_ns)
        self._pending.append(PendingFrame(pixels, stamp_ns, camera, pose))
        self._newest_ns = stamp_ns
        if len(self._pending) == grids_per_block(self.settings, tokens) * FRAMES_PER_GRID:
            self._flush()

    def _check_stamp(self, stamp_ns: int) -> bool:
        """Tell whether the clock jumped."""
        if stamp_ns <= 0:
            raise FrameError(
                'zero_stamp',
                'the frame has no stamp; have the camera driver fill header.stamp')
        ahead = stamp_ns - self._newest_ns
        if not self._newest_ns or 0 < ahead <= MAX_FORWARD_JUMP_NS:
            return False
        limit = self.settings.max_backward_jump_s
        if ahead <= 0 and -ahead <= limit * NANOSECONDS:
            raise FrameError(
                'stale_stamp',
                f'the stamp is {-ahead / NANOSECONDS:.3f} s behind the newest frame; frames come '
                f'in order, and only a jump back of more than {limit} s starts a new segment')
        return True

    def _make_room(self, tokens: int) -> None:
        try:
            compressed = self._cache.make_room(tokens, self._policy)
        except MemoryFullError as error:
            raise FrameError('memory_full', str(error)) from error
        if compressed:
            self._observations.keep(self._cache.remembered_grids())

    def _flush(self) -> None:
        """Make the pending frames part of the memory; if that fails they are lost, no more."""
        frames, self._pending = self._pending, []
        started = time.perf_counter()
        first_grid = self._cache.next_grid
        self._append(frames)
        for index in range(0, len(frames), FRAMES_PER_GRID):
            self._observations.add(
                first_grid + index // FRAMES_PER_GRID, frames[index:index + FRAMES_PER_GRID])
        self._frames_encoded += len(frames)
        self._last_ingest_s = time.perf_counter() - started

    def _append(self, frames: list[PendingFrame]) -> None:
        """Write a block's keys and values into the cache."""
        block = self._model.encode(torch.stack([frame.pixels for frame in frames]))
        timeline, times = self._timeline, []
        for frame in frames[::FRAMES_PER_GRID]:
            timeline = timeline.advance(frame.stamp_ns, block.rows, block.columns)
            times.append(timeline.last)
        positions = grid_positions(
            self._cache.prefix_length, times, block.rows, block.columns)
        with self._cache.writing_grids(len(times), block.rows, block.columns):
            hidden = self._model.forward(
                block.tokens.flatten(0, 1).unsqueeze(0), positions, self._cache)
            # Kept, they would spread to whatever looks at them: all later frames and answers.
            if not bool(hidden.isfinite().all()):
                raise FrameError(
                    'overflow',
                    f'the model comes to no finite numbers in {self.settings.dtype}; set dtype '
                    'to bfloat16 or float32')
        self._timeline = timeline

    # -- answers out --------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int | None = None,
        timeout_s: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """
        Answer from what is remembered now; the memory is the same before and after, to the bit.

        :param max_new_tokens: most tokens of this answer; the setting is the limit.
        :param timeout_s: seconds after which to give up.
        :param on_text: called after each token with the text that became certain, maybe none.
        :raises QuestionError: no answer, with a code and what to do.
        """
        started = time.perf_counter()
        question = check_question(
            self._model.tokenizer, question, self.settings.max_question_chars)
        if not self._pending and not len(self._observations):
            raise QuestionError(
                QuestionCode.NOTHING_OBSERVED,
                'nothing has been observed yet; wait for a frame, and check that images arrive')
        ids = question_ids(self._model.tokenizer, question)
        limit = self.settings.max_new_tokens
        new_tokens = min(max_new_tokens or limit, limit)
        if len(ids) + new_tokens > self.settings.tail_room:
            raise QuestionError(
                QuestionCode.QUESTION_TOO_LONG,
                f'the question has {len(ids)} tokens, there is room for '
                f'{self.settings.tail_room - new_tokens}; shorten it or raise '
                'query.max_question_chars')
        mark, timeline = self._cache.mark(), self._timeline
        try:
            if self._pending:
                self._append(self._pending)
            return self._decode(ids, new_tokens, started, timeout_s, on_text)
        finally:
            self._cache.rollback(mark)
            self._timeline = timeline
            self._last_query_s = time.perf_counter() - started

    def _decode(
        self, ids: list[int], new_tokens: int, started: float, timeout_s: float | None,
        on_text: Callable[[str], None] | None,
    ) -> Answer:
        pieces: list[str] = []
        stream = TextStream(self._model.tokenizer)
        count, first_token_s = 0, 0.0
        tokens = decode(
            self._model, ids, start=self._timeline.text_start(self._cache.prefix_length),
            cache=self._cache, writing=self._cache.writing_tail, max_new_tokens=new_tokens,
            sampling=self._sampling)

        def emit(text: str) -> None:
            pieces.append(text)
            if on_text is not None:
                on_text(text)

        for token in tokens:
            elapsed = time.perf_counter() - started
            first_token_s = first_token_s or elapsed
            if timeout_s is not None and elapsed > timeout_s:
                raise QuestionError(
                    QuestionCode.TIMEOUT,
                    f'no complete answer within {timeout_s} s ({count} tokens so far); raise '
                    'query.timeout or lower max_new_tokens')
            count += 1
            emit(stream.push(token))
        emit(stream.flush())
        now = time.perf_counter() - started
        observed_from_ns, observed_to_ns = self._observations.span(self._pending)
        return Answer(
            text=''.join(pieces).strip(),
            observed_from_ns=observed_from_ns, observed_to_ns=observed_to_ns,
            latency_s=now, first_token_s=first_token_s or now,
            memory_tokens=self._cache.memory_length, memory_bytes=self._cache.memory_bytes,
            new_tokens=count)

    def _oldest_ns(self) -> int:
        oldest = self._observations.oldest
        if oldest is not None:
            return oldest.first_ns
        return self._pending[0].stamp_ns if self._pending else 0

    def coordinates(self) -> Tensor:
        """
        Tell which visual tokens are remembered; frames that wait for their block are not in it.

        :return: int32 ``[layers, kv_heads, tokens, 3]``: grid number, row, column; a copy.
        """
        return torch.stack([view.coordinates for view in self._cache.views()])

    def status(self) -> MemoryStatus:
        """Tell how full the memory is and what it has seen."""
        return MemoryStatus(
            frames_encoded=self._frames_encoded, frames_pending=len(self._pending),
            tokens=self._cache.memory_length, budget_tokens=self._cache.budget.tokens,
            bytes=self._cache.memory_bytes, budget_bytes=self._cache.nbytes,
            compressions=self._cache.compressions, segments=self._segments,
            oldest_ns=self._oldest_ns(), newest_ns=self._newest_ns,
            last_ingest_ms=1000 * self._last_ingest_s, last_query_ms=1000 * self._last_query_s)
