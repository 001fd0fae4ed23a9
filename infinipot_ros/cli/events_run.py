# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot events``, from its settings to its exit code.

What is finished is kept in a folder beside the output, as an evaluation keeps it, and the output
is written from that: a run that finds everything there watches nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from infinipot_ros.cli.eval_run import DONE, INTERRUPTED, REFUSED, refuse_changed
from infinipot_ros.cli.progress import show_progress
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.cluster import run_on_cluster
from infinipot_ros.evaluation.event_files import write_events
from infinipot_ros.evaluation.event_spans import EventPlan, find_events
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.evaluation.report.formatting import count_text
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.evaluation.stream_dump import StreamLoader
from infinipot_ros.evaluation.task_runner import Failure, StreamTask, count_workers, measure
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import (
    load_shared_model,
    model_caveat,
    weights_digest,
)

#: Settings on which events depend.
_KEPT = ('policy', 'budget', 'dtype', 'device', 'block_size', 'max_pixels', 'keep_ratio',
         'max_new_tokens', 'max_evidence', 'duplicate_similarity')


class EventsRun:
    """
    Watch recordings, ask, and write events.

    :param out: a file of events, ``.jsonl`` or ``.mcap``.
    """

    def __init__(self, out: Path, plan: EventPlan, settings: MemoryConfig, *,
                 workers: int | None, ray: str | None) -> None:
        self._out, self._plan, self._settings = out, plan, settings
        self._workers, self._ray = workers, ray
        self._folder = out.with_name(f'{out.name}.run')
        self._console = Console(stderr=True)

    def run(self, recordings: Sequence[Recording], *, fresh: bool) -> int:
        """
        Find the events of what is not finished yet, and write all.

        :return: the exit code: 0; 2 where a recording could not be watched; 130 after Ctrl-C.
        :raises InfinipotError: nothing can be done at all, or the run cannot go on.
        """
        recordings = [replace(each, seed=number) for number, each in enumerate(recordings)]
        caveat = model_caveat(
            self._settings.model, local_files_only=self._settings.local_files_only)
        if caveat:
            typer.echo(f'note: {caveat}', err=True)
        with RunStore(self._folder, self._config(recordings), fresh=fresh,
                      option='--out') as store:
            refuse_changed(store, recordings)
            before = {run['stream'] for run in store.runs}
            failures: list[Failure] = []
            try:
                failures = self._watch(store, recordings)
            except KeyboardInterrupt:
                print('infinipot: interrupted; run again to go on', file=sys.stderr)
                return INTERRUPTED
            finally:
                self._write(store, before & {each.name for each in recordings})
        for failure in failures:
            print(f'infinipot: {failure.stream}: {failure.message}', file=sys.stderr)
        return REFUSED if failures else DONE

    def _config(self, recordings: Sequence[Recording]) -> dict[str, Any]:
        settings = self._settings
        return {
            'command': 'events', 'model': Path(settings.model).name,
            'weights_sha256': weights_digest(
                settings.model, local_files_only=settings.local_files_only),
            **{name: getattr(settings, name) for name in _KEPT},
            'watches': [asdict(each) for each in self._plan.watches],
            'every_s': self._plan.every_ns / SECOND_NS,
            'window_s': self._plan.window_ns / SECOND_NS,
            **{name: next((getattr(each, name) for each in recordings), None)
               for name in ('topic', 'fps', 'max_image_pixels')}}

    def _watch(self, store: RunStore, recordings: Sequence[Recording]) -> list[Failure]:
        settings = self._settings
        variants = (Variant(settings.policy, str(settings.budget)),)
        # The length of one that is finished does not matter, and it need not exist any more.
        tasks = [StreamTask(each.name, each.suite, each.seed, 1 if (
            each.name, variants[0]) in store.done else each.open().count_hint or 1, variants)
            for each in recordings]
        spread = None if self._ray is None else partial(
            run_on_cluster, address=self._ray, output=self._folder)
        loader = StreamLoader(tuple(recordings), {}, settings.max_pixels, None, None)
        with show_progress(tasks, self._console) as (on_run, on_frames):
            return measure(
                store, tasks, loader, partial(load_shared_model, settings), settings,
                workers=min(count_workers(self._workers, settings.device), max(1, len(tasks))),
                spread=spread, keep_going=True, leave_out=False,
                show=partial(find_events, plan=self._plan), on_run=on_run, on_frames=on_frames)

    def _write(self, store: RunStore, before: set[str]) -> None:
        """:raises ConfigurationError: it cannot be written; what is finished is kept."""
        found = [event for run in sorted(store.runs, key=lambda run: str(run['stream']))
                 for event in run['events']]
        try:
            write_events(self._out, found)
        except OSError as error:
            raise ConfigurationError(
                f'{self._out} cannot be written ({error.strerror}); what is finished is kept in '
                f'{self._folder}: free some space and run again') from error
        again = f', {len(before)} of them watched before' if before else ''
        typer.echo(f'wrote {self._out}: {count_text(len(found), "event")} of '
                   f'{count_text(len(store.runs), "recording")}{again}')
