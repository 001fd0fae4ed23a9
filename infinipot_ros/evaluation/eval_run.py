# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot eval``, from its settings to its exit code.

Whatever happens, what was finished is in the output folder, and reported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infinipot_ros.errors import ConfigurationError, InfinipotError, SourceError
from infinipot_ros.evaluation.cluster import run_on_cluster
from infinipot_ros.evaluation.eval_inputs import Found, Wanted
from infinipot_ros.evaluation.judge import Judge, judge_outcomes
from infinipot_ros.evaluation.outcome import LeftOut, Outcome
from infinipot_ros.evaluation.progress import show_progress
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.evaluation.report.caveats import left_out, left_out_text
from infinipot_ros.evaluation.report.quality_report import overview_table, write_report
from infinipot_ros.evaluation.resume import (
    not_named,
    numbered,
    refuse_changed,
    refuse_undumped,
)
from infinipot_ros.evaluation.run_store import LEFT_OUT, RunStore
from infinipot_ros.evaluation.stream_loader import StreamLoader
from infinipot_ros.evaluation.task_runner import count_workers, measure, quality_settings
from infinipot_ros.evaluation.tasks import Failure, StreamTask
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant, make_cells
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import (
    load_shared_model,
    model_caveat,
    weights_digest,
)

DONE, BELOW, REFUSED, INTERRUPTED = 0, 1, 2, 130
SHORTEST_QUESTION_ROOM = 200
MAX_TOLD = 5


class EvalRun:
    """
    Watches recordings with every cell and reports.

    :param dataset: the format of a public benchmark, None for recordings of one's own.
    :raises ConfigurationError: a policy or a budget that does not exist.
    """

    def __init__(
        self, output: Path, *, policies: Sequence[str], budgets: Sequence[str],
        preset: str | None, dump: Path | None, load_dumped: Path | None, workers: int | None,
        ray: str | None, fail_under: float | None, wanted: Wanted, dataset: str | None,
    ) -> None:
        self._output, self._wanted, self._workers, self._ray = output, wanted, workers, ray
        self._dump, self._load_dumped = dump, load_dumped
        self._fail_under = fail_under
        self._cells = make_cells(policies, budgets)
        self._headline = next(
            (cell for cell in self._cells if cell.budget != FULL), self._cells[0])
        self._named = {'preset': preset, 'dataset': dataset}
        self._judge: Judge | None = None
        self._console = Console(stderr=True)

    def configure(self, model: str, **settings: Any) -> None:
        """
        Take the settings of all memories.

        :raises ConfigurationError: a value that cannot work, or a ratio no policy has a use for.
        """
        ratios = {name: settings.pop(name) for name in ('tar_ratio', 'recent_ratio')}
        self._settings = replace(quality_settings(model, **settings), **ratios)
        for name, value in ratios.items():
            if value is not None and all(
                    getattr(cell.apply(self._settings), name) is None for cell in self._cells):
                # Says what is wrong with it: of that policy, or of any.
                replace(self._settings, policy=self._cells[-1].policy).make_policy()
        self._caveat = model_caveat(model, local_files_only=self._settings.local_files_only)
        self._weights = weights_digest(
            model, local_files_only=self._settings.local_files_only)

    def judge_with(self, url: str, model: str, key_variable: str | None) -> None:
        """
        Have a language model rate open answers.

        :raises ConfigurationError: it cannot be asked.
        """
        self._judge = Judge(url, model, key_variable=key_variable)

    def run(self, found: Found, *, fresh: bool) -> int:
        """
        Watch, ask, report.

        :return: the exit code: 0; 1 below the wanted accuracy; 2 where a recording could not be
            watched; 130 after Ctrl-C.
        :raises InfinipotError: nothing can be done at all, or no longer.
        """
        tasks, recordings = self._tasks(found)
        if not recordings:
            raise SourceError(
                'there is nothing left to watch: '
                + '; '.join(each.reason for each in found.left_out[:3]))
        longest = max(len(question.question) for recording in recordings
                      for question in recording.questions)
        settings = replace(
            self._settings, max_question_chars=max(SHORTEST_QUESTION_ROOM, longest))
        if self._caveat:
            self._console.print(
                f'note: {self._caveat}', markup=False, highlight=False, soft_wrap=True)
        lines = [each.reason for each in found.left_out]
        if len(lines) > MAX_TOLD:
            lines[MAX_TOLD:] = [f'and {len(lines) - MAX_TOLD:,} more recordings, all named in '
                                 f'{self._output / LEFT_OUT}']
        for line in lines:
            self._console.print(
                f'left out: {line}', markup=False, highlight=False, soft_wrap=True)
        with RunStore(
                self._output, self._config(settings, recordings), fresh=fresh) as journal:
            refuse_changed(journal, recordings)
            refuse_undumped(journal, tasks, self._dump)
            journal.leave_out(found.left_out)
            tasks, recordings = numbered(journal, tasks, recordings)
            others = not_named(journal, recordings)
            if others:
                self._console.print(
                    f'note: {others}', markup=False, highlight=False, soft_wrap=True)
            try:
                failures = self._measure(journal, tasks, recordings, settings)
                asked = {each.name: len(each.questions) for each in recordings}
                journal.leave_out([
                    LeftOut(each.stream, asked[each.stream], each.message) for each in failures])
            except KeyboardInterrupt:
                self._report(journal, recordings)
                print('infinipot: interrupted; run again to go on', file=sys.stderr)
                return INTERRUPTED
            except InfinipotError:
                self._report_after(journal, recordings)
                raise
            except OSError as error:
                self._report_after(journal, recordings)
                raise ConfigurationError(
                    f'the run cannot go on ({error}); what is finished is kept') from error
            self._report(journal, recordings)
            for failure in failures:
                print(f'infinipot: {failure.stream}: {failure.message}', file=sys.stderr)
            named = {recording.name for recording in recordings}
            if failures:
                return REFUSED
            outcomes = [each for each in journal.outcomes if each.stream in named]
            if not outcomes and not all(run['budget_tokens'] is None and run['stream_tokens']
                                        for run in journal.runs if run['stream'] in named):
                raise SourceError(
                    f'not one question could be asked: {left_out_text(left_out(journal))}')
            return self._verdict(outcomes)

    def _tasks(self, found: Found) -> tuple[list[StreamTask], list[Recording]]:
        """Open every recording once, so that what cannot be read is told before all else."""
        tasks: list[StreamTask] = []
        recordings: list[Recording] = []
        for recording in found.recordings:
            recording = replace(recording, seed=len(recordings))
            try:
                frames = self._count(recording)
            except SourceError as error:
                if not self._wanted.skip_missing:
                    raise
                found.left_out.append(
                    LeftOut(recording.name, len(recording.questions), str(error)))
                continue
            recordings.append(recording)
            tasks.append(StreamTask(
                recording.name, recording.suite, recording.seed, frames, tuple(self._cells)))
        return tasks, recordings

    def _count(self, recording: Recording) -> int:
        if self._load_dumped is not None:
            stream = self._loader([recording], self._settings)('', recording.seed)
            return stream.survey().frames
        source = recording.open()
        recording.refuse_far(source)
        hint = source.count_hint or 1
        return max(1, min(hint, recording.max_frames or hint))

    def _config(
        self, settings: MemoryConfig, recordings: Sequence[Recording],
    ) -> dict[str, Any]:
        kept = ('dtype', 'device', 'block_size', 'max_pixels', 'keep_ratio', 'tar_ratio',
                'recent_ratio', 'max_new_tokens')
        return {
            'command': 'eval', 'model': Path(settings.model).name,
            'weights_sha256': self._weights, 'caveat': self._caveat or None,
            **{name: getattr(settings, name) for name in kept},
            'still_likeness': settings.still_likeness or None,
            'fps': self._wanted.fps, 'max_frames': self._wanted.max_frames,
            'topics': sorted(
                {each.topic for each in recordings if each.topic is not None}) or None,
            **self._named}

    def _loader(
        self, recordings: Sequence[Recording], settings: MemoryConfig,
    ) -> StreamLoader:
        made_with = {
            'weights_sha256': self._weights, 'dtype': settings.dtype,
            'block_size': settings.block_size, 'max_pixels': settings.max_pixels}
        return StreamLoader(
            tuple(recordings), made_with, settings.max_pixels, self._dump, self._load_dumped)

    def _measure(
        self, journal: RunStore, tasks: Sequence[StreamTask], recordings: Sequence[Recording],
        settings: MemoryConfig,
    ) -> list[Failure]:
        load = self._loader(recordings, settings)
        workers = min(count_workers(self._workers, settings.device), len(tasks))
        spread = None if self._ray is None else partial(
            run_on_cluster, address=self._ray, output=self._output,
            whole=self._dump is not None)
        with show_progress(tasks, self._console) as (on_run, on_frames):
            return measure(
                journal, tasks, load, partial(load_shared_model, settings), settings,
                workers=workers, spread=spread, keep_going=True, leave_out=False, on_run=on_run,
                on_frames=on_frames)

    def _report(self, journal: RunStore, recordings: Sequence[Recording]) -> None:
        """
        Write figures and page, and show the main table.

        :raises ConfigurationError: they cannot be written.
        """
        if not journal.outcomes:
            self._console.print('nothing was answered, so there is nothing to report')
            return
        unrated: InfinipotError | None = None
        try:
            self._rate(journal, recordings)
        except InfinipotError as error:
            unrated = error
        try:
            summary = write_report(journal, self._headline.budget)
        except OSError as error:
            raise ConfigurationError(
                f'the report cannot be written to {self._output} ({error.strerror}); outcomes '
                'are kept: free some space and run again') from error
        console = Console()
        console.print(overview_table(summary), '')
        console.print(
            f'wrote {self._output / "report.html"}, results.json, results.csv, timeline.csv and '
            'outcomes.jsonl', highlight=False, markup=False, soft_wrap=True)
        said = left_out_text(left_out(journal))
        if said:
            console.print(f'left out: {said}', highlight=False, soft_wrap=True)
        if unrated is not None:
            raise unrated

    def _report_after(self, journal: RunStore, recordings: Sequence[Recording]) -> None:
        """Report what is there, though something went wrong, which matters more."""
        try:
            self._report(journal, recordings)
        except InfinipotError as another:
            print(f'infinipot: {another}', file=sys.stderr)

    def _rate(self, journal: RunStore, recordings: Sequence[Recording]) -> None:
        if self._judge is None:
            return
        asked = {(recording.name, question.id): question for recording in recordings
                 for question in recording.questions}
        with self._judge:
            journal.outcomes = judge_outcomes(
                journal.outcomes, asked, self._judge, self._output)
        journal.config = journal.config | {'judge': self._judge.model}

    def _verdict(self, outcomes: Sequence[Outcome]) -> int:
        if self._fail_under is None:
            return DONE
        cell = self._judged_cell()
        rights = [each.right for each in outcomes if each.cell == cell]
        if not rights:
            raise ConfigurationError(f'{cell.policy} at {cell.budget} answered nothing')
        accuracy = 100 * sum(rights) / len(rights)
        below = accuracy < self._fail_under
        print(f'{cell.policy} at {cell.budget}: {accuracy:.1f} % right, '
              f'{"below" if below else "not below"} {self._fail_under:g} %')
        return BELOW if below else DONE

    def _judged_cell(self) -> Variant:
        """The default policy at the first budget, else the first cell that is not full."""
        default = Variant(DEFAULT_POLICY, self._headline.budget)
        return default if default in self._cells else self._headline
