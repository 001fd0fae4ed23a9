# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Sample a memory while it watches a stream: frames, tokens, bytes and milliseconds.

A sample is taken about every two hundredth of the stream and after compressions, at most 300 in
all, however long the stream is. Times are of this process, asking not included.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psutil
import torch
from torch import Tensor

from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.visual_memory.answer import MemoryStatus

REGULAR = 190
AT_COMPRESSIONS = 100


@lru_cache(maxsize=1)
def _process() -> Any:
    return psutil.Process(os.getpid())


@dataclass(frozen=True)
class Sample:
    """
    The state of a memory at one time; plain values, stored as a line of JSON.

    :param t_s: seconds from the first frame's stamp.
    :param frames: frames taken so far; ``skipped`` left out by the rate, ``dropped`` unusable.
    :param tokens: visual tokens per layer and KV head, which take ``bytes``.
    :param encode_ms: since the last sample, of the vision tower and of shrinking frames; close to
        0 where visual tokens are reused from an earlier variant.
    :param prefill_ms: since the last sample, of reading visual tokens.
    :param compress_ms: since the last sample, of frames that made the memory compress, without the
        two above.
    :param rss_bytes: resident memory of the whole process.

    Milliseconds and ``rss_bytes`` are None where they are unknown.
    """

    stream: str
    policy: str
    budget: str
    stamp_ns: int
    t_s: float
    frames: int
    skipped: int
    dropped: int
    tokens: int
    bytes: int
    encode_ms: float | None
    prefill_ms: float | None
    compress_ms: float | None
    rss_bytes: int | None


class TimedModel:
    """
    A loaded model that adds up the time of encoding and reading; all else is the model's own.

    :ivar encode_s: seconds in ``fit`` and ``encode``; ``forward_s`` in ``forward``.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cuda = getattr(model, 'device', torch.device('cpu')).type == 'cuda'
        self.encode_s = self.forward_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize(self._model.device)
        return time.perf_counter()

    def fit(self, *arguments: Any) -> Tensor:
        """Shrink a frame, as the model does."""
        started = self._now()
        pixels: Tensor = self._model.fit(*arguments)
        self.encode_s += self._now() - started
        return pixels

    def encode(self, frames: Tensor) -> Any:
        """Encode frames, as the model does."""
        started = self._now()
        block = self._model.encode(frames)
        self.encode_s += self._now() - started
        return block

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Read tokens, as the model does."""
        started = self._now()
        hidden: Tensor = self._model.forward(*arguments, **named)
        self.forward_s += self._now() - started
        return hidden

    @contextmanager
    def unnoticed(self) -> Iterator[None]:
        """Do not count what runs inside."""
        before = self.encode_s, self.forward_s
        try:
            yield
        finally:
            self.encode_s, self.forward_s = before


class MemoryTimeline:
    """
    Sample one variant's memory while it watches one stream.

    :param model: the one the memory uses.
    :param frames: how many frames are to come.
    :ivar samples: those taken so far.
    """

    def __init__(self, stream: str, variant: Variant, model: TimedModel, frames: int) -> None:
        self.samples: list[Sample] = []
        self._names = stream, variant.policy, variant.budget
        self._model = model
        self._frames = max(1, frames)
        self._every = max(1, -(-self._frames // REGULAR))
        self._first_ns: int | None = None
        self._compressions = self._at_compressions = 0
        self._compress_s = 0.0
        self._sums = (model.encode_s, model.forward_s)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the taking of one frame, to know what a compression took."""
        encode_s, forward_s = self._model.encode_s, self._model.forward_s
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self._spent = spent - (self._model.encode_s - encode_s) - (
            self._model.forward_s - forward_s)

    def after(
        self, status: MemoryStatus, stamp_ns: int, frames: int, skipped: int, dropped: int,
    ) -> None:
        """
        Take a sample, if one is due after this frame.

        :param frames: frames taken so far, this one included.
        """
        if self._first_ns is None:
            self._first_ns = stamp_ns
        compressed = status.compressions > self._compressions
        self._compressions = status.compressions
        if compressed:
            self._compress_s += max(0.0, self._spent)
        # In proportion to the share of the stream that has passed, so that some are left for the
        # end.
        allowed = AT_COMPRESSIONS * frames / self._frames
        extra = compressed and self._at_compressions < min(allowed, AT_COMPRESSIONS)
        due = frames == 1 or frames % self._every == 0
        if not (due or extra or frames == self._frames):
            return
        self._at_compressions += extra and not due
        encode_s, forward_s = self._sums
        self.samples.append(Sample(
            *self._names, stamp_ns, round((stamp_ns - self._first_ns) / 1e9, 3), frames, skipped,
            dropped, status.tokens, status.bytes,
            round(1e3 * (self._model.encode_s - encode_s), 3),
            round(1e3 * (self._model.forward_s - forward_s), 3),
            round(1e3 * self._compress_s, 3), _process().memory_info().rss))
        self._sums = (self._model.encode_s, self._model.forward_s)
        self._compress_s = 0.0
