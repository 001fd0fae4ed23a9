# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot eval``, from its settings to its exit code.

Whatever happens, what is finished stays in the output folder and is reported. A run that finds an
earlier one there goes on with it: finished streams are neither watched nor asked again, so they
must be of the same recordings and questions.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infinipot_ros.cli.progress import show_progress
from infinipot_ros.cli.result_tables import forward_tables, overview_table
from infinipot_ros.errors import ConfigurationError, InfinipotError, SourceError
from infinipot_ros.evaluation.cluster import run_on_cluster
from infinipot_ros.evaluation.eval_inputs import Found, Wanted
from infinipot_ros.evaluation.judge import Judge, judge_outcomes
from infinipot_ros.evaluation.outcome import LeftOut, Outcome
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.evaluation.report.caveats import changed_budgets, left_out, left_out_text
from infinipot_ros.evaluation.report.formatting import count_text
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import LEFT_OUT, RunStore
from infinipot_ros.evaluation.stream import questions_digest
from infinipot_ros.evaluation.stream_dump import HEADER, StreamLoader, dump_folder
from infinipot_ros.evaluation.task_runner import (
    Failure,
    StreamTask,
    count_workers,
    encoded_again,
    measure,
    quality_settings,
)
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant, make_variants
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import (
    load_shared_model,
    model_caveat,
    weights_digest,
)

DONE, BELOW, REFUSED, INTERRUPTED = 0, 1, 2, 130
MIN_QUESTION_CHARS = 200
MAX_LISTED = 5
MAX_NAMED = 3
#: Most moments an answer names.
MAX_MOMENTS = 3


class EvalRun:
    """
    Show recordings to every variant and report.

    :param dataset: the format of a public benchmark, None for recordings of one's own.
    :raises ConfigurationError: an unknown policy or budget.
    """

    def __init__(
        self, output: Path, *, policies: Sequence[str], budgets: Sequence[str],
        preset: str | None, dump: Path | None, load_dumped: Path | None, workers: int | None,
        ray: str | None, fail_under: float | None, wanted: Wanted, dataset: str | None,
    ) -> None:
        self._output, self._wanted, self._workers, self._ray = output, wanted, workers, ray
        self._dump, self._load_dumped = dump, load_dumped
        self._fail_under = fail_under
        self._variants = make_variants(policies, budgets)
        self._headline = next(
            (each for each in self._variants if each.budget != FULL), self._variants[0])
        self._named = {'preset': preset, 'dataset': dataset}
        self._judge: Judge | None = None
        self._console = Console(stderr=True)

    def configure(self, model: str, **settings: Any) -> None:
        """
        Set the settings of all memories.

        :raises ConfigurationError: a value that cannot work, or a ratio that no policy uses.
        """
        ratios = {name: settings.pop(name) for name in ('tar_ratio', 'recent_ratio')}
        self._settings = replace(
            quality_settings(model, max_evidence=MAX_MOMENTS, **settings), **ratios)
        for name, value in ratios.items():
            if value is not None and all(
                    getattr(each.apply(self._settings), name) is None for each in self._variants):
                # Its error says what is wrong: the value, or that the policy has no such ratio.
                replace(self._settings, policy=self._variants[-1].policy).make_policy()
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
        :raises InfinipotError: nothing can be done at all, or the run cannot go on.
        """
        tasks, recordings = self._tasks(found)
        if not recordings:
            raise SourceError(
                'there is nothing left to watch: '
                + '; '.join(each.reason for each in found.left_out[:3]))
        longest = max(len(question.question) for recording in recordings
                      for question in recording.questions)
        settings = replace(self._settings, max_question_chars=max(MIN_QUESTION_CHARS, longest))
        if self._caveat:
            self._note(f'note: {self._caveat}')
        if settings.warning:
            self._note(f'warning: {settings.warning}')
        lines = [each.reason for each in found.left_out]
        if len(lines) > MAX_LISTED:
            lines[MAX_LISTED:] = [f'and {len(lines) - MAX_LISTED:,} more recordings, all listed '
                                  f'in {self._output / LEFT_OUT}']
        for line in lines:
            self._note(f'left out: {line}')
        with RunStore(self._output, self._config(settings, recordings), fresh=fresh) as store:
            refuse_changed(store, recordings)
            _refuse_undumped(store, tasks, self._dump)
            store.leave_out(found.left_out)
            tasks, recordings = _numbered(store, tasks, recordings)
            if others := _not_named(store, recordings):
                self._note(f'note: {others}')
            try:
                failures = self._measure(store, tasks, recordings, settings)
                asked = {each.name: len(each.questions) for each in recordings}
                store.leave_out([
                    LeftOut(each.stream, asked[each.stream], each.message) for each in failures])
            except KeyboardInterrupt:
                self._report(store, recordings)
                print('infinipot: interrupted; run again to go on', file=sys.stderr)
                return INTERRUPTED
            except InfinipotError:
                self._report_after(store, recordings)
                raise
            except OSError as error:
                self._report_after(store, recordings)
                raise ConfigurationError(
                    f'the run cannot go on ({error}); what is finished is kept') from error
            self._report(store, recordings)
            for failure in failures:
                print(f'infinipot: {failure.stream}: {failure.message}', file=sys.stderr)
            named = {recording.name for recording in recordings}
            if failures:
                return REFUSED
            outcomes = [each for each in store.outcomes if each.stream in named]
            if not outcomes and not all(run['budget_tokens'] is None and run['stream_tokens']
                                        for run in store.runs if run['stream'] in named):
                raise SourceError(
                    f'not one question could be asked: {left_out_text(left_out(store))}')
            return self._verdict(outcomes)

    def _note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _tasks(self, found: Found) -> tuple[list[StreamTask], list[Recording]]:
        """Open every recording once, so that unreadable ones are reported before all else."""
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
                recording.name, recording.suite, recording.seed, frames, tuple(self._variants)))
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
            'duplicate_similarity': settings.duplicate_similarity or None,
            'kv_dtype': settings.kv_dtype or None, **encoded_again(settings),
            'fps': self._wanted.fps, 'max_frames': self._wanted.max_frames,
            'max_image_pixels': self._wanted.max_image_pixels,
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
        self, store: RunStore, tasks: Sequence[StreamTask], recordings: Sequence[Recording],
        settings: MemoryConfig,
    ) -> list[Failure]:
        workers = min(count_workers(self._workers, settings.device), len(tasks))
        spread = None if self._ray is None else partial(
            run_on_cluster, address=self._ray, output=self._output,
            whole=self._dump is not None)
        with show_progress(tasks, self._console) as (on_run, on_frames):
            return measure(
                store, tasks, self._loader(recordings, settings),
                partial(load_shared_model, settings), settings, workers=workers, spread=spread,
                keep_going=True, leave_out=False, on_run=on_run, on_frames=on_frames)

    def _report(self, store: RunStore, recordings: Sequence[Recording]) -> None:
        """
        Write figures and page, and show the main table.

        :raises ConfigurationError: they cannot be written.
        """
        if not store.outcomes:
            self._console.print('nothing was answered, so there is nothing to report')
            return
        unrated: InfinipotError | None = None
        try:
            self._rate(store, recordings)
        except InfinipotError as error:
            unrated = error
        store.config = store.config | {'command_line': shlex.join(['infinipot', *sys.argv[1:]])}
        try:
            summary = write_report(store, self._headline.budget)
        except OSError as error:
            raise ConfigurationError(
                f'the report cannot be written to {self._output} ({error.strerror}); outcomes '
                'are kept: free some space and run again') from error
        console = Console()
        for table in (overview_table(summary), *forward_tables(store.outcomes)):
            console.print(table, '')
        console.print(
            f'wrote {self._output / "report.html"}, results.json, results.csv, timeline.csv and '
            'outcomes.jsonl', highlight=False, markup=False, soft_wrap=True)
        if changed := changed_budgets(store):
            self._note(f'note: {changed}')
        if counts := left_out_text(left_out(store)):
            console.print(f'left out: {counts}', highlight=False, soft_wrap=True)
        if unrated is not None:
            raise unrated

    def _report_after(self, store: RunStore, recordings: Sequence[Recording]) -> None:
        """Report what is there after an error, which matters more than another one."""
        try:
            self._report(store, recordings)
        except InfinipotError as another:
            print(f'infinipot: {another}', file=sys.stderr)

    def _rate(self, store: RunStore, recordings: Sequence[Recording]) -> None:
        if self._judge is None:
            return
        asked = {(recording.name, question.id): question for recording in recordings
                 for question in recording.questions}
        with self._judge:
            store.outcomes = judge_outcomes(store.outcomes, asked, self._judge, self._output)
        store.config = store.config | {'judge': self._judge.model}

    def _verdict(self, outcomes: Sequence[Outcome]) -> int:
        """Judge the default policy at the first budget, else the first variant not full."""
        if self._fail_under is None:
            return DONE
        default = Variant(DEFAULT_POLICY, self._headline.budget)
        variant = default if default in self._variants else self._headline
        rights = [each.right for each in outcomes if each.variant == variant]
        if not rights:
            raise ConfigurationError(f'{variant.policy} at {variant.budget} answered nothing')
        accuracy = 100 * sum(rights) / len(rights)
        below = accuracy < self._fail_under
        print(f'{variant.policy} at {variant.budget}: {accuracy:.1f} % right, '
              f'{"below" if below else "not below"} {self._fail_under:g} %')
        return BELOW if below else DONE


# -- going on with an earlier run -----------------------------------------------------------------


def refuse_changed(store: RunStore, recordings: Sequence[Recording]) -> None:
    """Refuse recordings under whose names others, or other questions, are finished."""
    finished = {run['stream']: run for run in store.runs}
    for recording in recordings:
        run = finished.get(recording.name)
        if run is None:
            continue
        if run['asked'] != questions_digest(recording.questions):
            raise ConfigurationError(
                f'{store.folder} holds answers to other questions about {recording.name}; '
                f'{store.elsewhere}')
        read = {each['sha256'] for each in run['inputs']}
        # With a dump the recording need not exist any more.
        if recording.path.exists() and not {
                each['sha256'] for each in described(recording.path)} <= read:
            raise ConfigurationError(
                f'{store.folder} holds answers about {recording.name}, but of another recording '
                f'than {recording.path} is now; {store.elsewhere}')


def _refuse_undumped(store: RunStore, tasks: Sequence[StreamTask], dump: Path | None) -> None:
    """Refuse to dump streams that are finished, as they are not watched again."""
    if dump is None:
        return
    # Nothing can be dumped of a recording that lacks the part its questions are about.
    empty = {run['stream'] for run in store.runs if not run['stream_tokens']}
    for task in tasks:
        finished = all((task.name, variant) in store.done for variant in task.variants)
        if finished and task.name not in empty and not (
                dump_folder(dump, task.name) / HEADER).exists():
            raise ConfigurationError(
                f'{task.name} is finished in {store.folder} but was not dumped; give another '
                '--output, or --fresh')


def _numbered(
    store: RunStore, tasks: Sequence[StreamTask], recordings: Sequence[Recording],
) -> tuple[list[StreamTask], list[Recording]]:
    """
    Number streams as earlier runs did, and new ones differently.

    Confidence intervals would count streams of one number as one.
    """
    numbers = {each.stream: each.seed for each in store.outcomes}
    for index, recording in enumerate(recordings):
        if recording.name not in numbers:
            taken = set(numbers.values())
            numbers[recording.name] = index if index not in taken else max(taken) + 1
    return ([replace(task, seed=numbers[task.name]) for task in tasks],
            [replace(recording, seed=numbers[recording.name]) for recording in recordings])


def _not_named(store: RunStore, recordings: Sequence[Recording]) -> str:
    """Say which other recordings the folder holds; empty if there are none."""
    others = sorted({each.stream for each in store.outcomes} - {each.name for each in recordings})
    if not others:
        return ''
    more = ', ...' if len(others) > MAX_NAMED else ''
    return (f'{store.folder} also holds {count_text(len(others), "recording")} that '
            f'{"is" if len(others) == 1 else "are"} not named now '
            f'({", ".join(others[:MAX_NAMED])}{more}); the report counts them')
