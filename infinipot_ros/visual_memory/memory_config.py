# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of a ``VisualMemory``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, make_policy
from infinipot_ros.visual_memory.policy_names import KV_DTYPES, POSITIONS
from infinipot_ros.vlm.attention_hook import WRAPPED
from infinipot_ros.vlm.cpu_units import slow_dtype_warning
from infinipot_ros.vlm.families.model_family import ModelFamily
from infinipot_ros.vlm.quantization import check_weights

# Tokens of the chat template around a question, with a margin.
TEMPLATE_TOKENS = 32
# Settings that model, buffers and plan follow from.
FIXED = (
    'model', 'device', 'dtype', 'weights', 'attn_implementation', 'local_files_only', 'block_size',
    'max_batch', 'max_pixels', 'cameras', 'cuda_graph', 'positions',
    'recent_frames', 'recent_max_pixels', 'second_look_frames', 'second_look_bytes',
    'second_look_directory', 'kv_dtype')


@dataclass(frozen=True)
class MemoryConfig:
    """
    How a memory is built and how it answers.

    :param model: folder, hub id or bundled name of a checkpoint of a known family.
    :param dtype: float32, float16 or bfloat16; of weights and cache.
    :param weights: int8 or int4 quantises the language model's matrices; empty: as published.
    :param kv_dtype: int8 or fp8 stores keys and values in 8 bits a number, with scales; empty: in
        ``dtype``.
    :param local_files_only: never download.
    :param policy: the eviction policy by name; see ``kv_cache.policies.registry``.
    :param budget: M, the most tokens a layer and KV head remembers.
    :param keep_ratio: C / M, the share left after a compression.
    :param tar_ratio: alpha, the share of C for TaR; None: the policy's own.
    :param recent_ratio: share of the grids that counts as recent; None: the policy's own.
    :param block_size: frames encoded in one forward pass; whole grids.
    :param max_batch: frames encoded in one forward pass while more frames are queued; has no
        effect below ``block_size``.
    :param max_pixels: pixels a frame is shrunk to: 784 (28 x 28) make one visual token of
        Qwen2.5-VL, 1024 one of Qwen3-VL; LLaVA has a size of its own.
    :param positions: ``absolute``, as counted by the stream, or ``compact``, closed up at every
        compression; ``auto``: what suits the model's family.
    :param recent_frames: the newest frames that every question sees encoded again, whole, in
        place of what a compression left of them; their tokens are kept free within the budget.
        0: none.
    :param recent_max_pixels: pixels they are shrunk to; 0: ``max_pixels``.
    :param second_look_frames: most frames that are encoded again, whole, for a second answer: of
        the moments that a first one rests on; their tokens are kept free within the budget. 0:
        none.
    :param second_look_bytes: most bytes of the jpegs that are kept for this.
    :param second_look_directory: where they are kept; empty: in memory.
    :param max_new_tokens: most tokens of an answer.
    :param max_question_chars: most characters, and about the most tokens, of a question.
    :param session_tokens: most tokens of the dialogue before a question.
    :param max_evidence: most moments an answer names; 0 disables evidence.
    :param thumbnail_bytes: most bytes of the jpegs of remembered moments; 0 keeps none.
    :param thumbnail_side: most pixels of their longer side; a thumbnail is no larger than the
        frame the model saw.
    :param cameras: names of the cameras; empty: any camera that sends frames.
    :param camera_shares: each camera's share of what a compression leaves, in the order of
        ``cameras``; empty: all cameras share one budget.
    :param duplicate_similarity: frames whose similarity to the last stored one is at least this
        are skipped as duplicates of it; 0 stores every frame. See ``duplicate_filter.similarity``.
    :param max_duplicate_age_s: seconds after which a stored frame is no longer compared with new
        ones.
    :param max_backward_jump_s: a stamp this far behind the newest starts a new segment.
    :param temperature: 0 decodes greedily; above, answers are sampled.
    :param top_p: share of the probability mass that is sampled from.
    :param cuda_graph: on a GPU, decode an answer's tokens by a CUDA graph captured at configure;
        needs attention by sdpa or eager and weights as published.
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
    block_size: int = 2
    max_batch: int = 8
    max_pixels: int = 128 * 28 * 28
    positions: str = 'auto'
    recent_frames: int = 0
    recent_max_pixels: int = 0
    second_look_frames: int = 0
    second_look_bytes: int = 64 * 1024 ** 2
    second_look_directory: str = ''
    max_new_tokens: int = 64
    max_question_chars: int = 1000
    session_tokens: int = 512
    max_evidence: int = 5
    thumbnail_bytes: int = 4 * 1024 ** 2
    thumbnail_side: int = 160
    cameras: tuple[str, ...] = ()
    camera_shares: tuple[float, ...] = ()
    duplicate_similarity: float = 0.0
    max_duplicate_age_s: float = 10.0
    max_backward_jump_s: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    cuda_graph: bool = False
    kv_dtype: str = ''

    def validate(self) -> None:
        """:raises ConfigurationError: the first invalid value, with the valid range."""
        check_weights(self.weights)
        self.check_graph(self.weights)
        self.make_budget()
        self.make_policy()
        if self.positions not in POSITIONS:
            raise ConfigurationError(
                f'positions is {self.positions!r}, it must be one of {", ".join(POSITIONS)}')
        if self.kv_dtype not in KV_DTYPES:
            raise ConfigurationError(
                f'kv_dtype is {self.kv_dtype!r}, it must be int8, fp8, or empty for that of the '
                'model')
        for name, least in (
                ('max_pixels', 28 * 28), ('block_size', 1), ('max_batch', 1),
                ('recent_frames', 0), ('recent_max_pixels', 0), ('second_look_frames', 0),
                ('second_look_bytes', 1), ('max_new_tokens', 1),
                ('max_question_chars', 1), ('session_tokens', 0), ('max_evidence', 0),
                ('thumbnail_bytes', 0), ('thumbnail_side', 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f'{name} is {getattr(self, name)}, it must be at least {least}')
        if self.max_backward_jump_s < 0:
            raise ConfigurationError(
                f'max_backward_jump_s is {self.max_backward_jump_s}, it must be 0 or more')
        if not 0.0 <= self.duplicate_similarity <= 1.0:
            raise ConfigurationError(
                f'duplicate_similarity is {self.duplicate_similarity}, it must be within 0 and 1; '
                '0 stores every frame')
        if not self.max_duplicate_age_s > 0.0:
            raise ConfigurationError(
                f'max_duplicate_age_s is {self.max_duplicate_age_s}, it must be above 0')
        if len(set(self.cameras)) < len(self.cameras):
            raise ConfigurationError(
                f'cameras are {list(self.cameras)}: two have the same name; names must differ')
        shares = self.camera_shares
        if shares and (len(shares) != len(self.cameras) or min(shares) <= 0.0
                       or abs(sum(shares) - 1.0) > 0.01):
            raise ConfigurationError(
                f'camera_shares are {list(shares)} of the cameras {list(self.cameras)}; give each '
                'camera a share above 0, together 1, or none at all')

    def check_graph(self, weights: str) -> None:
        """
        Check that answers can be decoded by a CUDA graph, if they are to be.

        :param weights: how the weights are quantised, by setting or in the checkpoint.
        :raises ConfigurationError: they cannot, and why.
        """
        if self.cuda_graph and not self.device.startswith('cuda'):
            raise ConfigurationError(
                f'cuda_graph is set, but there are no CUDA graphs on device {self.device!r}; use '
                'cuda, or set cuda_graph to false')
        if self.cuda_graph and weights:
            raise ConfigurationError(
                f'cuda_graph is set, but kernels for weights {weights!r} may wait for the host, '
                'which a graph cannot do; use weights that are not quantised, or set cuda_graph '
                'to false')

    def check_change(self, new: MemoryConfig, family: ModelFamily) -> None:
        """
        Check that a memory made with these settings can go on with ``new`` ones.

        :raises ConfigurationError: a new memory is needed, with the value, the limit and the way
            out.
        """
        for name in FIXED:
            before, after = getattr(self, name), getattr(new, name)
            if after != before:
                raise ConfigurationError(
                    f'{name} cannot change from {before!r} to {after!r} while there is a memory; '
                    'configure again, which forgets what was seen unless it is saved and loaded')
        for name, value, most in (
                ('budget', new.budget, self.budget),
                ('the room for questions (max_question_chars, max_new_tokens and session_tokens '
                 'together)', new.tail_room, self.tail_room),
                ('thumbnail_bytes', new.thumbnail_bytes, self.thumbnail_bytes),
                ('max_evidence', new.max_evidence, sys.maxsize if self.max_evidence else 0)):
            if value > most:
                raise ConfigurationError(
                    f'{name} cannot rise to {value}, memory was allocated for {most}; configure '
                    'again')
        new.max_grid_tokens(family)

    def make_budget(self) -> Budget:
        """Build the declared budget."""
        return Budget(self.budget, self.keep_ratio)

    def make_policy(self) -> EvictionPolicy:
        """Build a fresh policy."""
        return make_policy(
            self.policy, tar_ratio=self.tar_ratio, recent_ratio=self.recent_ratio)

    def shares_of(self, cameras: Iterable[str]) -> dict[int, float]:
        """Return the declared shares of these cameras, by their index among them."""
        shares = dict(zip(self.cameras, self.camera_shares))
        return {
            number: shares[camera] for number, camera in enumerate(cameras) if camera in shares}

    def compact(self, family: ModelFamily) -> bool:
        """Return whether positions are closed up at every compression."""
        return (family.POSITIONS if self.positions == 'auto' else self.positions) == 'compact'

    @property
    def warning(self) -> str:
        """What to know of these settings on this machine; empty: nothing."""
        slow = 'kv_dtype fp8 is slow on a CPU, which converts it number by number; set it to int8'
        return '. '.join(filter(None, (
            slow_dtype_warning(self.device, self.dtype),
            slow if self.kv_dtype == 'fp8' and self.device.startswith('cpu') else '')))

    def check_block(self, family: ModelFamily) -> None:
        """:raises ConfigurationError: a block is no whole grids of this family."""
        per_grid = family.FRAMES_PER_GRID
        if self.block_size % per_grid:
            raise ConfigurationError(
                f'block_size is {self.block_size}, it must be a multiple of {per_grid}: a grid '
                f'of this model is made of {per_grid} frames')

    def max_grid_tokens(self, family: ModelFamily) -> int:
        """
        Return the tokens of the largest grid, its text included.

        :raises ConfigurationError: none, more than the whole budget, or a block is no whole
            grids.
        """
        self.check_block(family)
        visual = family.max_visual_tokens(self.max_pixels)
        if visual < 1:
            raise ConfigurationError(
                f'max_pixels is {self.max_pixels}, it must be at least {family.pixels_for(1)}: '
                'one visual token of this model')
        grid_tokens = visual + family.MAX_GRID_TEXT
        if grid_tokens > self.budget:
            pixels = family.pixels_for(max(1, self.budget - family.MAX_GRID_TEXT))
            raise ConfigurationError(
                f'a grid of this model has {grid_tokens} tokens, more than the budget of '
                f'{self.budget}; raise the budget' if pixels is None else
                f'max_pixels of {self.max_pixels} lets one grid have {grid_tokens} tokens, more '
                f'than the budget of {self.budget}; lower max_pixels to {pixels} or raise the '
                'budget')
        self._check_again(family, grid_tokens)
        return grid_tokens

    def _check_again(self, family: ModelFamily, grid_tokens: int) -> None:
        """:raises ConfigurationError: frames cannot be encoded again, or lack the room."""
        wanted = ' and '.join(
            f'{name} is {getattr(self, name)}' for name in ('recent_frames', 'second_look_frames')
            if getattr(self, name))
        if not wanted:
            return
        if self.recent_frames and family.max_visual_tokens(self.recent_pixels) < 1:
            raise ConfigurationError(
                f'recent_max_pixels is {self.recent_pixels}, it must be at least '
                f'{family.pixels_for(1)}: one visual token of this model, or 0 for max_pixels')
        if family.text_shape().linear is not None:
            raise ConfigurationError(
                f'{wanted}, but layers with linear attention mix all frames into one state, so '
                'none can be taken out and encoded again; set it to 0')
        if self.attn_implementation not in WRAPPED:
            raise ConfigurationError(
                f'{wanted}, but attn_implementation {self.attn_implementation} cannot hide what '
                f'they replace; use {" or ".join(WRAPPED)}, or set it to 0')
        budget, again = self.make_budget(), self.again_tokens(family)
        most = budget.tokens - max(budget.tokens - budget.target, grid_tokens)
        if again > most:
            raise ConfigurationError(
                f'{wanted}: encoded again they take up to {again} tokens; of the budget of '
                f'{budget.tokens}, {most} are left beside a block; lower recent_frames, '
                'recent_max_pixels or second_look_frames, or raise the budget')

    @property
    def notes_attention(self) -> bool:
        """Whether answers note what they attend to."""
        return bool(self.max_evidence or self.second_look_frames)

    @property
    def recent_pixels(self) -> int:
        """Pixels a recent frame is shrunk to."""
        return self.recent_max_pixels or self.max_pixels

    def recent_tokens(self, family: ModelFamily) -> int:
        """Return the tokens within the budget that are kept free for recent frames."""
        return self.recent_grids(family) * (
            family.max_visual_tokens(self.recent_pixels) + family.MAX_GRID_TEXT)

    def look_grids(self, family: ModelFamily) -> int:
        """Return the most grids that a second look encodes again."""
        return -(-self.second_look_frames // family.FRAMES_PER_GRID)

    def look_tokens(self, family: ModelFamily) -> int:
        """Return the tokens within the budget that are kept free for a second look."""
        return self.look_grids(family) * (
            family.max_visual_tokens(self.max_pixels) + family.MAX_GRID_TEXT)

    def again_tokens(self, family: ModelFamily) -> int:
        """Return the tokens within the budget that are kept free for what is encoded again."""
        return self.recent_tokens(family) + self.look_tokens(family)

    def recent_grids(self, family: ModelFamily) -> int:
        """Return the most grids of recent frames."""
        return -(-self.recent_frames // family.FRAMES_PER_GRID)

    def grids_per_block(
        self, grid_tokens: int, cameras: int = 1, frames: int = 0, frames_per_grid: int = 2,
    ) -> int:
        """
        Return the grids one forward pass takes: a block, or fewer if a compression frees less.

        :param grid_tokens: tokens of one grid; ``frames_per_grid``, the frames it is made of.
        :param cameras: how many fill blocks at the same time.
        :param frames: frames of the forward pass, if not ``block_size``.
        """
        budget = self.make_budget()
        free = max((budget.tokens - budget.target) // cameras, grid_tokens)
        return max(1, min((frames or self.block_size) // frames_per_grid, free // grid_tokens))

    @property
    def max_block_frames(self) -> int:
        """The most frames of one forward pass."""
        return max(self.block_size, self.max_batch)

    @property
    def question_room(self) -> int:
        """Tokens reserved for a question and its answer."""
        return self.max_question_chars + TEMPLATE_TOKENS + self.max_new_tokens

    @property
    def tail_room(self) -> int:
        """Tokens reserved for a question, its answer and the dialogue before it."""
        return self.session_tokens + self.question_room
