# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The suites' streams as a benchmark takes them, filmed once and kept on disk.

A film is stored as its jpegs and its rendered truth, under a name that tells what was filmed and
by which code of ours. Another version of the simulator or of the jpeg encoder films it a little
differently: empty the cache after such a change. Questions are drawn anew each time.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.stream import QualityStream
from tools.tiny_model import house, rendering, tour
from tools.tiny_model.bag import TourQuestion
from tools.tiny_model.exam import examine_now, examine_suite
from tools.tiny_model.suites import make_stream
from tools.tiny_model.tour import Film, Tour, decode_jpeg, film

if TYPE_CHECKING:
    from tools.tiny_model.rendering import Renderer

STREAM_CODE = (
    'bag', 'dataset', 'delays', 'driver', 'evidence', 'exam', 'eye', 'house', 'questions',
    'rendering', 'splits', 'suites', 'tour')


@lru_cache(maxsize=1)
def _renderer() -> Renderer:
    return rendering.Renderer()


@lru_cache(maxsize=1)
def _code_digest() -> bytes:
    """Identify the source of everything a film follows from, besides the tour."""
    seen = hashlib.blake2b()
    for module in (house, rendering, tour):
        seen.update(Path(str(module.__file__)).read_bytes())
    return seen.digest()


def stream_code() -> str:
    """Identify the source of all that makes streams and questions; films are cached apart."""
    seen = hashlib.blake2b(digest_size=6)
    folder = Path(str(house.__file__)).parent
    own = [Path(__file__), Path(__file__).with_name('long_streams.py')]
    for path in [*own, *(folder / f'{name}.py' for name in sorted(STREAM_CODE))]:
        seen.update(path.stem.encode() + path.read_bytes())
    return seen.hexdigest()


def film_name(drive: Tour) -> str:
    """Identify a film before it is made: its tour, its house and the code that films."""
    seen = hashlib.blake2b(_code_digest(), digest_size=12)
    seen.update(repr(drive.house).encode())
    for array in (drive.poses, drive.stamps_ns, drive.present):
        seen.update(b'' if array is None else array.tobytes())
    return seen.hexdigest()


def load_film(drive: Tour, cache: Path | None) -> Film:
    """
    Film a tour, or take the film from ``cache``; None keeps nothing.

    :raises ConfigurationError: the renderer does not work here, or the cache cannot be written.
    """
    if cache is None:
        return film(_renderer(), drive)
    path = cache / 'films' / f'{film_name(drive)}.npz'
    if path.exists():
        return _read_film(path)
    shots = film(_renderer(), drive)
    draft = path.with_name(f'.{path.stem}.{os.getpid()}.npz')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez_compressed(
                draft, jpegs=np.frombuffer(b''.join(shots.jpegs), np.uint8),
                sizes=np.array([len(data) for data in shots.jpegs]), things=shots.things,
                rooms=shots.rooms, inside=shots.inside)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f'{path.parent} cannot be written ({error.strerror}); give another --cache') from error
    return shots


def _read_film(path: Path) -> Film:
    with np.load(path, allow_pickle=False) as stored:
        data, ends = stored['jpegs'].tobytes(), np.cumsum(stored['sizes']).tolist()
        jpegs = tuple(data[start:end] for start, end in zip([0, *ends], ends))
        return Film(
            np.stack([decode_jpeg(jpeg) for jpeg in jpegs]), jpegs, stored['things'],
            stored['rooms'], stored['inside'])


def stream_name(suite: str, seed: int) -> str:
    """Name the stream of a suite and a seed."""
    return f'{suite}-{seed}'


def as_question(asked: TourQuestion) -> Question:
    """Put a question about a tour into the form that every benchmark asks in."""
    return Question(
        asked.id, asked.question, asked.answer, asked.kind, ask_at_ns=asked.ask_at,
        delay=asked.delay, evidence=asked.evidence, tokens=getattr(asked, 'tokens', None))


def load_stream(
    suite: str, seed: int, *, frames: int | None = None, questions: int = 20,
    cache: Path | None = None, now: int = 0,
) -> QualityStream:
    """
    Make the stream of a suite and a seed, with its questions.

    :param frames: None: as many as the suite has.
    :param cache: where films are kept.
    :param now: how many questions about the present there are besides.
    :raises ConfigurationError: no such suite or seed, or the renderer does not work here.
    """
    drive = make_stream(suite, seed, frames)
    shots = load_film(drive, cache)
    asked = [as_question(each) for each in examine_suite(suite, drive, shots, questions)]
    if now:
        asked += [as_question(each) for each in examine_now(suite, drive, shots, now)]
    return QualityStream(
        stream_name(suite, seed), suite, seed, shots.frames, drive.stamps_ns.tolist(), asked)
