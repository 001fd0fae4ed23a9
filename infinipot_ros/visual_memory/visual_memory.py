# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The robot's memory: frames go in, questions are answered from what is left of them.

Not thread-safe: call a ``VisualMemory`` from one thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from infinipot_ros.errors import FrameError, QuestionCode, QuestionError, StorageError
from infinipot_ros.kv_cache.layer_view import share_held, shares_held
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.answer import Answer, MemoryStatus
from infinipot_ros.visual_memory.attention_evidence import AttentionAccumulator, hidden_tokens
from infinipot_ros.visual_memory.debug_state import DebugState
from infinipot_ros.visual_memory.duplicate_filter import mean_colours
from infinipot_ros.visual_memory.evidence import Evidence, best_moments
from infinipot_ros.visual_memory.frame import FrameOutcome, Pose, RgbImage
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder
from infinipot_ros.visual_memory.generation import Deadline, encode_question, stream_text
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_snapshot import MemorySnapshot
from infinipot_ros.visual_memory.observations import Observation, span
from infinipot_ros.visual_memory.pending import PendingFrame
from infinipot_ros.visual_memory.plan import available_bytes, plan_memory
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.second_look import (
    LookedAgain,
    choose_grids,
    look_again,
)
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.visual_memory.shared_model import load_shared_model
from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail
from infinipot_ros.visual_memory.warming import warm_up
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.decoding import Sampling, TextStream, decode
from infinipot_ros.vlm.knowledge import caveat_of
from infinipot_ros.vlm.loading import load_config
from infinipot_ros.vlm.model import VisionLanguageModel

EVERYTHING = Scope()
#: ``VisualMemory._answer`` of one question.
Answering: TypeAlias = Callable[
    [Callable[[str], None], dict[int, Observation], int, LookedAgain],
    tuple[Answer, dict[int, float]]]


def _ignore(_text: str) -> None:
    pass


class VisualMemory:
    """
    A visual memory of bounded size that answers questions.

    :param model: a model loaded with the same settings, to share between memories; None loads it.
    :ivar settings: the settings in effect; ``plan``, the bytes that were planned for.
    :raises ConfigurationError: the settings, the model or the device cannot work; the message
        has the figures.
    """

    def __init__(self, settings: MemoryConfig, model: VisionLanguageModel | None = None) -> None:
        settings.validate()
        self.settings = self._configured = settings
        self._sampling = Sampling(settings.temperature, settings.top_p)
        config = load_config(settings.model, local_files_only=settings.local_files_only)
        self.plan = plan_memory(config, settings)
        # The weights of a given model are allocated already.
        allocated = self.plan.weights if model is not None else 0
        self.plan.check(available_bytes(settings.device) + allocated, settings.device)
        self.model = model if model is not None else load_shared_model(settings)
        self._encoder = FrameEncoder(settings, self.model)
        self._state = self._encoder.state
        self._cache = self._state.cache
        # Attention without hooks supports neither evidence nor scopes.
        self._attention = AttentionAccumulator(
            self._cache.shape, settings.budget,
        ) if settings.notes_attention and self.model.supports_hook else None
        self._decoder: CudaGraphDecoder | None = None
        if settings.cuda_graph:
            self.use_static_decoding().capture()
        self._last_query_s = 0.0
        self._frames_loaded = 0
        #: Files this memory was loaded from or saved to, by real path, as they were then.
        self.files: dict[str, tuple[int, int]] = {}

    def use_static_decoding(self) -> CudaGraphDecoder:
        """
        Decode answers in tensors of fixed shape from now on.

        :return: the decoder, which a GPU can capture as a CUDA graph.
        :raises ConfigurationError: the model's attention does not support it.
        """
        self._decoder = CudaGraphDecoder(
            self.model, self._cache, start=self._cache.prefix_length,
            attention=None if self._attention is None else self._attention.latest)
        return self._decoder

    @property
    def caveat(self) -> str:
        """What to know before its answers are believed; empty: nothing."""
        return caveat_of(self.model.config)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the model and its settings here, a sentence each."""
        return tuple(filter(None, (self.settings.warning, *self.model.warnings)))

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self._encoder.reset()
        self._last_query_s = 0.0
        self._frames_loaded = 0

    def warm_up(self) -> None:
        """Run what is slower the first time; the memory stays as it is."""
        warm_up(self.model, self._cache, self.settings, self._attention, self._decoder)

    def change(self, settings: MemoryConfig) -> None:
        """
        Change settings, as far as model and buffers stay as they are.

        A budget smaller than what is remembered compresses now.

        :raises ConfigurationError: a new memory is needed, or an invalid value; nothing was
            changed.
        """
        settings.validate()
        sampling = Sampling(settings.temperature, settings.top_p)
        self._configured.check_change(settings, self.model.family)
        self._encoder.change(settings)
        self.settings, self._sampling = settings, sampling

    # -- frames in ----------------------------------------------------------------------------

    def add_frame(
        self, rgb: RgbImage, stamp_ns: int, camera: str = '', pose: Pose | None = None,
        queued_frames: int = 0, frames_left: int | None = None,
    ) -> FrameOutcome:
        """
        Add one frame; a question asked right after it sees it.

        :param rgb: uint8 ``[height, width, 3]``.
        :param stamp_ns: the header's stamp, integer nanoseconds; later than the camera's last one,
            or further behind than ``max_backward_jump_s``, which starts a new segment.
        :param camera: frames of each camera fill blocks of their own; cameras may alternate in
            any order.
        :param queued_frames: frames of this camera that follow at once: up to ``max_batch`` are
            encoded in one forward pass.
        :param frames_left: how many frames follow until the stream ends, where that is known: the
            last block then evicts no more than it needs room for, and the memory ends up full.
        :raises FrameError: the frame is refused, and with it the block that it completed, if
            that could not be encoded; what is remembered is as it was.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise FrameError(
                'bad_pixels',
                f'a frame is uint8 [height, width, 3], not {rgb.dtype} {list(rgb.shape)}')
        encoder, state = self._encoder, self._state
        jumped = state.stamps.check(
            camera, stamp_ns, round(self.settings.max_backward_jump_s * SECOND_NS),
            self.settings.cameras)
        thumbnail = mean_colours(rgb) if self.settings.duplicate_similarity else None
        if thumbnail is not None and not jumped and encoder.skip_duplicate(
                camera, thumbnail, stamp_ns, queued_frames):
            return FrameOutcome('duplicate', state.stamps.newest_ns)
        pixels = self.model.fit(rgb, self.settings.max_pixels)
        frame, recent = PendingFrame(pixels, stamp_ns, camera, pose), None
        if self.settings.recent_frames:
            larger = self.settings.recent_max_pixels
            recent = replace(frame, pixels=self.model.fit(rgb, larger)) if larger else frame
        encoder.add(
            frame, jumped, queued_frames, thumbnail, frames_left, recent)
        return FrameOutcome('stored', state.stamps.newest_ns)

    @property
    def frames_held(self) -> int:
        """Frames that were encoded or are pending; a fault takes those of a block out again."""
        return self._state.frames_encoded + self._encoder.frames_pending

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

        :param max_new_tokens: most tokens of this answer, up to the setting; more are noted.
        :param timeout_s: seconds after which to give up.
        :param on_text: called after each token with the text that became certain, possibly empty.
        :param scope: the part of the memory the answer may use.
        :param turns: the dialogue so far, oldest first; the newest ``session_tokens`` are used.
        :param stop: called before each token; true cancels.
        :raises QuestionError: no answer, with a code and what to do.
        """
        deadline = Deadline(time.perf_counter(), timeout_s, stop)
        limit = self.settings.max_new_tokens
        new_tokens = min(max_new_tokens or limit, limit)
        ids = encode_question(self.model.prompt, self.settings, question, turns, new_tokens)
        if self.empty:
            raise QuestionError(
                QuestionCode.NOTHING_OBSERVED, 'nothing has been observed yet; wait for a frame')
        self._check_scope(scope)
        deadline.check(0)
        try:
            with self._encoder.newest_appended() as newest:
                known = dict(self._state.observations.items())
                known |= {grid: Observation.of(frames) for grid, frames in newest.frames.items()}
                if not known:
                    raise QuestionError(
                        QuestionCode.NOTHING_OBSERVED, 'nothing that was observed can be '
                        f'encoded: {newest.fault}') from newest.fault
                grids = len(known)
                known = {grid: known[grid] for grid in known if grid not in newest.replaced}
                known = {grid: known[grid] for grid in scope.choose(known)}
                answer = self._answer_twice(
                    partial(self._answer, ids, new_tokens, deadline, newest.frames),
                    known, grids, deadline, on_text or _ignore)
        finally:
            self._last_query_s = deadline.elapsed_s()
        if (max_new_tokens or 0) <= limit:
            return answer
        capped = (f'{max_new_tokens} tokens were asked for, {limit} are the most '
                  '(query.max_new_tokens)')
        return replace(answer, note='. '.join(filter(None, (answer.note, capped))))

    def check_question(self, question: str, scope: Scope = EVERYTHING) -> None:
        """
        Check what of a question does not depend on what is remembered when it is asked.

        :raises QuestionError: it can never be answered.
        """
        encode_question(
            self.model.prompt, self.settings, question, (), self.settings.max_new_tokens)
        # Without declared cameras those that are to come have no names yet.
        self._check_scope(scope if self.settings.cameras or not self.empty
                          else replace(scope, cameras=()))

    @property
    def empty(self) -> bool:
        """Whether nothing is remembered and no frame is pending."""
        return not self._encoder.blocks and not len(self._state.observations)

    def _check_scope(self, scope: Scope) -> None:
        """:raises QuestionError: ``INVALID_SCOPE``, or as ``Scope.check``."""
        if scope.everything:
            return
        if self.model.shape.linear is not None:
            raise QuestionError(
                QuestionCode.INVALID_SCOPE,
                'layers with linear attention mix all that was seen into one state, so no part '
                'can be left out; ask without since, until and cameras, or use a model without '
                'linear attention, such as Qwen3-VL')
        if not self.model.supports_hook:
            raise QuestionError(
                QuestionCode.INVALID_SCOPE,
                f'attn_implementation {self.settings.attn_implementation} cannot leave out parts '
                'of the memory; use sdpa or eager, or ask without since, until and cameras')
        scope.check(self.settings.cameras or list(self._state.stamps.cameras))

    def _answer_twice(
        self, answer: Answering, known: dict[int, Observation], grids: int, deadline: Deadline,
        on_text: Callable[[str], None],
    ) -> Answer:
        """
        Answer from the memory, and again with the moments this rests on encoded whole.

        :param known: what the answer may use, of ``grids`` in the cache.
        """
        state = self._state
        remembered = state.observations.grids() & known.keys() if state.look_grids else set()
        if not remembered:
            return answer(on_text, known, grids, LookedAgain())[0]
        # Only what belongs to the final answer is passed on. What may run out of time waits.
        texts: tuple[list[str], list[str]] = [], []
        checkpoint = self._cache.checkpoint()
        first, scores = answer(texts[0].append, known, grids, LookedAgain())
        self._cache.rollback(checkpoint)
        second, again, why = None, LookedAgain(), ''
        held = {grid: known[grid] for grid in remembered if grid in state.looks}
        try:
            again = look_again(
                state, self.model, choose_grids(scores, held, state.look_grids),
                lambda: deadline.check(0))
            if again.grids:
                second, _ = answer(
                    on_text if deadline.timeout_s is None else texts[1].append,
                    again.now(known), grids + len(again.grids), again)
            else:
                why = 'no frame of the moments it rests on is held any more'
        except FrameError as error:
            why = str(error)
        except QuestionError as error:
            if error.code != QuestionCode.TIMEOUT:
                raise
            why = 'the time limit came first; raise query.timeout or lower second_look.frames'
        if second is None or deadline.timeout_s is not None:
            for text in texts[0] if second is None else texts[1]:
                on_text(text)
        if second is not None:
            return replace(second, looked_again=again.frames)
        note = '. '.join(filter(None, (first.note, f'there was no second look: {why}')))
        return replace(first, note=note, latency_s=deadline.elapsed_s())

    def _answer(
        self, ids: list[int], new_tokens: int, deadline: Deadline,
        pending: dict[int, list[PendingFrame]], on_text: Callable[[str], None],
        known: dict[int, Observation], grids: int, again: LookedAgain,
    ) -> tuple[Answer, dict[int, float]]:
        """
        Decode after the memory.

        :param known: what the answer may use, of ``grids`` in the cache.
        :return: with it the attention to what is known, as shares, by number before ``again``.
        """
        cache, hook, tokens = self._cache, None, self._cache.memory_length
        attention = self._attention if self.settings.notes_attention else None
        hidden = hidden_tokens(cache.views(), [*known]) if len(known) < grids else None
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
                self.model, ids, start=self._state.timeline.text_start(cache.prefix_length),
                cache=cache, reserve=cache.writing_tail, max_new_tokens=new_tokens,
                sampling=self._sampling, hook=hook, step=self._decoder),
            TextStream(
                self.model.tokenizer, thinking=self.model.prompt.opens_thought), deadline,
            attention.accumulate if attention is not None else None, on_text)
        latency_s = deadline.elapsed_s()
        evidence: tuple[Evidence, ...] = ()
        scores: dict[int, float] = {}
        if attention is not None:
            scores = again.before(attention.by_grid(cache.views(), sorted(known)))
            evidence = tuple(
                replace(each, thumbnail=self._thumbnail(each.grid, pending))
                for each in best_moments(
                    scores, again.before(known), self.settings.max_evidence,
                    again.grids.values()))
        observed_from_ns, observed_to_ns = span(known.values())
        return Answer(
            text=generation.text,
            observed_from_ns=observed_from_ns, observed_to_ns=observed_to_ns,
            latency_s=latency_s, first_token_s=generation.first_token_s,
            memory_tokens=tokens,
            memory_bytes=tokens * cache.memory_bytes // max(1, cache.memory_length),
            new_tokens=generation.tokens, evidence=evidence, note=generation.note,
            truncated=generation.tokens == new_tokens), scores

    def _thumbnail(self, grid: int, pending: dict[int, list[PendingFrame]]) -> bytes | None:
        if grid in pending and self.settings.thumbnail_bytes:
            return make_thumbnail(pending[grid][0].pixels, self.settings.thumbnail_side)
        return self.thumbnails.get(grid)

    # -- what is remembered -------------------------------------------------------------------

    @property
    def thumbnails(self) -> Thumbnails:
        """Thumbnails of remembered moments, by grid."""
        return self._state.thumbnails

    def moments(self) -> list[tuple[int, Observation]]:
        """Return grids and what they hold, in the order they came; without pending frames."""
        return self._state.observations.items()

    def share_held(self, grid: int) -> Tensor:
        """Return the share of layers and KV heads that hold each token: ``[rows, columns]``."""
        return share_held(self._cache.views(), grid)

    def shares_held(self) -> dict[int, float]:
        """Return the share of its tokens that is left of each grid, within (0, 1]."""
        return shares_held(self._cache.views())

    def coordinates(self) -> Tensor:
        """
        Return the coordinates of the remembered visual tokens, without pending frames.

        :return: int32 ``[layers, kv_heads, tokens, 3]``: grid number, row, column; a copy.
        """
        return torch.stack([view.coordinates for view in self._cache.views()])

    def capture(self) -> MemorySnapshot:
        """Return all that is remembered now, to be saved; keys and values are not copied."""
        return self._encoder.capture()

    def restore(self, snapshot: MemorySnapshot) -> int:
        """
        Replace what is remembered by a snapshot of a memory of the same model.

        :return: pending frames that are lost: too large now, or without room.
        :raises StorageError: it cannot be held, and why; the memory is as it was, or, after a
            fault of the machine halfway (out of memory, say), empty.
        """
        snapshot.check_model(self.capture())
        layers, policy = self._state.fit(snapshot)
        try:
            lost = self._encoder.restore(snapshot, layers, policy)
            self._frames_loaded = self.frames_held
            return lost
        except Exception as error:
            # Half of one memory and half of another is none.
            self.reset()
            raise StorageError(
                f'it failed halfway, so the memory is empty now ({type(error).__name__}: '
                f'{error})') from error

    def status(self) -> MemoryStatus:
        """Return how full the memory is and what it has seen."""
        encoder, state, cache = self._encoder, self._state, self._cache
        return MemoryStatus(
            frames_encoded=state.frames_encoded, frames_pending=encoder.frames_pending,
            tokens=cache.memory_length, budget_tokens=cache.budget.tokens,
            bytes=cache.memory_bytes, budget_bytes=cache.nbytes,
            compressions=cache.compressions, segments=state.stamps.segments,
            oldest_ns=encoder.oldest_ns, newest_ns=state.stamps.newest_ns,
            last_ingest_ms=1000 * encoder.last_ingest_s, last_query_ms=1000 * self._last_query_s,
            camera_tokens=dict(state.camera_tokens), frames_duplicate=encoder.frames_duplicate,
            rebases=cache.rebases, frames_loaded=self._frames_loaded,
            look_bytes=state.looks.nbytes, look_faults=state.looks.faults)

    def debug_state(self) -> DebugState:
        """Return a view of the internals, for tests and debugging."""
        return self._encoder.debug_state()
