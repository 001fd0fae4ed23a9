# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Whether an uncompressed memory gives the scores of the plain pipeline.

The memory and the plain model are loaded one after the other, so that the device never holds both.
In float32 only the order of sums differs. In 16 bits rounding does, and how much that matters is
measured: it is what the plain model itself loses from float32 to that dtype.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import transformers
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.verify.bundled_clip import BundledClip
from infinipot_ros.evaluation.verify.one_shot_model import OneShotModel
from infinipot_ros.evaluation.verify.one_shot_prompt import OneShotPrompt
from infinipot_ros.evaluation.verify.verification_record import Equality, PositionCheck
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import available_bytes, plan_memory
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_checkpoint, load_config
from infinipot_ros.vlm.model import VisionLanguageModel

EXACT = 'float32'
# An odd number: the last grid has one frame, which counts twice.
FRAMES = 9
NEW_TOKENS = 8
#: Of the largest score, or of 1 if that is less: the difference allowed in float32, and in 16
#: bits where the plain model's own rounding is not known.
SHARES = {'float32': 1e-4, 'float16': 0.01, 'bfloat16': 0.05}
#: How many times its own rounding a 16-bit model may differ.
ROUNDINGS = 3.0


class EqualityCheck:
    """
    Compare a memory with the plain pipeline, in float32 and at the wanted dtype.

    :param settings: of the memory; its budget and policy do not matter here.
    :param plain: the model to compare with; None: the same one.
    :ivar normalisation: where the plain side's mean and deviation of pixels are from.
    :ivar positions: the prompt's against transformers' own; None before anything was compared.
    """

    def __init__(
        self, settings: MemoryConfig, clip: BundledClip, plain: str | None = None,
        on_state: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._settings = settings
        self._plain = settings.model if plain is None else plain
        self._frames = clip.frames[:FRAMES]
        self._question = clip.questions[0].question
        self._on_state = on_state
        # Of the first token, by the plain model in float32.
        self._exact: Tensor | None = None
        self.normalisation = ''
        self.positions: PositionCheck | None = None

    def run(self) -> list[Equality]:
        """Compare, the more exact dtype first."""
        return [self._compare(dtype) for dtype in dict.fromkeys((EXACT, self._settings.dtype))]

    def _memory_settings(self, dtype: str) -> MemoryConfig:
        """Return settings of a memory that the frames do not fill."""
        config = load_config(self._settings.model, local_files_only=True)
        settings = replace(
            self._settings, dtype=dtype, policy=DEFAULT_POLICY, max_new_tokens=NEW_TOKENS,
            budget=2 ** 20, cuda_graph=False, max_evidence=0)
        grid_tokens = settings.max_grid_tokens(make_family(config))
        settings = replace(settings, budget=(FRAMES + 1) * grid_tokens)
        plan_memory(config, settings).check(available_bytes(settings.device), settings.device)
        return settings

    def _compare(self, dtype: str) -> Equality:
        try:
            settings = self._memory_settings(dtype)
            self._on_state(f'equality in {dtype}: the memory')
            prompt, ours = memory_scores(settings, self._frames, self._question)
            release(settings.device)
            self._on_state(f'equality in {dtype}: the plain model')
            theirs = self._plain_scores(settings, prompt)
        except (ConfigurationError, torch.cuda.OutOfMemoryError) as error:
            return Equality(dtype=dtype, skipped=str(error))
        finally:
            release(self._settings.device)
        difference = float((ours - theirs).abs().max())
        largest = float(theirs.abs().max())
        limit, limit_is = self._limit(dtype, theirs, largest)
        return Equality(
            dtype=dtype, difference=difference, limit=limit, limit_is=limit_is,
            largest_score=largest, tokens=len(ours), prompt_tokens=len(prompt.ids),
            same_best=int((ours.argmax(-1) == theirs.argmax(-1)).sum()),
            # Not the other way round: NaN must fail.
            passed=difference <= limit)

    def _plain_scores(self, settings: MemoryConfig, prompt: OneShotPrompt) -> Tensor:
        plain = OneShotModel(self._plain, load_checkpoint(
            self._plain, device=settings.device, dtype=settings.dtype,
            attn_implementation=settings.attn_implementation, weights=settings.weights))
        self.normalisation = plain.normalisation.source
        if self.positions is None:
            self.positions = _compare_positions(plain, prompt)
        return plain.scores(prompt)

    def _limit(self, dtype: str, theirs: Tensor, largest: float) -> tuple[float, str]:
        if dtype == EXACT:
            self._exact = theirs[0]
        elif self._exact is not None:
            rounding = float((theirs[0] - self._exact).abs().max())
            return ROUNDINGS * rounding, (
                f'{ROUNDINGS:g} times what the plain model differs from itself in {EXACT}')
        return SHARES[dtype] * max(1.0, largest), f'{SHARES[dtype]:g} of the largest score'


def memory_scores(
    settings: MemoryConfig, frames: Sequence[Frame], question: str,
) -> tuple[OneShotPrompt, Tensor]:
    """
    Show frames to a new memory, ask, and take down the scores of each token of the answer.

    :return: the same as one prompt, and the scores: float32 ``[n, vocabulary]``, on the CPU.
    """
    memory = VisualMemory(settings)
    for frame in frames:
        memory.add_frame(frame.rgb, frame.stamp_ns)
    found: list[Tensor] = []
    memory.model.on_scores = lambda scores: found.append(scores.cpu().clone())
    with never_stopping(memory.model):
        memory.ask(question)
    answer = [int(scores.argmax()) for scores in found[:-1]]
    prompt = OneShotPrompt.of(memory.model, frames, question, settings.max_pixels, answer)
    return prompt, torch.stack(found)


def release(device: str) -> None:
    """Free what is no longer used, so that the next model fits."""
    gc.collect()
    if device.startswith('cuda'):
        torch.cuda.empty_cache()


@contextmanager
def never_stopping(model: VisionLanguageModel) -> Iterator[None]:
    """Decode as many tokens as asked for, whatever they are."""
    before, model.stop_ids = model.stop_ids, frozenset()
    try:
        yield
    finally:
        model.stop_ids = before


def _compare_positions(plain: OneShotModel, prompt: OneShotPrompt) -> PositionCheck:
    release_name = f'transformers {transformers.__version__}'
    try:
        theirs = plain.own_positions(prompt)
    except ConfigurationError as error:
        return PositionCheck(
            tokens=len(prompt.ids), different=None, largest_difference=None, note=str(error))
    ours = prompt.positions if theirs.dim() == 3 else prompt.positions[0]
    apart = (ours - theirs).abs().reshape(-1, len(prompt.ids)).amax(0)
    different = apart.nonzero().flatten()
    note = f'as {release_name} computes them' if not len(different) else (
        f'{release_name} numbers the prompt differently from token {int(different[0])} on')
    return PositionCheck(
        tokens=len(prompt.ids), different=len(different), largest_difference=int(apart.max()),
        note=note)
