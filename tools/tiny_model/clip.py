# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make the clip that ``infinipot verify`` plays: large pictures of a short tour, and questions.

    PYTHONPATH=. python tools/tiny_model/clip.py demo/clip

The pictures are larger than those of the bundled model, so that published models get as many
visual tokens as from a camera.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.tiny_model.evidence import Sightings
from tools.tiny_model.exam import sight_until
from tools.tiny_model.questions import ask
from tools.tiny_model.rendering import HEIGHT, WIDTH, Renderer
from tools.tiny_model.tour import CELL, Film, encode_jpeg, film, make_tour

SEED, FRAMES = 2_000_010, 48
#: How much larger than those of the bundled model.
SCALE = 4
QUALITY = 80
#: What is asked about, and how an answer of any model is scored.
SCORERS = {'colour': 'phrase', 'seen': 'yes_no', 'room': 'phrase', 'count': 'number'}
QUESTIONS = 6


def write_clip(folder: Path, seed: int = SEED) -> None:
    """Write a tour's pictures, ``000.jpg`` and on at two a second, and ``questions.jsonl``."""
    tour = make_tour(seed, FRAMES)
    shots = film(Renderer(SCALE * WIDTH, SCALE * HEIGHT), tour)
    sight = sight_until(tour, Sightings(_as_usual(shots)), FRAMES - 1)
    rng = np.random.default_rng([seed, 7])
    found: dict[str, dict[str, str]] = {}
    for number in range(60 * QUESTIONS):
        asked = ask([*SCORERS][number % len(SCORERS)], sight, rng, canonical=True)
        if asked is not None and len(found) < QUESTIONS:
            found.setdefault(asked.text, {
                'question': asked.text, 'answer': asked.answer, 'kind': asked.kind,
                'scorer': SCORERS[asked.kind]})
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(shots.frames):
        (folder / f'{number:03}.jpg').write_bytes(encode_jpeg(frame, QUALITY))
    lines = [{'id': f'q{number}', **line} for number, line in enumerate(found.values(), 1)]
    (folder / 'questions.jsonl').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines), encoding='utf-8')


def _as_usual(shots: Film) -> Film:
    """Count pixels in the cells of pictures of the usual size, which questions are judged by."""
    def merged(counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        rows, columns = HEIGHT // CELL, WIDTH // CELL
        cells = counts.reshape(len(counts), rows, SCALE, columns, SCALE, -1).sum((2, 4))
        return (cells // SCALE ** 2).reshape(len(counts), rows * columns, -1).astype(np.uint16)

    frames = np.stack([
        np.asarray(Image.fromarray(frame).resize((WIDTH, HEIGHT))) for frame in shots.frames])
    return replace(
        shots, frames=frames, things=merged(shots.things), rooms=merged(shots.rooms))


if __name__ == '__main__':
    write_clip(Path(sys.argv[1]))
