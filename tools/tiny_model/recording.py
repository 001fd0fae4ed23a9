# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Record a simulated stream as what a robot's user knows: a bag and a questions file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.bag import AskedQuestion, TourQuestion, write_bag, write_questions
from tools.tiny_model.exam import examine_suite
from tools.tiny_model.rendering import Renderer
from tools.tiny_model.suites import make_stream
from tools.tiny_model.tour import Film, Tour, film

BAG = 'tour'
QUESTIONS = 'questions.jsonl'

Asked = TypeVar('Asked', bound=TourQuestion)


def record(
    target: Path, suite: str, seed: int, *, frames: int | None = None, questions: int = 20,
    kinds: Sequence[str] | None = None,
) -> list[AskedQuestion]:
    """
    Film a suite's stream and write it to ``target`` with its questions, as ``record_tour`` does.

    :param frames: None: as many as the suite has.
    :param kinds: None: those of the suite.
    :return: the questions, with the visual tokens that show their evidence.
    :raises ConfigurationError: no such suite, seed or kind, or as ``record_tour``.
    """
    return record_tour(
        target, make_stream(suite, seed, frames),
        partial(examine_suite, suite, count=questions, kinds=kinds), suite)


def record_tour(
    target: Path, tour: Tour, draw: Callable[[Tour, Film], list[Asked]], suite: str = '',
) -> list[Asked]:
    """
    Film a tour and write it to ``target`` as ``tour/``, a bag, and ``questions.jsonl``.

    :param draw: draws the questions about the film.
    :param suite: what they are counted under.
    :return: these questions.
    :raises ConfigurationError: the bag is there already, or the renderer does not work here.
    """
    bag = target / BAG
    if bag.exists():
        raise ConfigurationError(f'{bag} is there already; give a new folder')
    shots = film(Renderer(), tour)
    asked = draw(tour, shots)
    target.mkdir(parents=True, exist_ok=True)
    write_bag(bag, tour, shots)
    write_questions(target / QUESTIONS, asked, suite)
    return asked
