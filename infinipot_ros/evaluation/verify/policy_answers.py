# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each policy's memory answers about the clip, at a budget that makes it evict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from infinipot_ros.errors import InfinipotError
from infinipot_ros.evaluation.scoring import RIGHT, SCORERS
from infinipot_ros.evaluation.variants import FULL
from infinipot_ros.evaluation.verify.bundled_clip import BundledClip
from infinipot_ros.evaluation.verify.verification_record import PolicyAnswer, PolicyAnswers
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model import VisionLanguageModel

#: The clip's tokens to the budget of every policy that evicts.
CLIP_TO_BUDGET = 4


def ask_policies(
    policies: Sequence[str], settings: MemoryConfig, model: VisionLanguageModel,
    clip: BundledClip, on_state: Callable[[str], None] = lambda text: None,
) -> Iterator[PolicyAnswers]:
    """
    Show the clip to a memory of each policy and ask its questions.

    :param settings: of the memories, but for policy and budget; the budget is at most this one's.
    """
    height, width = clip.frames[0].rgb.shape[:2]
    grid = model.grid_tokens(*model.encoded_size(height, width, settings.max_pixels))
    whole = -(-len(clip.frames) // model.family.FRAMES_PER_GRID) * grid
    largest = settings.max_grid_tokens(model.family)
    for policy in policies:
        on_state(f'answers of {policy}')
        # What never evicts holds all of it.
        budget = max(whole, largest) if policy == FULL else min(
            settings.budget, max(whole // CLIP_TO_BUDGET, largest))
        try:
            yield _ask(replace(settings, policy=policy, budget=budget), model, clip)
        except InfinipotError as error:
            yield PolicyAnswers(
                policy=policy, budget=budget, compressions=0, answers=[], skipped=str(error))


def _ask(
    settings: MemoryConfig, model: VisionLanguageModel, clip: BundledClip,
) -> PolicyAnswers:
    memory = VisualMemory(settings, model)
    for frame in clip.frames:
        memory.add_frame(frame.rgb, frame.stamp_ns)
    answers = []
    for question in clip.questions:
        text = memory.ask(question.question).text
        answers.append(PolicyAnswer(
            question=question.question, expected=question.answer, answer=text,
            right=SCORERS[question.scorer](question, text) >= RIGHT))
    return PolicyAnswers(
        policy=settings.policy, budget=settings.budget,
        compressions=memory.status().compressions, answers=answers)
