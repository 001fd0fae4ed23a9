# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Named sets of settings: those InfiniPot-V's figures were measured with.

``infinipot-v-paper`` is the paper's offline setting (arXiv:2506.15745v2, section 5: M of 6K,
alpha 0.5, r 0.125, C = 0.75 M; up to 768 frames of Qwen2-VL's sampling, 128 tokens a grid).
``infinipot-v-code`` is that of the authors' repository: a memory of 32 grids, whatever the tokens
of a grid, that is compressed to 24, a quarter of which are recent, values not pooled. Both compare
tokens by cache slot, and so do these presets; give ``--policy infinipot_v`` for true coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.variants import DEFAULT_POLICY

GRID_TOKENS = 128


@dataclass(frozen=True)
class Preset:
    """
    The values of a preset; explicit options override them.

    :param policies: and ``budgets``, the variants.
    :param fps: frames per second; ``max_frames`` limits them, evenly spread over the stream.
    :param max_pixels: 784 pixels make one visual token of Qwen2-VL and Qwen2.5-VL.
    """

    policies: tuple[str, ...] = (DEFAULT_POLICY,)
    budgets: tuple[str, ...] = ('4096',)
    keep_ratio: float = 0.75
    tar_ratio: float | None = None
    recent_ratio: float | None = None
    block_size: int = 8
    fps: float = 2.0
    max_frames: int | None = None
    max_pixels: int = GRID_TOKENS * 28 * 28
    max_new_tokens: int = 64


DEFAULT = Preset()

PRESETS: Mapping[str, Preset] = MappingProxyType({
    'infinipot-v-paper': Preset(
        policies=('infinipot_v/paper',), budgets=(str(48 * GRID_TOKENS),), keep_ratio=0.75,
        tar_ratio=0.5, recent_ratio=0.125,
        # 12 grids, what a compression frees: the memory is full whenever it is compressed.
        block_size=24, max_frames=768, max_new_tokens=300),
    'infinipot-v-code': Preset(
        policies=('infinipot_v/official',), budgets=('32g',),
        keep_ratio=24 / 32, tar_ratio=0.5, recent_ratio=0.25,
        # 32 grids at first, then the 8 that a compression to 24 frees.
        block_size=64, max_frames=768, max_new_tokens=300),
})


def preset(name: str | None) -> Preset:
    """
    Return the preset of a name; None: the defaults.

    :raises ConfigurationError: an unknown name.
    """
    if name is None:
        return DEFAULT
    if name not in PRESETS:
        raise ConfigurationError(f'there is no preset {name!r}; there are {", ".join(PRESETS)}')
    return PRESETS[name]
