# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot replay``: where the node's side and the evaluation's meet.

The node is driven by ``node.trial`` or listened to by ``node.listener``, which know of no files;
what they tell is kept and reported by ``evaluation``, which knows no ROS. Whatever happens, what
was answered until then is in the output folder, and reported.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infinipot_ros.errors import ConfigurationError, InfinipotError, SourceError
from infinipot_ros.evaluation.ask_report import printable
from infinipot_ros.evaluation.eval_inputs import Wanted, named_recordings
from infinipot_ros.evaluation.recorded_stream import RecordedStream, Recording
from infinipot_ros.evaluation.report.quality_report import overview_table, write_report
from infinipot_ros.evaluation.run_store import FRESH, OUTCOMES, RunStore
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.node import parameters
from infinipot_ros.node.replay.frame_accounting import count_frames
from infinipot_ros.node.replay.live_monitor import listen_to
from infinipot_ros.node.replay.live_record import LiveQuestion, LiveRecord, compare, live_questions
from infinipot_ros.node.replay.live_text import (
    count_right,
    eval_command,
    frames_text,
    missing_text,
)
from infinipot_ros.node.replay.node_handle import NodeHandle, connect_node, launch_node
from infinipot_ros.node.replay.question_scheduler import ReplayObserver, Result, notes
from infinipot_ros.node.replay.session import Pace, ReplayResult, choose_images, play_session
from infinipot_ros.recordings.bags import BagSource
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.answer import same_answer
from infinipot_ros.visual_memory.shared_model import model_caveat, weights_digest

DONE, DIFFERENT, REFUSED, INTERRUPTED = 0, 1, 2, 130
#: Settings of the memory that ``config.json`` names as ``infinipot eval`` does.
KEPT = ('dtype', 'device', 'block_size', 'max_pixels', 'keep_ratio', 'tar_ratio', 'recent_ratio',
        'max_new_tokens')


@dataclass(frozen=True)
class Plan:
    """
    What was asked for on the command line.

    :param rate: seconds of the bag a second, without waiting; None: as fast as nothing is lost.
    :param node: full name of a node that runs already; None for one of one's own.
    :param arguments: ROS arguments of one's own.
    :param listen: somebody else plays the bag.
    :param wait_s: how long to wait for the first image then.
    :param keep_memory: go on with a node that remembers something already.
    :param compare_with: an output folder of ``infinipot eval`` of the same bag.
    """

    bag: Path
    questions: Path | None
    output: Path
    topic: str | None = None
    rate: float | None = None
    node: str | None = None
    arguments: Sequence[str] = ()
    listen: bool = False
    wait_s: float = 120.0
    clock: bool = True
    keep_memory: bool = False
    compare_with: Path | None = None
    fresh: bool = False

    @property
    def pace(self) -> Pace:
        """How the bag is played."""
        return Pace() if self.rate is None else Pace(self.rate, waits=False)


class LiveRun(ReplayObserver):
    """Plays or listens, asks, keeps and reports."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('frames'), TimeElapsedColumn(), console=self._console)
        self._bar = self._progress.add_task('the bag is opened', total=None)
        self._record: LiveRecord | None = None
        self._sent = 0

    def run(self) -> int:
        """
        Do it all.

        :return: the exit code: 0; 1 where answers differ from those compared with though no frame
            was missing; 130 after Ctrl-C.
        :raises InfinipotError: the bag, the questions or the node do not work; what was answered
            before is kept and reported.
        """
        plan = self._plan
        if not plan.fresh and (plan.output / OUTCOMES).exists():
            raise ConfigurationError(
                f'{plan.output} holds outcomes already, and a replay does not go on: {FRESH}')
        recording, source = self._recording()
        with self._progress, self._node(source) as node:
            if node.client.status.frames_encoded and not plan.keep_memory:
                raise ConfigurationError(
                    f'{node.client.name} remembers {node.client.status.frames_encoded} frames '
                    'already, and answers would rest on them: `ros2 lifecycle set '
                    f'{node.client.name} deactivate`, then cleanup, configure, activate; or '
                    '--keep-memory')
            fps = float(node.parameters['ingest.fps']) or None
            with RunStore(plan.output, self._config(node, source.topic), fresh=True) as journal:
                self.state('the bag is looked through')
                stream = RecordedStream(replace(recording, fps=fps))
                asked, left_out = stream.schedule()
                return self._replay(
                    node, source, stream, live_questions(asked), left_out, journal)

    # -- what the node's side tells -----------------------------------------------------------

    def state(self, text: str) -> None:
        """Show what begins."""
        self._progress.update(self._bar, description=text)

    def frame(self, sent: int, of: int | None) -> None:
        """Show how far the bag is."""
        self._sent = sent
        self._progress.update(self._bar, completed=sent, total=of)

    def status(self, status: Any) -> None:
        """Keep a sample."""
        if self._record is not None:
            self._record.sampled(status, self._sent)

    def result(self, result: Result) -> None:
        """Keep and show an answer."""
        assert self._record is not None
        outcome = self._record.answered(result)
        response = result.response
        said = response.answer if response.success else f'refused: {response.message}'
        mark = '[green]right[/green]' if outcome.right else '[red]wrong[/red]'
        missing = '' if result.frames.complete else f' ({missing_text(result.frames)})'
        # A model's words are never markup.
        self._progress.console.print(
            f'  {escape(outcome.question)} {escape(printable(said))} {mark}{missing}',
            highlight=False, soft_wrap=True)

    # -- before -------------------------------------------------------------------------------

    def _recording(self) -> tuple[Recording, BagSource]:
        """Open bag and questions, so that what cannot be read is told before all else."""
        plan = self._plan
        wanted = Wanted(None, None, False, plan.output)
        found = named_recordings(
            [plan.bag], [plan.topic] if plan.topic else [],
            [plan.questions] if plan.questions else [], wanted)
        [recording] = found.recordings
        source = recording.open()
        if not isinstance(source, BagSource):
            raise SourceError(
                f'{source.path} is a {source.kind}, and only ROS 2 bags can be played to a node; '
                '`infinipot eval` takes it as it is')
        return recording, source

    @contextmanager
    def _node(self, source: BagSource) -> Iterator[NodeHandle]:
        plan = self._plan
        if plan.node is not None:
            with connect_node(plan.node) as node:
                yield node
            return
        _, kind = choose_images(source.path, source.topic)
        with launch_node(source.topic, kind, plan.arguments,
                      find_share() / 'config' / 'fastdds_shm.xml', reliable=plan.pace.waits,
                      sim_time=plan.clock, follower=self) as node:
            yield node

    def _config(self, node: NodeHandle, topic: str) -> dict[str, Any]:
        plan, values = self._plan, node.parameters
        settings = parameters.memory_config(values)
        try:
            weights, caveat = weights_digest(settings.model), model_caveat(settings.model)
        except ConfigurationError:
            weights, caveat = None, ''  # only the robot has the model
        return {
            'command': 'replay', 'model': Path(settings.model).name, 'weights_sha256': weights,
            'caveat': caveat or None,
            **{name: getattr(settings, name) for name in KEPT},
            'still_likeness': settings.still_likeness or None,
            'fps': float(values['ingest.fps']) or None, 'max_frames': None,
            'live': {
                'node': node.client.name, 'own_node': node.process is not None,
                'topic': topic, 'published_as': node.image[0],
                'played_by': 'others' if plan.listen else 'infinipot replay',
                'rate': plan.rate, 'waits_for_node': not plan.listen and plan.pace.waits,
                'clock': plan.clock and not plan.listen, 'parameters': values}}

    # -- meanwhile and after ------------------------------------------------------------------

    def _replay(
        self, node: NodeHandle, source: BagSource, stream: RecordedStream,
        questions: Sequence[LiveQuestion], left_out: Mapping[str, int], journal: RunStore,
    ) -> int:
        plan, before = self._plan, node.client.status
        record = self._record = LiveRecord(
            plan.output, stream, Variant(before.policy, str(before.budget_tokens)),
            int(node.parameters['ingest.max_pixels']), before,
            node.process.pid if node.process else None)
        started, trial, code = time.monotonic(), None, DONE
        try:
            if plan.listen:
                trial = listen_to(node, questions, first_s=plan.wait_s, follower=self)
            else:
                trial = play_session(
                    node,
                    source.path,
                    questions,
                    pace=plan.pace,
                    topic=source.topic,
                    clock=plan.clock,
                    follower=self,
                )
        except KeyboardInterrupt:
            code = INTERRUPTED
            print('infinipot: interrupted', file=sys.stderr)
        except (InfinipotError, OSError, SystemExit):
            self._keep(node, record, journal, started, left_out, trial)
            raise
        self._keep(node, record, journal, started, left_out, trial)
        return code or self._compared(source, node, record)

    def _keep(self, node: NodeHandle, record: LiveRecord, journal: RunStore, started: float,
              left_out: Mapping[str, int], trial: ReplayResult | None) -> None:
        """Write what there is, and show the main figures."""
        self._progress.stop()
        status = trial.memory if trial is not None else node.client.status
        journal.add(record.run(status, self._sent, time.monotonic() - started, left_out,
                               ended=trial is not None))
        if not journal.outcomes:
            self._console.print('nothing was answered, so there is nothing to report')
            return
        frames = trial.frames if trial else count_frames(self._sent, status, record.before)
        journal.config |= {'live': journal.config['live'] | {
            'ended': trial is not None, 'frames': frames.as_dict(),
            'complete': count_right(record, True), 'frames_missing': count_right(record, False)}}
        summary = write_report(journal)
        console = Console()
        console.print(overview_table(summary), '')
        console.print(frames_text(frames, trial is not None), highlight=False, soft_wrap=True)
        for rights, what in ((count_right(record, True), 'with every frame'),
                             (count_right(record, False), 'with frames missing')):
            if rights['questions']:
                console.print(f"{what}: {rights['right']} of {rights['questions']} right",
                              highlight=False)
        for note in notes(result for result, _ in record.results):
            console.print(
                f'note: {printable(note)}', highlight=False, markup=False, soft_wrap=True)
        console.print(
            f'wrote {self._plan.output / "report.html"}, results.json, results.csv, timeline.csv, '
            'outcomes.jsonl and live.jsonl', highlight=False, markup=False, soft_wrap=True)

    def _compared(self, source: BagSource, node: NodeHandle, record: LiveRecord) -> int:
        plan, console = self._plan, Console()
        if plan.compare_with is None:
            command = eval_command(plan.bag, plan.questions, plan.output, source.topic, node)
            console.print('the offline path, to compare with:\n  ' + shlex.join(command),
                          highlight=False, markup=False, soft_wrap=True)
            return DONE
        found = compare(record.results, plan.compare_with, same_answer)
        console.print(
            f'{len(found.same)} of {len(record.results)} answers are those of '
            f'{plan.compare_with}; {len(found.for_losses)} differ, with frames missing; '
            f'{len(found.unexplained)} differ with none missing; {len(found.unknown)} were not '
            'asked there', highlight=False, markup=False, soft_wrap=True)
        return DIFFERENT if found.unexplained else DONE
