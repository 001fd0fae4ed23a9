# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public benchmarks whose question files can be read, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.benchmarks import (
    egoschema,
    lvb,
    mlvu,
    navqa,
    openeqa,
    ovobench,
    river,
    rvs,
    streamingbench,
    videomme,
)
from infinipot_ros.evaluation.question import QuestionedVideo

READERS: Mapping[str, Callable[[Path], list[QuestionedVideo]]] = MappingProxyType({
    'mlvu': mlvu.read, 'videomme': videomme.read, 'egoschema': egoschema.read, 'lvb': lvb.read,
    'ovobench': ovobench.read, 'streamingbench': streamingbench.read, 'openeqa': openeqa.read,
    'rvs': rvs.read, 'river': river.read, 'navqa': navqa.read,
})
FORMATS: tuple[str, ...] = tuple(READERS)


def load(name: str, path: Path) -> list[QuestionedVideo]:
    """
    Read a benchmark's file of questions.

    :param name: one of ``FORMATS``.
    :param path: its annotation file; a folder where the format's module says so.
    :return: its videos in the order of the file; a video occurs more than once where its parts are
        shown separately. ``video`` is the name in the file, perhaps without extension.
    :raises ConfigurationError: an unknown format.
    :raises SourceError: the file cannot be read, or is not of that format; the message names the
        entry.
    """
    reader = READERS.get(name)
    if reader is None:
        raise ConfigurationError(
            f'there is no benchmark format {name!r}; there are {", ".join(FORMATS)}')
    return reader(path)
