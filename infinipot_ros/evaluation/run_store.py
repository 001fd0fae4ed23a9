# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The output folder of a benchmark, written so that a run that was killed goes on.

===================  ============================================================================
``config.json``      what every outcome depends on; a run with another one is refused
``outcomes.jsonl``   one line a question and cell: the fields of ``quality.Outcome``
``cells.jsonl``      one line a finished stream and cell: its cost, when and on what it ran, the
                     files it read, and digests of stream and code; outcomes count only once their
                     line is here
``timeline.jsonl``   one line a sample of a stream and cell: the fields of ``timeline.Sample``
``left_out.jsonl``   one line a recording that no memory watched: ``outcome.LeftOut``
``frames/``          pictures of questions' evidence, ``<stream>/<question id>.jpg``
``results.json``     config, provenance, the figures of every cell, suite and group, and those at
                     the headline budget, on the streams that all its cells watched
``results.csv``      the same figures, one line each
``report.html``      the same figures to look at, in one file that needs no other
===================  ============================================================================

Outcomes of one folder are comparable: what was found with another config, other code or on a
stream that has changed since is never mixed in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.outcome import CellRun, LeftOut, Outcome
from infinipot_ros.evaluation.provenance import code_digest, machine
from infinipot_ros.evaluation.variants import Variant

CONFIG, OUTCOMES, CELLS = 'config.json', 'outcomes.jsonl', 'cells.jsonl'
TIMELINE, FRAMES, LEFT_OUT = 'timeline.jsonl', 'frames', 'left_out.jsonl'
REPORTS = ('results.json', 'results.csv', 'timeline.csv', 'report.html')
ODD_NAMES = 'backslashreplace'
"""How a file's name that is no text is written: as JSON writes it too, so that it reads back."""
FRESH = 'give another --output, or --fresh to throw them away'


def write_whole(path: Path, text: str) -> None:
    """Put a text file in place of what was there: the old one or the new one, never a part."""
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        draft.write_text(text, encoding='utf-8', errors=ODD_NAMES)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def way_out(error: OSError) -> str:
    """Say what helps where a folder cannot be written, but for giving another one."""
    return 'free some space, or ' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''


class RunStore:
    """
    What is finished, kept on disk after every stream and cell.

    :param folder: made where it is missing; one process at a time may hold it.
    :param config: plain values all outcomes depend on.
    :param fresh: throw away what an earlier run left.
    :raises ConfigurationError: another process writes there, or the folder holds outcomes of
        another config or other code, what is no journal, or a report of something else.
    :ivar outcomes: all that count, earlier runs' included.
    :ivar runs: the lines of ``cells.jsonl``.
    :ivar timeline: the lines of ``timeline.jsonl``.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, fresh: bool = False) -> None:
        self.folder = folder
        self.config = config
        self.outcomes: list[Outcome] = []
        self.runs: list[dict[str, Any]] = []
        self.timeline: list[dict[str, Any]] = []
        self._left_out: dict[str, LeftOut] = {}
        self._code = code_digest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / '.lock').open('w')
        except OSError as error:
            raise ConfigurationError(
                f'{folder} cannot be written: {error.strerror}; {way_out(error)}give another '
                '--output') from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ConfigurationError(
                f'another run is writing to {folder}; wait for it, or give another --output',
            ) from error
        try:
            self._refuse_foreign()
            if fresh:
                for name in (*REPORTS, LEFT_OUT, CELLS, OUTCOMES, TIMELINE, CONFIG):
                    (folder / name).unlink(missing_ok=True)
            self._take_up()
            self._files = {
                name: self._append_to(name) for name in (OUTCOMES, TIMELINE, CELLS)}
        except OSError as error:
            self._lock.close()
            raise ConfigurationError(
                f'{folder} cannot be written: {error.strerror}; {way_out(error)}give another '
                '--output') from error
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (*self._files.values(), self._lock):
            try:
                file.close()
            except OSError:
                pass  # told when it was written; a line that is not whole is left out later

    def _append_to(self, name: str) -> TextIO:
        return (self.folder / name).open('a', encoding='utf-8', errors=ODD_NAMES)

    def _refuse_foreign(self) -> None:
        """Leave reports alone that no run of ours can have written: it begins with its config."""
        if any((self.folder / name).exists() for name in (CONFIG, CELLS, OUTCOMES)):
            return
        for name in REPORTS:
            if (self.folder / name).exists():
                raise ConfigurationError(
                    f'{self.folder / name} would be overwritten, but {self.folder} is no output '
                    'folder of an evaluation; give another --output')

    def _take_up(self) -> None:
        """Read what an earlier run finished, and leave out what it had begun."""
        path = self.folder / CONFIG
        try:
            earlier = json.loads(path.read_text(encoding='utf-8')) if path.exists() else None
            self.runs = _read_lines(self.folder / CELLS)
            self._left_out = {
                line['recording']: LeftOut(**line)
                for line in _read_lines(self.folder / LEFT_OUT)}
            codes = {run['code'] for run in self.runs}
            done = self.done
            found = [Outcome(**line) for line in _read_lines(self.folder / OUTCOMES)]
            samples = [
                line for line in _read_lines(self.folder / TIMELINE)
                if (line['stream'], Variant(line['policy'], line['budget'])) in done]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f'{self.folder} holds outcomes this version cannot read ({error}); {FRESH}',
            ) from error
        if earlier is not None:
            differing = sorted(
                key for key in {*earlier, *self.config}
                if earlier.get(key) != self.config.get(key))
            if differing:
                changes = ', '.join(
                    f'{key} {earlier.get(key)!r} became {self.config.get(key)!r}'
                    for key in differing)
                raise ConfigurationError(
                    f'{self.folder} holds outcomes of another configuration ({changes}); {FRESH}')
        if codes - {self._code}:
            raise ConfigurationError(
                f'{self.folder} holds outcomes of other code ({", ".join(sorted(codes))}, this is '
                f'{self._code}); {FRESH}')
        self.outcomes = [each for each in found if (each.stream, each.cell) in done]
        self.timeline = samples
        write_whole(path, json.dumps(self.config, indent=1) + '\n')
        self._write(self.outcomes)
        write_whole(self.folder / TIMELINE, _lines(self.timeline))
        write_whole(self.folder / CELLS, _lines(self.runs))

    @property
    def done(self) -> set[tuple[str, Variant]]:
        """Streams and cells that are finished."""
        return {(run['stream'], Variant(run['policy'], run['budget'])) for run in self.runs}

    @property
    def left_out(self) -> list[LeftOut]:
        """Recordings that no memory watched, neither now nor in an earlier run."""
        watched = {run['stream'] for run in self.runs}
        return [each for name, each in self._left_out.items() if name not in watched]

    def leave_out(self, found: Sequence[LeftOut]) -> None:
        """
        Keep what is not watched, and why.

        :raises ConfigurationError: it cannot be written.
        """
        self._left_out |= {each.recording: each for each in found}
        if found:
            self._replace(LEFT_OUT, _lines(map(asdict, self.left_out)))

    def add(self, run: CellRun, ran_on: Mapping[str, Any] | None = None) -> None:
        """
        Keep a finished run; once this returns it survives a kill.

        :param ran_on: what it ran on, as ``machine`` tells; None for this process.
        :raises ConfigurationError: an earlier run saw other frames or questions by that name, or
            it cannot be written; what was kept before is there.
        """
        if any(line['stream'] == run.stream and line['digest'] != run.digest
               for line in self.runs):
            raise ConfigurationError(
                f'stream {run.stream} is not what it was when {self.folder} was begun; its '
                f'outcomes do not go together: {FRESH}')
        line = asdict(replace(run, outcomes=[], timeline=[]))
        del line['cell'], line['outcomes'], line['timeline']
        line |= asdict(run.cell) | {
            'questions': len(run.outcomes), 'code': self._code, **(ran_on or machine()),
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds')}
        samples = [asdict(sample) for sample in run.timeline]
        try:
            for name, values in (
                    (OUTCOMES, map(asdict, run.outcomes)), (TIMELINE, samples), (CELLS, [line])):
                self._files[name].write(_lines(values))
                self._files[name].flush()
        except OSError as error:
            raise ConfigurationError(
                f'{self.folder} cannot be written: {error.strerror}; the {len(self.runs)} runs '
                'that were finished before are kept: free some space and run again') from error
        self.runs.append(line)
        self.timeline += samples
        self.outcomes += run.outcomes

    def put_in_order(self) -> None:
        """
        Sort outcomes, so that the file does not depend on which process finished first.

        :raises ConfigurationError: it cannot be written; what is finished is kept as it came.
        """
        self.outcomes.sort(key=lambda each: (each.suite, each.seed, each.stream, each.cell))
        self._replace(OUTCOMES, _lines(map(asdict, self.outcomes)))
        self._files[OUTCOMES].close()
        self._files[OUTCOMES] = self._append_to(OUTCOMES)

    def _replace(self, name: str, text: str) -> None:
        try:
            write_whole(self.folder / name, text)
        except OSError as error:
            raise ConfigurationError(
                f'{self.folder} cannot be written: {error.strerror}; the {len(self.runs)} runs '
                'that are finished are kept: free some space and run again') from error

    def _write(self, outcomes: Iterable[Outcome]) -> None:
        write_whole(self.folder / OUTCOMES, _lines(map(asdict, outcomes)))


def _lines(values: Iterable[dict[str, Any]]) -> str:
    return ''.join(json.dumps(value, ensure_ascii=False) + '\n' for value in values)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines; a last line that a kill cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding='utf-8', errors='replace')
    # Not splitlines(): an answer may hold any other line separator of Unicode.
    return [json.loads(line) for line in text.split('\n')[:-1]]
