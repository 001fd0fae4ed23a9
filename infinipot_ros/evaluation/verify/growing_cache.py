# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Full KV: the same stream in the cache of transformers, which keeps everything and grows."""

from __future__ import annotations

import time

from torch import Tensor
from transformers import DynamicCache

from infinipot_ros.evaluation.verify.peak_memory import wait_for
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.vlm.families.model_family import VisualBlock
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions


class GrowingCache:
    """
    What a stream leaves in a cache without a bound.

    :ivar tokens: of the stream, without prefix and questions.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        # The kinds of its layers follow from the configuration.
        self.cache = DynamicCache(config=model.config.get_text_config())
        self._timeline = model.timeline().new_segment(SECOND_NS)
        self._stamp_ns = SECOND_NS
        self._prefix = len(model.prompt.prefix_ids)
        self.tokens = 0
        model.forward(
            model.embed(model.prompt.prefix_ids), text_positions(0, self._prefix), self.cache)

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        return sum(
            value.nbytes for layer in self.cache.layers for value in vars(layer).values()
            if isinstance(value, Tensor))

    def append(self, block: VisualBlock) -> None:
        """Read the visual tokens of some grids, a second apart."""
        model, texts, lengths, starts = self._model, [], [], []
        for _ in block.tokens:
            texts.append(model.grid_text(self._timeline.seconds([self._stamp_ns])))
            lengths.append((len(texts[-1][0]), len(texts[-1][1])))
            self._timeline = self._timeline.advance(
                self._stamp_ns, block.rows, block.columns, *lengths[-1])
            starts.append(self._timeline.last)
            self._stamp_ns += SECOND_NS
        sequence = model.lay_out(
            block, self._timeline.grid_positions(
                self._prefix, starts, block.rows, block.columns, lengths), texts)
        model.forward(
            sequence.embeddings, sequence.positions, self.cache, arguments=sequence.arguments)
        self.tokens += sequence.embeddings.shape[1]

    def ask(self, ids: list[int], new_tokens: int) -> tuple[float, float]:
        """
        Read a question and decode; both stay in the cache, not every kind can drop them.

        :return: seconds to the first token, and from there to the last.
        """
        model, device = self._model, self._model.device
        start = self._timeline.text_start(self._prefix)
        wait_for(device)
        began = first = time.perf_counter()
        for number in range(new_tokens):
            hidden = model.forward(
                model.embed(ids), text_positions(start, len(ids)), self.cache)
            start += len(ids)
            ids = [int(model.logits(hidden[0, -1]).argmax())]
            if not number:
                first = time.perf_counter()
        return first - began, time.perf_counter() - first

    def bytes_at(self, tokens: int) -> int:
        """Estimate what it takes at a length, a layer's copy while it grows included."""
        each = self.nbytes / max(1, self.cache.get_seq_length())
        return round(each * tokens * (1 + 1 / len(self.cache.layers)))
