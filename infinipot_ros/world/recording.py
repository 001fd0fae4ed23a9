# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Record the stream of a suite as what a robot's user knows: a bag and a questions file."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.world.bag import write_bag, write_questions
from infinipot_ros.world.exam import SUITE_KINDS, AskedQuestion, examine_suite
from infinipot_ros.world.rendering import Renderer
from infinipot_ros.world.suites import make_stream
from infinipot_ros.world.tour import film

BAG = 'tour'
QUESTIONS = 'questions.jsonl'


def record(
    target: Path, suite: str, seed: int, *, frames: int | None = None, questions: int = 20,
    kinds: tuple[str, ...] = SUITE_KINDS,
) -> list[AskedQuestion]:
    """
    Film a suite's stream and write it to ``target`` as ``tour/``, a bag, and ``questions.jsonl``.

    :param frames: None: as many as the suite has.
    :return: the questions, with the visual tokens that show their evidence.
    :raises ConfigurationError: no such suite, seed or kind, the bag is there already, or the
        renderer does not work here.
    """
    bag = target / BAG
    if bag.exists():
        raise ConfigurationError(f'{bag} is there already; give a new folder')
    tour = make_stream(suite, seed, frames)
    shots = film(Renderer(), tour)
    asked = examine_suite(suite, tour, shots, questions, kinds=kinds)
    target.mkdir(parents=True, exist_ok=True)
    write_bag(bag, tour, shots)
    write_questions(target / QUESTIONS, asked)
    return asked
