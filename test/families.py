# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The families of models as their own processors and chat templates have them, written out plainly.

A new family is one entry of ``FAMILIES``, and a kind of ``tiny_models.make_tiny``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

RELEASE = tuple(int(part) for part in transformers.__version__.split('.')[:2])

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

#: The chat template of Qwen2-VL and Qwen2.5-VL, as far as one video and one question need it.
QWEN2_CHAT = (
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% for part in message.content %}{% if part.type == 'video' %}"
    "{{ '<|vision_start|><|video_pad|><|vision_end|>' }}{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}")


def one_video(seconds: Sequence[float], tokens: int) -> str:
    """What stands for all grids of a video: their tokens, one after the other."""
    return '<|video_pad|>' * tokens * len(seconds)


def grids_with_time(seconds: Sequence[float], tokens: int) -> str:
    """
    Each grid with its time and its own tags, as transformers 4.57 writes it.

    :param seconds: the mean time of each grid's frames; ``tokens``, of each.
    """
    pads = '<|video_pad|>' * tokens
    return ''.join(
        f'<{each:.1f} seconds><|vision_start|>{pads}<|vision_end|>' for each in seconds)


@dataclass(frozen=True)
class Family:
    """
    What a family's own processor and chat template do.

    :param expand: the text for a video, from the seconds of its grids and the tokens of each;
        ``placeholder`` is what it replaces in the chat template.
    :param chat: the published chat template, where a tiny checkpoint has none.
    :param mark: the token that stands for one visual token.
    :param image_processor: arguments of its image processor, which is Qwen2-VL's class; None: the
        family has another, and a test of its own.
    :param tower: the attribute of the model that is its vision tower.
    :param flat: whether every visual token takes a position of its own.
    :param linear: whether its first layers have linear attention.
    """

    expand: Callable[[Sequence[float], int], str]
    placeholder: str = '<|video_pad|>'
    chat: str | None = None
    mark: str = '<|video_pad|>'
    image_processor: dict[str, Any] | None = None
    tower: str = 'visual'
    flat: bool = False
    linear: bool = False


_QWEN2 = Family(
    one_video, chat=QWEN2_CHAT,
    image_processor={'patch_size': 14, 'image_mean': CLIP_MEAN, 'image_std': CLIP_STD})
_QWEN3 = Family(
    grids_with_time, '<|vision_start|><|video_pad|><|vision_end|>',
    image_processor={'patch_size': 16, 'image_mean': HALF, 'image_std': HALF})

_LLAVA = Family(lambda seconds, tokens: '<video>' * tokens * len(seconds), '<video>', flat=True)

_ALL = {
    'qwen2_vl': _QWEN2, 'qwen2_5_vl': _QWEN2, 'qwen3_vl': _QWEN3, 'qwen3_vl_moe': _QWEN3,
    'qwen3_5': replace(_QWEN3, linear=True), 'qwen3_5_moe': replace(_QWEN3, linear=True),
    'llava_onevision': _LLAVA, 'llava_next_video': _LLAVA}
#: By model type: those that the installed transformers has.
FAMILIES = {
    kind: family for kind, family in _ALL.items()
    if kind in CONFIG_MAPPING and (not family.linear or RELEASE >= (5, 14))}
#: Those whose prompt and pixels are written out here.
WRITTEN_OUT = [kind for kind, family in FAMILIES.items() if family.image_processor]
#: Those whose grids share a position per row and column.
GRIDS = [kind for kind, family in FAMILIES.items() if not family.flat]
#: Those of them where the keys of the first layer depend on nothing but token and position.
FIRST_LAYER_KEYS = [kind for kind in GRIDS if not FAMILIES[kind].linear]
