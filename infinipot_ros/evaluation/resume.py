# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a run finds in its output folder: whether it may go on with it, and as what.

What is finished is neither watched nor asked again, so it must be about the same recordings and
the same questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.evaluation.report.formatting import count_text
from infinipot_ros.evaluation.run_store import FRESH, RunStore
from infinipot_ros.evaluation.stream import questions_digest
from infinipot_ros.evaluation.stream_dump import HEADER, dump_folder
from infinipot_ros.evaluation.tasks import StreamTask

MAX_NAMED = 3


def refuse_changed(journal: RunStore, recordings: Sequence[Recording]) -> None:
    """
    Make sure that finished runs are of these recordings and questions.

    :raises ConfigurationError: one of that name is of others.
    """
    finished = {run['stream']: run for run in journal.runs}
    for recording in recordings:
        run = finished.get(recording.name)
        if run is None:
            continue
        if run['asked'] != questions_digest(recording.questions):
            raise ConfigurationError(
                f'{journal.folder} holds answers to other questions about {recording.name}; '
                f'{FRESH}')
        read = {each['sha256'] for each in run['inputs']}
        # With a dump the recording need not be there any more.
        if recording.path.exists() and not {
                each['sha256'] for each in described(recording.path)} <= read:
            raise ConfigurationError(
                f'{journal.folder} holds answers about {recording.name}, but of another recording '
                f'than {recording.path} is now; {FRESH}')


def refuse_undumped(journal: RunStore, tasks: Sequence[StreamTask], dump: Path | None) -> None:
    """
    Make sure that what is finished was dumped, if it is to be.

    :raises ConfigurationError: it was not, and will not be watched again.
    """
    if dump is None:
        return
    # Nothing can be dumped of a recording that lacks all that is asked about.
    empty = {run['stream'] for run in journal.runs if not run['stream_tokens']}
    for task in tasks:
        finished = all((task.name, cell) in journal.done for cell in task.cells)
        if finished and task.name not in empty and not (
                dump_folder(dump, task.name) / HEADER).exists():
            raise ConfigurationError(
                f'{task.name} is finished in {journal.folder} but was not dumped; give another '
                '--output, or --fresh')


def numbered(
    journal: RunStore, tasks: Sequence[StreamTask], recordings: Sequence[Recording],
) -> tuple[list[StreamTask], list[Recording]]:
    """
    Number streams as earlier runs did, and new ones as none of these.

    Streams of one number would be taken for one where intervals are drawn.
    """
    numbers = {each.stream: each.seed for each in journal.outcomes}
    for index, recording in enumerate(recordings):
        if recording.name not in numbers:
            taken = set(numbers.values())
            numbers[recording.name] = index if index not in taken else max(taken) + 1
    return ([replace(task, seed=numbers[task.name]) for task in tasks],
            [replace(recording, seed=numbers[recording.name]) for recording in recordings])


def not_named(journal: RunStore, recordings: Sequence[Recording]) -> str:
    """Tell what the folder holds besides these recordings; nothing if that is nothing."""
    others = sorted({each.stream for each in journal.outcomes}
                    - {each.name for each in recordings})
    if not others:
        return ''
    more = ', ...' if len(others) > MAX_NAMED else ''
    return (f'{journal.folder} also holds {count_text(len(others), "recording")} that '
            f'{"is" if len(others) == 1 else "are"} not named now '
            f'({", ".join(others[:MAX_NAMED])}{more}); the report counts them')
