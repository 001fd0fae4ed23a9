# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything an ``VisualMemory`` is told once, before it sees a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, make_policy
from infinipot_ros.vlm.quantization import check_weights

FRAMES_PER_GRID = 2
# Tokens of the chat template around a question, generously.
TEMPLATE_TOKENS = 32


@dataclass(frozen=True)
class MemoryConfig:
    """
    How a memory is built.

    :param model: folder, hub id or bundled name of a Qwen2-VL or Qwen2.5-VL checkpoint.
    :param dtype: float32, float16 or bfloat16; of weights and cache.
    :param weights: int8 or int4 quantises the language model's matrices; empty leaves them.
    :param local_files_only: never download.
    :param policy: what decides which tokens stay; one of ``memory.policies.registry``.
    :param budget: M, the most visual tokens a layer and KV head holds.
    :param keep_ratio: C / M, the share left after a compression.
    :param tar_ratio: alpha, the share of C for TaR; None leaves it to the policy.
    :param recent_ratio: share of the grids that is recent; None leaves it to the policy.
    :param block_size: frames encoded in one forward pass, even.
    :param max_batch: frames encoded in one forward pass while more of them wait to be; where that
        is less than ``block_size``, no more than that.
    :param max_pixels: pixels a frame is shrunk to; 784 (28 x 28) make one visual token.
    :param max_new_tokens: most tokens of an answer.
    :param max_question_chars: most characters, and about the most tokens, of a question.
    :param session_tokens: most tokens of the dialogue before a question.
    :param max_evidence: most moments an answer names; 0 looks for none.
    :param thumbnail_bytes: most bytes of the jpegs of remembered moments; 0 keeps none.
    :param cameras: names of the cameras there are; none: whichever send frames.
    :param camera_shares: each camera's share of what a compression leaves, in the order of
        ``cameras``; none: they share one budget.
    :param still_likeness: frames at least this like the last one taken are left out, and that one
        stands for them; 0 takes every frame. ``observer.frame_filter`` tells how it is counted.
    :param max_still_s: seconds one frame may stand for others.
    :param max_backward_jump_s: a stamp this far behind the newest starts a new segment.
    :param temperature: 0 answers greedily; above, answers are drawn.
    :param top_p: share of the probability mass that is drawn from.
    :param cuda_graph: on a GPU, an answer's tokens are decoded by a CUDA graph, captured at
        configure; for attention by sdpa or eager, and weights as they were published.
    """

    model: str
    device: str = 'cpu'
    dtype: str = 'float32'
    weights: str = ''
    attn_implementation: str = 'sdpa'
    local_files_only: bool = True
    policy: str = DEFAULT_POLICY
    budget: int = 4096
    keep_ratio: float = 0.75
    tar_ratio: float | None = None
    recent_ratio: float | None = None
    block_size: int = FRAMES_PER_GRID
    max_batch: int = 4 * FRAMES_PER_GRID
    max_pixels: int = 128 * 28 * 28
    max_new_tokens: int = 64
    max_question_chars: int = 1000
    session_tokens: int = 512
    max_evidence: int = 5
    thumbnail_bytes: int = 4 * 1024 ** 2
    cameras: tuple[str, ...] = ()
    camera_shares: tuple[float, ...] = ()
    still_likeness: float = 0.0
    max_still_s: float = 10.0
    max_backward_jump_s: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    cuda_graph: bool = False

    def validate(self) -> None:
        """:raises ConfigurationError: the first value that cannot work, and what could."""
        check_weights(self.weights)
        self._check_graph()
        self.make_budget()
        self.make_policy()
        if self.block_size < FRAMES_PER_GRID or self.block_size % FRAMES_PER_GRID:
            raise ConfigurationError(
                f'block_size is {self.block_size}, it must be an even number of frames, at '
                f'least {FRAMES_PER_GRID}: a grid is made of {FRAMES_PER_GRID} frames')
        for name, least in (
                ('max_pixels', 28 * 28), ('max_batch', 1), ('max_new_tokens', 1),
                ('max_question_chars', 1),
                ('session_tokens', 0), ('max_evidence', 0), ('thumbnail_bytes', 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f'{name} is {getattr(self, name)}, it must be at least {least}')
        if self.max_backward_jump_s < 0:
            raise ConfigurationError(
                f'max_backward_jump_s is {self.max_backward_jump_s}, it must be 0 or more')

        if not 0.0 <= self.still_likeness <= 1.0:
            raise ConfigurationError(
                f'still_likeness is {self.still_likeness}, it must be within 0 and 1; 0 takes '
                'every frame')
        if not self.max_still_s > 0.0:
            raise ConfigurationError(
                f'max_still_s is {self.max_still_s}, it must be above 0')
        if len(set(self.cameras)) < len(self.cameras):
            raise ConfigurationError(
                f'cameras are {list(self.cameras)}: two have the same name; names must differ')
        shares = self.camera_shares
        if shares and (len(shares) != len(self.cameras) or min(shares) <= 0.0
                       or abs(sum(shares) - 1.0) > 0.01):
            raise ConfigurationError(
                f'camera_shares are {list(shares)} of the cameras {list(self.cameras)}; give each '
                'camera a share above 0, together 1, or none at all')

    def _check_graph(self) -> None:
        if self.cuda_graph and not self.device.startswith('cuda'):
            raise ConfigurationError(
                f'cuda_graph is set, but there are no CUDA graphs on device {self.device!r}; use '
                'cuda, or set cuda_graph to false')
        if self.cuda_graph and self.weights:
            raise ConfigurationError(
                f'cuda_graph is set, but kernels for weights {self.weights!r} may ask the host in '
                'between, which no graph can; leave weights empty, or set cuda_graph to false')

    def make_budget(self) -> Budget:
        """Build the declared budget."""
        return Budget(self.budget, self.keep_ratio)

    def make_policy(self) -> EvictionPolicy:
        """Build a fresh policy."""
        return make_policy(
            self.policy, tar_ratio=self.tar_ratio, recent_ratio=self.recent_ratio)

    def shares_of(self, cameras: Iterable[str]) -> dict[int, float]:
        """Give the declared shares of these cameras, by their place among them."""
        shares = dict(zip(self.cameras, self.camera_shares))
        return {
            number: shares[camera] for number, camera in enumerate(cameras) if camera in shares}

    @property
    def most_frames(self) -> int:
        """Frames that one forward pass takes at most."""
        return max(self.block_size, self.max_batch)

    @property
    def question_room(self) -> int:
        """Tokens set aside for a question and its answer."""
        return self.max_question_chars + TEMPLATE_TOKENS + self.max_new_tokens

    @property
    def tail_room(self) -> int:
        """Tokens set aside for a question, its answer and the dialogue before."""
        return self.session_tokens + self.question_room
