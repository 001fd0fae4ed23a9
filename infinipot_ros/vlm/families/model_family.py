# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The interface of a model family: what differs from one to the next.

Loading, the prompt, attention, decoding and the plan are written once, for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.positions import Timeline
from infinipot_ros.vlm.prompt import Template
from infinipot_ros.vlm.rotary import Rotary

#: Bytes of a camera's label; a tokenizer of bytes makes at most as many tokens of it.
MAX_LABEL = 23


@dataclass(frozen=True)
class VisualBlock:
    """
    The visual tokens of consecutive grids.

    :param tokens: ``[grids, rows * columns, hidden]``, in the model's dtype.
    :param deep: more features of the same tokens, each for one of the first decoder layers, in
        the shape of ``tokens``; most families have none.
    """

    tokens: Tensor
    rows: int
    columns: int
    deep: tuple[Tensor, ...] = ()


def camera_label(camera: str) -> str:
    """Return what to call a camera in the text of its grids: at most ``MAX_LABEL`` bytes."""
    name = ' '.join(camera.split()).encode('utf-8', 'ignore')[:MAX_LABEL - len('Camera ')]
    # Cutting may have split the last character.
    found = name.decode('utf-8', 'ignore').strip()
    return f'Camera {found}' if found else ''


@dataclass(frozen=True)
class LinearShape:
    """
    Decoder layers with linear attention: states of fixed size in place of keys and values.

    :param layers: their indices among all decoder layers, ascending.
    :param convolution: channels and width of the inputs that its convolution keeps.
    :param state: heads, and dimensions of a key and a value, of the state of its recurrence.
    """

    layers: tuple[int, ...]
    convolution: tuple[int, int]
    state: tuple[int, int, int]


@dataclass(frozen=True)
class TextShape:
    """
    The part of the language model's configuration that a cache must match.

    :param layers: decoder layers with keys and values; ``linear``, those without, if any.
    :param intermediate: numbers a token takes inside an MLP, or inside all experts that read it.
    """

    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocabulary: int
    linear: LinearShape | None = None


class ModelFamily(ABC):
    """
    What is particular to a family of models.

    A family is one file of this folder: a class with ``MODEL_TYPES``. Nothing else is edited.

    :param config: the configuration of one of its models.
    """

    #: ``model_type`` in config.json, of each model that this class serves.
    MODEL_TYPES: ClassVar[tuple[str, ...]] = ()
    #: A published checkpoint, to suggest.
    EXAMPLE: ClassVar[str] = ''
    #: The first release of transformers that it works with.
    TRANSFORMERS: ClassVar[str] = '4.57'
    #: Frames that make one grid of visual tokens.
    FRAMES_PER_GRID: ClassVar[int] = 2
    #: What the chat template writes for a video, and the special token in it.
    PLACEHOLDER: ClassVar[str] = '<|video_pad|>'
    MARK: ClassVar[str] = '<|video_pad|>'
    #: The chat template of a tokenizer that came without one.
    TEMPLATE: ClassVar[Template | None] = None
    #: Whether policies compare keys as if all grids started at one position.
    CONTENT_KEYS: ClassVar[bool] = True
    #: Most tokens of the text that stands with a grid, the label of its camera included.
    MAX_GRID_TEXT: ClassVar[int] = 0
    #: Tokens that end a video, behind the last of its frames.
    END_TOKENS: ClassVar[int] = 0
    #: How positions go on over days, unless the user says otherwise.
    POSITIONS: ClassVar[str] = 'absolute'

    def __init__(self, config: Any) -> None:
        self.config = config

    # -- from the configuration alone ---------------------------------------------------------

    @abstractmethod
    def encoded_size(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """
        Return the size a frame is encoded at, height and width in pixels.

        :raises FrameError: an aspect ratio the family does not accept.
        """

    @abstractmethod
    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of visual tokens of a frame encoded at this size."""

    @abstractmethod
    def max_visual_tokens(self, max_pixels: int) -> int:
        """Return the visual tokens of the largest grid."""

    @abstractmethod
    def pixels_for(self, tokens: int) -> int | None:
        """Return the ``max_pixels`` of grids of so many tokens; None: all grids are alike."""

    def max_frame_pixels(self, max_pixels: int) -> int:
        """Return the pixels of the largest frame, as it is encoded."""
        return max_pixels

    @abstractmethod
    def timeline(self) -> Timeline:
        """Return the positions of a new stream."""

    @abstractmethod
    def rotary(self, frequencies: Tensor) -> Rotary:
        """
        Describe which rotations move with a grid.

        :param frequencies: of the language model's rotary embedding, float32 ``[n]``.
        """

    @abstractmethod
    def layout(self) -> dict[str, Any]:
        """Return what identifies keys and values besides the language model, by name."""

    @abstractmethod
    def vision_bytes(self, tokens: int, itemsize: int) -> int:
        """Return the most bytes of activations while so many visual tokens are encoded."""

    @abstractmethod
    def vision_scores(self, grid_tokens: int) -> int:
        """Return how many attention scores the vision tower computes at once for a grid."""

    def text_shape(self) -> TextShape:
        """
        Read the language model's shape.

        :raises ConfigurationError: it uses sliding-window attention, which would hide memories.
        """
        text = self.config.get_text_config()
        if 'sliding_attention' in (getattr(text, 'layer_types', None) or ()):
            raise ConfigurationError(
                'this checkpoint uses sliding-window attention, which hides remembered tokens; '
                'set use_sliding_window to false in its config.json')
        head_dim = getattr(text, 'head_dim', None) or text.hidden_size // text.num_attention_heads
        return TextShape(
            text.num_hidden_layers, text.num_key_value_heads, head_dim, text.hidden_size,
            _intermediate(text), text.vocab_size)

    # -- text ---------------------------------------------------------------------------------

    def grid_text(self, seconds: float, label: str = '') -> tuple[str, str]:
        """
        Return the text before and behind the visual tokens of a grid.

        :param seconds: its time since the first frame of the stream.
        :param label: what to call its camera, from ``camera_label``; empty: not at all.
        """
        return '', ''

    # -- with a loaded model ------------------------------------------------------------------

    def read_processor(self, settings: Mapping[str, Any]) -> None:  # noqa: B027  # few need it
        """
        Take over what the checkpoint's processor file says about pixels.

        :param settings: of its video processor, or else its image processor; empty: no file.
        :raises ConfigurationError: the family cannot do as it says.
        """

    def masks_of_one(self) -> dict[str, None] | None:
        """
        Return the attention mask of a single new token, for the language model.

        :return: of each kind of layer, where the model takes that; None leaves it to the model.
        """
        return None

    def attach(self, core: Any) -> None:
        """
        Use a loaded model from now on; its vision tower may be changed to compute faster.

        :param core: the model without its head, on its device.
        """
        self.core = core

    @abstractmethod
    def resize(self, frames: Tensor, height: int, width: int) -> Tensor:
        """
        Bring frames to the size they are encoded at, as the family's own processor does.

        :param frames: uint8 ``[T, H, W, 3]``.
        :return: uint8 ``[T, height, width, 3]``.
        """

    @abstractmethod
    def encode(self, frames: Tensor) -> VisualBlock:
        """
        Encode frames of one size into visual tokens; the last grid may lack frames.

        :param frames: uint8 ``[T, h, w, 3]``, on the model's device.
        """

    def end_embeddings(self) -> Tensor | None:
        """Return what ends a video, if anything: embeddings ``[END_TOKENS, hidden]``."""
        return None

    def language_arguments(self, block: VisualBlock, visual: Tensor) -> dict[str, Any]:
        """
        Return what the language model takes besides embeddings and positions.

        :param visual: which of the new tokens are visual, bool ``[1, n]``.
        """
        return {}

    def position_ids(self, positions: Tensor) -> Tensor:
        """Return positions, int64 ``[3, 1, n]``, as the language model takes them."""
        return positions


def _intermediate(text: Any) -> int:
    """
    Return the width of the widest MLP.

    Of experts, of all that a token is given to, each with a copy of the token.
    """
    dense: int = getattr(text, 'intermediate_size', None) or 0
    experts: int = (
        getattr(text, 'num_experts_per_tok', 0)
        * (getattr(text, 'moe_intermediate_size', 0) + text.hidden_size)
        + getattr(text, 'shared_expert_intermediate_size', 0))
    return max(dense, experts)


def pad_frames(frames: Tensor, per_grid: int) -> Tensor:
    """Repeat the last of ``[T, ...]`` frames until they make whole grids."""
    missing = -frames.shape[0] % per_grid
    if not missing:
        return frames
    return torch.cat([frames, frames[-1:].expand(missing, *frames.shape[1:])])
