# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The robot's memory: frames go in, questions are answered from what is left of them.

One object, one thread: whoever owns an ``VisualMemory`` calls it from one thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from infinipot_ros.errors import FrameError, QuestionCode, QuestionError, StorageError
from infinipot_ros.kv_cache.layer_view import share_held
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.answer import Answer, MemoryStatus
from infinipot_ros.visual_memory.attention_evidence import (
    AttentionAccumulator,
    hidden_tokens,
    make_step,
)
from infinipot_ros.visual_memory.changes import check_change
from infinipot_ros.visual_memory.duplicate_filter import DuplicateFilter, mean_colours
from infinipot_ros.visual_memory.evidence import Evidence, best_moments
from infinipot_ros.visual_memory.frame import Pose, RgbImage
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder
from infinipot_ros.visual_memory.generation import Deadline, stream_text
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_state import (
    MemorySnapshot,
    capture,
    check_model,
    fit,
    restore,
)
from infinipot_ros.visual_memory.observations import Observation, span
from infinipot_ros.visual_memory.pending import PendingFrame
from infinipot_ros.visual_memory.plan import available_bytes, plan_memory
from infinipot_ros.visual_memory.question_encoding import check_scope, encode_question, turn_tokens
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail
from infinipot_ros.visual_memory.warming import warm_up
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.decoding import Sampling, TextStream, decode
from infinipot_ros.vlm.knowledge import caveat_of
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.model import QwenVL

EVERYTHING = Scope()


class VisualMemory:
    """
    A bounded visual memory that can be asked.

    :param model: a model loaded before with the same settings, for several memories to share;
        None loads it.
    :raises ConfigurationError: the settings, the model or the device cannot work; the message
        has the figures.
    """

    def __init__(self, settings: MemoryConfig, model: QwenVL | None = None) -> None:
        settings.validate()
        self.settings = self._configured = settings
        self._sampling = Sampling(settings.temperature, settings.top_p)
        config = load_config(settings.model, local_files_only=settings.local_files_only)
        self.plan = plan_memory(config, settings)
        # The weights of a model that is there already need no room any more.
        loaded = self.plan.weights if model is not None else 0
        self.plan.check(available_bytes(settings.device) + loaded, settings.device)
        self._model = model if model is not None else load_model(
            settings.model, device=settings.device, dtype=settings.dtype,
            attn_implementation=settings.attn_implementation, weights=settings.weights,
            local_files_only=settings.local_files_only)
        self._encoder = FrameEncoder(settings, self._model)
        self._cache, self._observations = self._encoder.cache, self._encoder.observations
        shape = self._cache.shape
        # Attention that does not support hooks can be asked neither for evidence nor for a scope.
        self._paid = AttentionAccumulator(
            shape.layers, shape.kv_heads, settings.budget, shape.device,
        ) if settings.max_evidence and self._model.supports_hook else None
        self._step: CudaGraphDecoder | None = None
        if settings.cuda_graph:
            self._step = make_step(self._model, self._cache, self._paid)
            self._step.capture()
        self._filter = DuplicateFilter()
        self._last_query_s = 0.0

    @property
    def caveat(self) -> str:
        """What must be known before answers are believed; empty where nothing need be."""
        return caveat_of(self._model.config)

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self._encoder.reset()
        self._filter.clear()
        self._last_query_s = 0.0

    def warm_up(self) -> None:
        """Compute what is slower for the first time, now; what is remembered stays as it is."""
        warm_up(self._model, self._cache, self.settings, self._paid, self._step)

    def change(self, settings: MemoryConfig) -> None:
        """
        Go on with other settings, as far as model and buffers stay as they are.

        A budget smaller than what is remembered compresses now.

        :raises ConfigurationError: a setting that takes a new memory, or a value that cannot
            work; nothing was changed.
        """
        settings.validate()
        sampling = Sampling(settings.temperature, settings.top_p)
        check_change(self._configured, settings, self._model.config, self._cache)
        self._encoder.change(settings)
        self.settings, self._sampling = settings, sampling

    # -- frames in ----------------------------------------------------------------------------

    def add_frame(
        self, rgb: RgbImage, stamp_ns: int, camera: str = '', pose: Pose | None = None,
        queued_frames: int = 0,
    ) -> bool:
        """
        Take one frame into the memory; a question asked right after it sees it.

        :param rgb: uint8 ``[height, width, 3]``.
        :param stamp_ns: the header's stamp, integer nanoseconds; later than the camera's last one,
            or further behind than ``max_backward_jump_s``, which starts a new segment.
        :param camera: frames of different cameras fill blocks of their own, and may come in any
            order.
        :param queued_frames: frames of this camera that wait to be taken next: up to ``max_batch``
            are encoded in one forward pass.
        :return: false where ``still_likeness`` leaves it out: the last frame stands for it.
        :raises FrameError: the frame is not taken and the memory is as it was.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise FrameError(
                'bad_pixels',
                f'a frame is uint8 [height, width, 3], not {rgb.dtype} {list(rgb.shape)}')
        jumped = self._encoder.stamps.check(
            camera, stamp_ns, round(self.settings.max_backward_jump_s * SECOND_NS),
            self.settings.cameras)
        cells = mean_colours(rgb) if self.settings.still_likeness else None
        if cells is not None and not jumped:
            since_ns = self._filter.find(
                camera, cells, stamp_ns, self.settings.still_likeness,
                round(self.settings.max_still_s * SECOND_NS))
            if since_ns and self._encoder.extend_last(camera, since_ns, stamp_ns, queued_frames):
                self._filter.extend(camera, stamp_ns)
                return False
        pixels = self._model.fit(rgb, self.settings.max_pixels)
        self._encoder.add(PendingFrame(pixels, stamp_ns, camera, pose), jumped, queued_frames)
        if cells is not None:
            self._filter.update(camera, cells, stamp_ns)
        return True

    # -- answers out --------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int | None = None,
        timeout_s: float | None = None,
        on_text: Callable[[str], None] | None = None,
        scope: Scope = EVERYTHING,
        turns: Sequence[Turn] = (),
        stop: Callable[[], bool] | None = None,
    ) -> Answer:
        """
        Answer from what is remembered now; the memory is the same before and after, to the bit.

        :param max_new_tokens: most tokens of this answer; the setting is the limit.
        :param timeout_s: seconds after which to give up.
        :param on_text: called after each token with the text that became certain, maybe none.
        :param scope: what of the memory the answer may rest on.
        :param turns: the dialogue so far, oldest first; of more than ``session_tokens`` the
            newest count.
        :param stop: asked before each token; true cancels.
        :raises QuestionError: no answer, with a code and what to do.
        """
        deadline = Deadline(time.perf_counter(), timeout_s, stop)
        limit = self.settings.max_new_tokens
        new_tokens = min(max_new_tokens or limit, limit)
        ids = encode_question(self._model, self.settings, question, turns, new_tokens)
        if self.empty:
            raise QuestionError(
                QuestionCode.NOTHING_OBSERVED, 'nothing has been observed yet; wait for a frame')
        check_scope(
            scope, self._model, self.settings,
            self.settings.cameras or list(self._encoder.stamps.cameras))
        deadline.check(0)
        mark, timeline = self._cache.checkpoint(), self._encoder.timeline
        try:
            known = dict(self._observations.items())
            waiting, fault = self._encoder.append_waiting()
            known |= {grid: Observation.of(frames) for grid, frames in waiting.items()}
            if not known:
                raise QuestionError(
                    QuestionCode.NOTHING_OBSERVED,
                    f'nothing that was observed can be remembered: {fault}') from fault
            inside = scope.choose(known.items())
            hidden = None
            if len(inside) < len(known):
                hidden = hidden_tokens(self._cache.views(), inside)
                known = {grid: known[grid] for grid in inside}
            return self._answer(ids, new_tokens, deadline, on_text, hidden, known, waiting)
        finally:
            self._cache.rollback(mark)
            self._encoder.timeline = timeline
            self._last_query_s = deadline.elapsed_s()

    @property
    def empty(self) -> bool:
        """Whether nothing is remembered and no frame waits for its block."""
        return not self._encoder.blocks and not len(self._observations)

    def turn_tokens(self, turn: Turn) -> int:
        """Count the tokens that a turn takes before the next question."""
        return turn_tokens(self._model, turn)

    def _answer(
        self, ids: list[int], new_tokens: int, deadline: Deadline,
        on_text: Callable[[str], None] | None, hidden: list[Tensor] | None,
        known: dict[int, Observation], waiting: dict[int, list[PendingFrame]],
    ) -> Answer:
        """Decode behind the memory; ``known`` is what the answer may rest on."""
        cache, hook, tokens = self._cache, None, self._cache.memory_length
        attention = self._paid if self.settings.max_evidence else None
        if attention is not None or hidden is not None:
            hook = AttentionHook(
                cache.prefix_length, tokens, hidden=hidden,
                attention=attention.latest[..., :tokens] if attention is not None else None)
        if attention is not None:
            attention.clear()
        if hidden is not None:
            tokens -= round(float(torch.stack(hidden).sum(-1).double().mean()))
        generation = stream_text(
            decode(
                self._model, ids, start=self._encoder.timeline.text_start(cache.prefix_length),
                cache=cache, reserve=cache.writing_tail, max_new_tokens=new_tokens,
                sampling=self._sampling, hook=hook, step=self._step),
            TextStream(self._model.tokenizer), deadline,
            attention.accumulate if attention is not None else None, on_text)
        latency_s = deadline.elapsed_s()
        evidence: tuple[Evidence, ...] = ()
        if attention is not None:
            evidence = best_moments(
                attention.by_grid(cache.views(), sorted(known)), known, self.settings.max_evidence)
            self._encoder.thumbnails.show_waiting({
                each.grid: make_thumbnail(waiting[each.grid][0].pixels)
                for each in evidence
                if each.grid in waiting and self.settings.thumbnail_bytes})
        observed_from_ns, observed_to_ns = span(known.values())
        return Answer(
            text=generation.text,
            observed_from_ns=observed_from_ns, observed_to_ns=observed_to_ns,
            latency_s=latency_s, first_token_s=generation.first_token_s,
            memory_tokens=tokens,
            memory_bytes=tokens * cache.memory_bytes // max(1, cache.memory_length),
            new_tokens=generation.tokens, evidence=evidence)

    @property
    def thumbnails(self) -> Thumbnails:
        """Pictures of remembered moments, by grid."""
        return self._encoder.thumbnails

    def moments(self) -> list[tuple[int, Observation]]:
        """List grids and what they hold, in the order they came; without frames that wait."""
        return self._observations.items()

    def share_held(self, grid: int) -> Tensor:
        """Tell how many layers and KV heads hold each token of a moment: ``[rows, columns]``."""
        return share_held(self._cache.views(), grid)

    def state(self) -> MemorySnapshot:
        """Give all that is remembered now, to be saved; keys and values are not copied."""
        return capture(self._encoder, self._model)

    def restore(self, state: MemorySnapshot) -> int:
        """
        Remember what another memory of this model did, instead.

        :return: frames that waited for their block and are lost: too large now, or without room.
        :raises StorageError: it cannot be held, and why; the memory is as it was, or, after a
            fault of the machine halfway (out of memory, say), empty.
        """
        check_model(state, self.state())
        layers, policy = fit(self._encoder, state)
        try:
            lost = restore(self._encoder, state, layers, policy)
        except Exception as error:
            # Half of one memory and half of another is none.
            self.reset()
            raise StorageError(
                f'it failed halfway, so the memory is empty now ({type(error).__name__}: '
                f'{error})') from error
        # What its last frames looked like is not known, though their stamps may be the same.
        self._filter.clear()
        return lost

    def coordinates(self) -> Tensor:
        """
        Tell which visual tokens are remembered; frames that wait for their block are not in it.

        :return: int32 ``[layers, kv_heads, tokens, 3]``: grid number, row, column; a copy.
        """
        return torch.stack([view.coordinates for view in self._cache.views()])

    def status(self) -> MemoryStatus:
        """Tell how full the memory is and what it has seen."""
        encoder, cache = self._encoder, self._cache
        return MemoryStatus(
            frames_encoded=encoder.frames_encoded, frames_pending=encoder.frames_pending,
            tokens=cache.memory_length, budget_tokens=cache.budget.tokens,
            bytes=cache.memory_bytes, budget_bytes=cache.nbytes,
            compressions=cache.compressions, segments=encoder.stamps.segments,
            oldest_ns=encoder.oldest_ns, newest_ns=encoder.stamps.newest_ns,
            last_ingest_ms=1000 * encoder.last_ingest_s, last_query_ms=1000 * self._last_query_s,
            camera_tokens=dict(encoder.camera_tokens), frames_still=encoder.frames_still,
            rebases=cache.rebases)
