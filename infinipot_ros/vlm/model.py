# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A loaded vision-language model, for transformers 4.57 and 5.

It encodes frames to visual tokens and runs the language model on given embeddings, positions and
cache. It keeps no state between calls. What differs between families of models is theirs
(``vlm.families``).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor, nn

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.attention_hook import AttentionHook, StaticAttentionHook, register_attention
from infinipot_ros.vlm.families.model_family import (
    MAX_LABEL,
    ModelFamily,
    VisualBlock,
    camera_label,
)
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.fingerprint import ModelFingerprint, sample_weights
from infinipot_ros.vlm.generation_settings import (
    RepetitionPenalty,
    read_repetition_penalty,
    read_stop_ids,
    unsupported_warning,
)
from infinipot_ros.vlm.positions import Timeline, text_positions
from infinipot_ros.vlm.prompt import Prompt, read_template
from infinipot_ros.vlm.quantization import held_bytes
from infinipot_ros.vlm.rotary import Rotary

#: The latest time of a grid that text is planned for, in seconds: 115 days.
LONGEST_S = 9_999_999.9


@dataclass(frozen=True)
class GridSequence:
    """
    New grids as the language model reads them.

    :param embeddings: ``[1, n, hidden]``; ``positions``, int64 ``[3, 1, n]``.
    :param arguments: what the family adds.
    """

    embeddings: Tensor
    positions: Tensor
    arguments: dict[str, Any]


#: What ``forward`` of a language model is called with, besides a cache.
ARGUMENTS = ('inputs_embeds', 'position_ids', 'attention_mask', 'use_cache')


def cache_argument(module: nn.Module) -> str:
    """
    Return the name of the argument of ``forward`` that takes a cache.

    It is ``cache`` from transformers 5.24 on, ``past_key_values`` before; 5.40 drops the old name.

    :raises ConfigurationError: this transformers has neither, or lacks one of ``ARGUMENTS``, which
        ``**kwargs`` would take without a word.
    """
    known = inspect.signature(module.forward).parameters
    cache = next((name for name in ('cache', 'past_key_values') if name in known), None)
    missing = [name for name in ARGUMENTS if name not in known]
    if cache is None or missing:
        lacks = missing[0] if missing else 'cache, nor as past_key_values'
        raise ConfigurationError(
            f'transformers {transformers.__version__} takes no argument {lacks} '
            f'({type(module).__name__}.forward); use a version this package knows: '
            "pip install 'transformers>=4.57,<6'")
    return cache


def make_prompt(tokenizer: Any, family: ModelFamily) -> Prompt:
    """
    Build the prompt of a family, as a model's own chat template has it.

    :raises ConfigurationError: the tokenizer lacks what it is made of, or belongs to another
        model.
    """
    template = read_template(tokenizer, family.PLACEHOLDER, family.TEMPLATE)
    text = family.grid_text(LONGEST_S, camera_label('W' * MAX_LABEL))
    known = tokenizer.get_vocab()
    pieces = (family.MARK, template.prefix, template.before_question, template.after_question,
              template.before_answer, template.after_answer, *text)
    for token in re.findall(r'<\|\w+\|>', ''.join(pieces)):
        if token not in known:
            raise ConfigurationError(
                f'its tokenizer has no {token!r}, which the prompt is made of; the model is '
                'incomplete, or this is the tokenizer of a model without eyes: fetch it again')
    rows, last = family.text_shape().vocabulary, max(known.values())
    if last >= rows:
        raise ConfigurationError(
            f'its tokenizer has tokens up to number {last}, but the model has {rows} embeddings '
            '(vocab_size); use the tokenizer that the model was published with')
    tokens = sum(len(_text_ids(tokenizer, each)) for each in text)
    if tokens > family.MAX_GRID_TEXT:
        raise ConfigurationError(
            f'its tokenizer makes {tokens} tokens of the text of a frame, at most '
            f'{family.MAX_GRID_TEXT} are planned for; use the tokenizer that the model was '
            'published with')
    return Prompt(tokenizer, template, family.MARK, family.END_TOKENS)


def _text_ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)['input_ids'] if text else []
    return found


def _grid_text(
    prompt: Prompt, family: ModelFamily, seconds: float, label: str,
) -> tuple[list[int], list[int]]:
    before, after = family.grid_text(seconds, prompt.plain(label))
    return _text_ids(prompt.tokenizer, before), _text_ids(prompt.tokenizer, after)


def _count_grid_text(prompt: Prompt, family: ModelFamily, label: str) -> int:
    return sum(map(len, _grid_text(prompt, family, LONGEST_S, label)))


class VisionLanguageModel:
    """
    A loaded model and its tokenizer.

    :param model: a transformers model of one of the families.
    :param family: of the model, attached to no other; ``prompt``, of the tokenizer. None makes
        them.
    :param weights: how it is quantised: int8, int4, the method of its checkpoint, or empty.
    :param sample: its ``sample_weights`` before that; None computes them when needed.
    :ivar module: the transformers model.
    :ivar repetition_penalty: of its generation_config.json; 1: none.
    :ivar warnings: what to know before it is used, a sentence each.
    :raises ConfigurationError: the tokenizer lacks what the family's prompt is made of, or its
        generation_config.json is invalid.
    """

    def __init__(
        self, model: Any, tokenizer: Any, family: ModelFamily | None = None,
        prompt: Prompt | None = None, *, weights: str = '', sample: Tensor | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.config = model.config
        self.family = family = make_family(model.config) if family is None else family
        self.shape = family.text_shape()
        self.module = model
        self._core = model.model
        self._cache_argument = cache_argument(model.model.language_model)
        self.weights, self._sample = weights, sample
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.stop_ids = self._find_stop_ids(model)
        self.prompt = make_prompt(tokenizer, family) if prompt is None else prompt
        # Asked for with every frame. No method: a cycle would keep the weights from being freed.
        self._grid_text_tokens = lru_cache(64)(partial(_count_grid_text, self.prompt, family))
        self.repetition_penalty = read_repetition_penalty(model.generation_config)
        self.warnings = tuple(filter(None, [unsupported_warning(model.generation_config)]))
        #: Called with the scores of each forward pass, which it must not change.
        self.on_scores: Callable[[Tensor], None] | None = None
        self.supports_hook = register_attention(model)
        family.attach(self._core)
        self._masks_of_one = family.masks_of_one()

    def _find_stop_ids(self, model: Any) -> frozenset[int]:
        # A tokenizer may know an unknown token's id instead.
        own = self.tokenizer.eos_token_id, self.tokenizer.get_vocab().get('<|im_end|>')
        return frozenset(
            i for i in (*read_stop_ids(model.generation_config), *own) if i is not None)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return held_bytes(self.module)

    @cached_property
    def rotary(self) -> Rotary:
        """Which rotations of a key move with its grid."""
        return self.family.rotary(self._core.language_model.rotary_emb.inv_freq.float())

    @cached_property
    def fingerprint(self) -> ModelFingerprint:
        """Identifies the model, for saved memories."""
        layout = {
            # From the class: an instance of 4.57.1 may have the type of its language model.
            'model type': type(self.config).model_type, 'number of layers': self.shape.layers,
            'number of KV heads': self.shape.kv_heads, 'head dimension': self.shape.head_dim,
            **self.family.layout()}
        if self.weights:
            layout['weights'] = self.weights
        sample = sample_weights(self._core) if self._sample is None else self._sample
        return ModelFingerprint(layout, sample, self.dtype)

    def timeline(self) -> Timeline:
        """Return the positions of a new stream."""
        return self.family.timeline()

    def encoded_size(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """
        Return the size a frame is encoded at.

        :return: height and width in pixels.
        :raises FrameError: an aspect ratio no model accepts.
        """
        return self.family.encoded_size(height, width, max_pixels)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of visual tokens of a frame encoded at this size."""
        return self.family.grid_size(height, width)

    def grid_tokens(self, height: int, width: int, label: str = '') -> int:
        """
        Return the most tokens of a grid of frames encoded at this size, its text included.

        :param label: of its camera, see ``grid_text``.
        """
        rows, columns = self.family.grid_size(height, width)
        return rows * columns + self.grid_text_tokens(label)

    def grid_text_tokens(self, label: str = '') -> int:
        """Return the most tokens of text that stand with a grid of a camera."""
        return self._grid_text_tokens(label)

    def grid_text(self, seconds: float, label: str = '') -> tuple[list[int], list[int]]:
        """
        Return token ids of the text before and behind the visual tokens of a grid.

        :param seconds: its time since the first frame of the stream.
        :param label: what to call its camera, from ``camera_label``; special tokens in it are left
            out. Empty: not at all, as with a single camera.
        """
        return _grid_text(self.prompt, self.family, seconds, label)

    @cached_property
    def _stream_ids(self) -> frozenset[int]:
        """The tokens of every stream: prefix, visual tokens, and the text of grids."""
        # Which digits the times of grids have had is not kept: after a while all ten.
        texts = (self.grid_text(1_111_111.1 * digit) for digit in range(10))
        return frozenset({
            *self.prompt.prefix_ids, self.tokenizer.convert_tokens_to_ids(self.family.MARK),
            *(token for both in texts for text in both for token in text)})

    def make_penalty(self) -> RepetitionPenalty:
        """Build the checkpoint's repetition penalty; ``start_penalty`` begins an answer."""
        return RepetitionPenalty(self.repetition_penalty, self.shape.vocabulary, self.device)

    def start_penalty(self, penalty: RepetitionPenalty, prompt_ids: list[int]) -> None:
        """
        Have a penalty count what a prompt consists of, as ``generate`` does for the whole prompt.

        :param prompt_ids: what follows the vision.
        """
        penalty.start({*self._stream_ids, *prompt_ids})

    @torch.inference_mode()
    def fit(self, rgb: npt.NDArray[np.uint8], max_pixels: int) -> Tensor:
        """
        Resize one frame to the size it is encoded at, on the model's device.

        :param rgb: uint8 ``[H, W, 3]``.
        :return: uint8 ``[h, w, 3]``.
        :raises FrameError: an aspect ratio no model accepts.
        """
        height, width = self.encoded_size(rgb.shape[0], rgb.shape[1], max_pixels)
        # Views of camera buffers may be read-only or flipped, which torch does not accept.
        pixels = torch.as_tensor(np.require(rgb, requirements=['C', 'W'])).to(self.device)
        return self.family.resize(pixels.unsqueeze(0), height, width)[0]

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> VisualBlock:
        """
        Encode frames of one size into visual tokens; the last grid may lack frames.

        :param frames: uint8 ``[T, h, w, 3]``, each made by ``fit``.
        """
        return self.family.encode(frames.to(self.device))

    @torch.inference_mode()
    def embed(self, ids: list[int] | Tensor) -> Tensor:
        """
        Return input embeddings of text: ``[1, n, hidden]``.

        :param ids: as a tensor int64 ``[1, n]``, on the model's device; a list may begin with
            the marks that end a video, see ``Prompt``.
        """
        tokens = ids if isinstance(ids, Tensor) else torch.tensor([ids], device=self.device)
        embedded: Tensor = self._core.get_input_embeddings()(tokens)
        end = self.family.end_embeddings()
        if end is not None and isinstance(ids, list) and (
                ids[:len(end)] == [self.prompt.mark_id] * len(end)):
            embedded = torch.cat([end.unsqueeze(0), embedded[:, len(end):]], dim=1)
        return embedded

    @torch.inference_mode()
    def lay_out(
        self, block: VisualBlock, positions: Tensor,
        texts: list[tuple[list[int], list[int]]],
    ) -> GridSequence:
        """
        Put visual tokens and the text of their grids in the order they are read.

        :param positions: of all of them, int64 ``[3, 1, n]``.
        :param texts: of each grid, from ``grid_text``.
        """
        tokens = block.tokens.flatten(0, 1).to(self.dtype)
        if any(before or after for before, after in texts):
            # The text of all grids at once: each call of the embedding copies to the device.
            mark, count = self.prompt.mark_id, block.tokens.shape[1]
            ids = [each for before, after in texts
                   for each in (*before, *[mark] * count, *after)]
            visual = torch.tensor(ids, device=self.device) == mark
            embeddings = self.embed(ids)[0].to(self.dtype)
            embeddings[visual] = tokens
        else:
            visual = torch.ones(len(tokens), dtype=torch.bool, device=self.device)
            embeddings = tokens
        return GridSequence(
            embeddings.unsqueeze(0), positions,
            self.family.language_arguments(block, visual.unsqueeze(0)))

    @torch.inference_mode()
    def forward(
        self, embeddings: Tensor, positions: Tensor, cache: Any,
        hook: AttentionHook | StaticAttentionHook | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> Tensor:
        """
        Run the language model on new tokens; their keys and values go into ``cache``.

        ``position_ids`` are always given, a mask only by a ``StaticAttentionHook``, and that there
        is none for a single token: else the causal mask follows from the cache's length, which is
        not a position once it was compressed.

        :param embeddings: ``[1, n, hidden]``.
        :param positions: int64 ``[3, 1, n]``.
        :param cache: None: a plain one for this call.
        :param hook: hides and observes cached tokens; only if ``supports_hook``.
        :param arguments: more of the family's, see ``GridSequence``.
        :return: last hidden states ``[1, n, hidden]``.
        """
        through = {} if hook is None else {'hook': hook}
        mask: Any = self._masks_of_one if embeddings.shape[1] == 1 else None
        if isinstance(hook, StaticAttentionHook):
            mask = hook.unseen
        output = self._core.language_model(
            inputs_embeds=embeddings.to(self.dtype),
            position_ids=self.family.position_ids(positions.to(self.device)),
            attention_mask=mask,
            use_cache=True, **{self._cache_argument: cache}, **through, **(arguments or {}))
        hidden: Tensor = output.last_hidden_state
        return hidden

    def compute_once(self) -> None:
        """
        Encode a small frame and read it, as a check; whatever the model raises passes through.

        Packages for quantised weights choose their kernels only now, or find that there are none.
        """
        pixels = self.family.pixels_for(1) or 1
        block = self.encode(self.fit(np.zeros((64, 64, 3), np.uint8), pixels).unsqueeze(0))
        positions = text_positions(0, block.tokens.shape[:2].numel())
        sequence = self.lay_out(block, positions, [([], [])] * len(block.tokens))
        self.logits(self.forward(
            sequence.embeddings, positions, None, arguments=sequence.arguments)[:, -1])

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return next-token scores of hidden states: float32 ``[..., vocabulary]``."""
        scores: Tensor = self.module.lm_head(hidden).float()
        if self.on_scores is not None:
            self.on_scores(scores)
        return scores
