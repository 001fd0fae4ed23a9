# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The output folder of an evaluation, written so that a run that was killed can go on.

===================  ============================================================================
``config.json``      what every outcome depends on; a run with another config is refused
``outcomes.jsonl``   one line per question and variant: the fields of ``outcome.Outcome``
``cells.jsonl``      one line per finished stream and variant: its cost, when and on what it ran,
                     the files it read, and digests of stream and code; outcomes count only once
                     their line is here
``timeline.jsonl``   one line per sample of a stream and variant: ``memory_timeline.Sample``
``left_out.jsonl``   one line per recording that no memory watched: ``outcome.LeftOut``
``frames/``          pictures of questions' evidence, ``<stream>/<question id>.jpg``
``results.json``     config, provenance, the figures of every variant, suite and group, and those
                     at the headline budget, on the streams that all its variants watched
``results.csv``      the same figures, one line each
``report.html``      the same figures as a page, in one file
===================  ============================================================================

Outcomes of one folder are comparable: outcomes of another config, of other code, or of a stream
that has changed since are never mixed in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.outcome import LeftOut, Outcome, StreamResult
from infinipot_ros.evaluation.provenance import code_digest, machine
from infinipot_ros.evaluation.variants import Variant

CONFIG, OUTCOMES, RUNS = 'config.json', 'outcomes.jsonl', 'cells.jsonl'
TIMELINE, FRAMES, LEFT_OUT = 'timeline.jsonl', 'frames', 'left_out.jsonl'
REPORTS = ('results.json', 'results.csv', 'timeline.csv', 'report.html')
ODD_NAMES = 'backslashreplace'
"""How file names that are not UTF-8 are written: as JSON escapes them, so that it reads them."""
FRESH = 'give another --output, or --fresh to delete them'


def write_whole(path: Path, text: str) -> None:
    """Replace a text file atomically: readers find the old one or the new one, never a part."""
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        draft.write_text(text, encoding='utf-8', errors=ODD_NAMES)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def way_out(error: OSError) -> str:
    """Return what helps, besides another folder, where a folder cannot be written."""
    return 'free some space, or ' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''


class RunStore:
    """
    Keep what is finished on disk, after every stream and variant.

    :param folder: created where it is missing; one process at a time may hold it.
    :param config: plain values all outcomes depend on.
    :param fresh: delete what an earlier run left.
    :param option: of the command, which names another place; for its messages.
    :raises ConfigurationError: another process writes there, or the folder holds outcomes of
        another config or other code, files that are not a run's, or a report of something else.
    :ivar elsewhere: what helps where a folder holds something else, for messages.
    :ivar outcomes: all that count, earlier runs' included.
    :ivar runs: the lines of ``cells.jsonl``.
    :ivar timeline: the lines of ``timeline.jsonl``.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, fresh: bool = False,
                 option: str = '--output') -> None:
        self.folder = folder
        self.elsewhere = FRESH.replace('--output', option)
        self._option = option
        self.config = config
        self.outcomes: list[Outcome] = []
        self.runs: list[dict[str, Any]] = []
        self.timeline: list[dict[str, Any]] = []
        self._left_out: dict[str, LeftOut] = {}
        self._code = code_digest()
        with ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._refuse_foreign()
                lock = opened.enter_context((folder / '.lock').open('w'))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if fresh:
                    for name in (*REPORTS, LEFT_OUT, RUNS, OUTCOMES, TIMELINE, CONFIG):
                        (folder / name).unlink(missing_ok=True)
                self._load()
                self._files = {
                    name: opened.enter_context(self._append_to(name))
                    for name in (OUTCOMES, TIMELINE, RUNS)}
            except BlockingIOError as error:
                raise ConfigurationError(
                    f'another run is writing to {folder}; wait for it, or give another '
                    f'{option}',
                ) from error
            except OSError as error:
                raise ConfigurationError(
                    f'{folder} cannot be written: {error.strerror}; {way_out(error)}give another '
                    f'{option}') from error
            self._lock = lock
            opened.pop_all()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *error: object) -> None:
        for file in (*self._files.values(), self._lock):
            # Reported when it was written; an incomplete line is left out later.
            with suppress(OSError):
                file.close()

    def _append_to(self, name: str) -> TextIO:
        return (self.folder / name).open('a', encoding='utf-8', errors=ODD_NAMES)

    def _refuse_foreign(self) -> None:
        """Leave alone what no run can have written: a run writes its config first."""
        if any((self.folder / name).exists() for name in (CONFIG, RUNS, OUTCOMES)):
            return
        # The lock, and the draft of a config that a kill cut off, are a run's.
        others = sorted(each.name for each in self.folder.iterdir()
                        if each.name != '.lock' and not each.name.startswith(f'.{CONFIG}.'))
        if others:
            raise ConfigurationError(
                f'{self.folder} is not empty, and not the output folder of an evaluation: it '
                f'holds {", ".join(others[:3])}{", ..." if len(others) > 3 else ""}; give another '
                f'{self._option}')

    def _load(self) -> None:
        """Read what an earlier run finished, and drop what it had begun."""
        path = self.folder / CONFIG
        try:
            earlier = json.loads(path.read_text(encoding='utf-8')) if path.exists() else None
            self.runs = _read_lines(self.folder / RUNS)
            self._left_out = {
                line['recording']: LeftOut(**line)
                for line in _read_lines(self.folder / LEFT_OUT)}
            codes = {run['code'] for run in self.runs}
            done = self.done
            found = [Outcome(**line) for line in _read_lines(self.folder / OUTCOMES)]
            self.timeline = [
                line for line in _read_lines(self.folder / TIMELINE)
                if (line['stream'], Variant(line['policy'], line['budget'])) in done]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f'{self.folder} holds outcomes this version cannot read ({error}); '
                f'{self.elsewhere}') from error
        if earlier is not None:
            changes = ', '.join(
                f'{key} {earlier.get(key)!r} became {self.config.get(key)!r}'
                for key in sorted({*earlier, *self.config})
                if earlier.get(key) != self.config.get(key))
            if changes:
                raise ConfigurationError(
                    f'{self.folder} holds outcomes of another configuration ({changes}); '
                    f'{self.elsewhere}')
        if codes - {self._code}:
            raise ConfigurationError(
                f'{self.folder} holds outcomes of other code ({", ".join(sorted(codes))}, this is '
                f'{self._code}); {self.elsewhere}')
        self.outcomes = [each for each in found if (each.stream, each.variant) in done]
        write_whole(path, json.dumps(self.config, indent=1) + '\n')
        write_whole(self.folder / OUTCOMES, _lines(map(asdict, self.outcomes)))
        write_whole(self.folder / TIMELINE, _lines(self.timeline))
        write_whole(self.folder / RUNS, _lines(self.runs))

    @property
    def done(self) -> set[tuple[str, Variant]]:
        """Streams and variants that are finished."""
        return {(run['stream'], Variant(run['policy'], run['budget'])) for run in self.runs}

    @property
    def left_out(self) -> list[LeftOut]:
        """Recordings that no memory watched, neither now nor in an earlier run."""
        watched = {run['stream'] for run in self.runs}
        return [each for name, each in self._left_out.items() if name not in watched]

    def leave_out(self, found: Sequence[LeftOut]) -> None:
        """
        Store which recordings are not watched, and why.

        :raises ConfigurationError: it cannot be written.
        """
        self._left_out |= {each.recording: each for each in found}
        if found:
            self._replace(LEFT_OUT, _lines(map(asdict, self.left_out)))

    def add(self, result: StreamResult, ran_on: Mapping[str, Any] | None = None) -> None:
        """
        Store a result; once this returns it survives a kill.

        :param ran_on: what it ran on, as ``machine`` returns it; None for this process.
        :raises ConfigurationError: an earlier run saw other frames or questions under that name,
            or it cannot be written; earlier results are kept.
        """
        if any(line['stream'] == result.stream and line['digest'] != result.digest
               for line in self.runs):
            raise ConfigurationError(
                f'stream {result.stream} has changed since {self.folder} was begun; its outcomes '
                f'are not comparable: {self.elsewhere}')
        line = asdict(replace(result, outcomes=[], timeline=[]))
        del line['variant'], line['outcomes'], line['timeline']
        line |= asdict(result.variant) | {
            'questions': len(result.outcomes), 'code': self._code, **(ran_on or machine()),
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds')}
        samples = [asdict(sample) for sample in result.timeline]
        try:
            for name, values in (
                    (OUTCOMES, map(asdict, result.outcomes)), (TIMELINE, samples),
                    (RUNS, [line])):
                self._files[name].write(_lines(values))
                self._files[name].flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.runs.append(line)
        self.timeline += samples
        self.outcomes += result.outcomes

    def put_in_order(self) -> None:
        """
        Sort outcomes, so that the file does not depend on which process finished first.

        :raises ConfigurationError: it cannot be written; results are kept as they came.
        """
        self.outcomes.sort(key=lambda each: (each.suite, each.seed, each.stream, each.variant))
        self._replace(OUTCOMES, _lines(map(asdict, self.outcomes)))
        self._files[OUTCOMES].close()
        self._files[OUTCOMES] = self._append_to(OUTCOMES)

    def _replace(self, name: str, text: str) -> None:
        try:
            write_whole(self.folder / name, text)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f'{self.folder} cannot be written: {error.strerror}; the {len(self.runs)} runs that '
            'are finished are kept: free some space and run again')


def _lines(values: Iterable[dict[str, Any]]) -> str:
    return ''.join(json.dumps(value, ensure_ascii=False) + '\n' for value in values)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines; a last line that a kill cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding='utf-8', errors='replace')
    # Not splitlines(): an answer may hold any other line separator of Unicode.
    return [json.loads(line) for line in text.split('\n')[:-1]]
