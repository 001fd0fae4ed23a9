# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot replay``: joins the node's client side and the evaluation.

``node.replay`` drives the node or listens to it, ``evaluation`` keeps and reports the outcomes.
Whatever happens, what was answered until then is in the output folder, and reported.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infinipot_ros.cli.result_tables import overview_table
from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.eval_inputs import Wanted, named_recordings
from infinipot_ros.evaluation.recorded_stream import RecordedStream, Recording
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import FRESH, OUTCOMES, RunStore
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.node import parameters
from infinipot_ros.node.replay.bag_player import choose_images
from infinipot_ros.node.replay.frame_accounting import count_frames
from infinipot_ros.node.replay.live_monitor import LiveMonitor
from infinipot_ros.node.replay.node_handle import NodeHandle, connect_node, launch_node
from infinipot_ros.node.replay.offline_comparison import compare, eval_command
from infinipot_ros.node.replay.question_scheduler import ReplayObserver, Result, notes
from infinipot_ros.node.replay.replay_record import ReplayRecord
from infinipot_ros.node.replay.session import Pace, ReplayResult, play_session
from infinipot_ros.recordings.bags import BagSource
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.answer_text import printable, same_answer
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.visual_memory.shared_model import model_caveat, model_family, weights_digest
from infinipot_ros.vlm.families.model_family import ModelFamily
from infinipot_ros.vlm.families.registry import make_family

DONE, DIFFERENT, INTERRUPTED = 0, 1, 130
#: Settings of the memory that ``config.json`` names as ``infinipot eval`` does.
KEPT = ('dtype', 'device', 'block_size', 'max_pixels', 'keep_ratio', 'tar_ratio', 'recent_ratio',
        'max_new_tokens')


@dataclass(frozen=True)
class ReplayOptions:
    """
    The command line.

    :param rate: seconds of the bag per second, without waiting; None: as fast as nothing is lost.
    :param node: full name of a running node; None to launch one.
    :param arguments: ROS arguments of the launched node.
    :param listen: another process plays the bag.
    :param wait_s: seconds to wait for its first image.
    :param keep_memory: accept a running node that remembers something already.
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


class ReplayRun(ReplayObserver):
    """Plays or listens, asks, records and reports."""

    def __init__(self, options: ReplayOptions) -> None:
        self._options = options
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('frames'), TimeElapsedColumn(), console=self._console)
        self._bar = self._progress.add_task('the bag is opened', total=None)
        self._record: ReplayRecord | None = None
        self._sent = 0

    def run(self) -> int:
        """
        Run the command.

        :return: the exit code: 0; 1 where answers differ from those compared with though no frame
            was missing; 130 after Ctrl-C.
        :raises InfinipotError: the bag, the questions or the node do not work; what was answered
            before is kept and reported.
        """
        options = self._options
        if not options.fresh and (options.output / OUTCOMES).exists():
            raise ConfigurationError(
                f'{options.output} holds outcomes already, and a replay cannot be resumed: '
                f'{FRESH}')
        recording, source = self._open_recording()
        with self._progress, self._node(source) as node:
            newest = node.client.status.newest_stamp
            if (newest.sec or newest.nanosec) and not options.keep_memory:
                raise ConfigurationError(
                    f'{node.client.name} remembers frames already, and answers would '
                    f'rest on them: `ros2 lifecycle set {node.client.name} deactivate`, then '
                    'cleanup, configure, activate; or --keep-memory')
            fps = float(node.parameters['ingest.fps']) or None
            with RunStore(options.output, self._config(node, source.topic), fresh=True) as store:
                self.state('the bag is read once to survey it')
                stream = RecordedStream(replace(recording, fps=fps))
                return self._replay(node, source, stream, store)

    # -- ReplayObserver -----------------------------------------------------------------------

    def state(self, text: str) -> None:
        """Show the new step."""
        self._progress.update(self._bar, description=text)

    def frame(self, sent: int, of: int | None) -> None:
        """Show how far the bag is."""
        self._sent = sent
        self._progress.update(self._bar, completed=sent, total=of)

    def status(self, status: Any) -> None:
        """Record a sample."""
        if self._record is not None:
            self._record.add_sample(status, self._sent)

    def result(self, result: Result) -> None:
        """Record and show an answer."""
        assert self._record is not None
        outcome = self._record.add_result(result)
        response = result.response
        answer = response.answer if response.success else f'refused: {response.message}'
        mark = '[green]right[/green]' if outcome.right else '[red]wrong[/red]'
        missing = '' if result.frames.complete else f' ({result.frames.missing()})'
        # A model's words are never markup.
        self._progress.console.print(
            f'  {escape(outcome.question)} {escape(printable(answer))} {mark}{missing}',
            highlight=False, soft_wrap=True)

    # -- before -------------------------------------------------------------------------------

    def _open_recording(self) -> tuple[Recording, BagSource]:
        """Open bag and questions first, so that what cannot be read is refused at once."""
        options = self._options
        wanted = Wanted(None, None, False, options.output)
        found = named_recordings(
            [options.bag], [options.topic] if options.topic else [],
            [options.questions] if options.questions else [], wanted)
        [recording] = found.recordings
        source = recording.open()
        if not isinstance(source, BagSource):
            raise SourceError(
                f'{source.path} is a {source.kind}, and only ROS 2 bags can be played to a node; '
                '`infinipot eval` takes it as it is')
        return recording, source

    @contextmanager
    def _node(self, source: BagSource) -> Iterator[NodeHandle]:
        options = self._options
        if options.node is not None:
            with connect_node(options.node) as node:
                yield node
            return
        _, kind = choose_images(source.path, source.topic)
        with launch_node(
                source.topic, kind, options.arguments,
                find_share() / 'config' / 'fastdds_shm.xml', reliable=options.pace.waits,
                sim_time=options.clock, on_state=self.state) as node:
            yield node

    def _config(self, node: NodeHandle, topic: str) -> dict[str, Any]:
        options, values = self._options, node.parameters
        settings = parameters.memory_config(values)
        try:
            weights, caveat = weights_digest(settings.model), model_caveat(settings.model)
        except ConfigurationError:
            weights, caveat = None, ''  # only the robot has the model
        return {
            'command': 'replay', 'model': Path(settings.model).name, 'weights_sha256': weights,
            'caveat': caveat or None,
            **{name: getattr(settings, name) for name in KEPT},
            'duplicate_similarity': settings.duplicate_similarity or None,
            'fps': float(values['ingest.fps']) or None, 'max_frames': None,
            'live': {
                'node': node.client.name, 'own_node': node.process is not None,
                'topic': topic, 'published_as': node.image[0],
                'played_by': 'others' if options.listen else 'infinipot replay',
                'rate': options.rate,
                'waits_for_node': not options.listen and options.pace.waits,
                'clock': options.clock and not options.listen, 'parameters': values}}

    # -- during and after ---------------------------------------------------------------------

    def _replay(
        self, node: NodeHandle, source: BagSource, stream: RecordedStream, store: RunStore,
    ) -> int:
        options, before = self._options, node.client.status
        record = self._record = ReplayRecord(
            options.output, stream, Variant(before.policy, str(before.budget_tokens)),
            _family_of(str(node.parameters['model'])),
            int(node.parameters['ingest.max_pixels']), before,
            node.process.pid if node.process else None)
        started, played, code = time.monotonic(), None, DONE
        try:
            if options.listen:
                played = LiveMonitor(node, record.questions, self).run(options.wait_s)
            else:
                played = play_session(
                    node, source.path, record.questions, pace=options.pace, topic=source.topic,
                    clock=options.clock, observer=self)
        except KeyboardInterrupt:
            code = INTERRUPTED
            print('infinipot: interrupted', file=sys.stderr)
        finally:
            self._report(node, record, store, time.monotonic() - started, played)
        return code or self._compare(source, node, record)

    def _report(self, node: NodeHandle, record: ReplayRecord, store: RunStore, seconds: float,
                played: ReplayResult | None) -> None:
        """Write what there is, and show the main figures; ``played`` is None if it broke off."""
        self._progress.stop()
        ended = played is not None
        status = played.memory if played else node.client.status
        store.add(record.run(status, self._sent, seconds, ended))
        if not store.outcomes:
            self._console.print('nothing was answered, so there is nothing to report')
            return
        frames = played.frames if played else count_frames(self._sent, status, record.before)
        complete, missing = record.count_right(True), record.count_right(False)
        store.config |= {'command_line': shlex.join(['infinipot', *sys.argv[1:]])}
        store.config |= {'live': store.config['live'] | {
            'ended': ended, 'frames': frames.as_dict(), 'complete': complete,
            'frames_missing': missing}}
        summary = write_report(store)
        Console().print(overview_table(summary), '')
        _print(frames.summary(ended))
        for rights, what in ((complete, 'with every frame'), (missing, 'with frames missing')):
            if rights['questions']:
                _print(f"{what}: {rights['right']} of {rights['questions']} right")
        for note in notes(result for result, _ in record.results):
            _print(f'note: {printable(note)}')
        _print(f'wrote {self._options.output / "report.html"}, results.json, results.csv, '
               'timeline.csv, outcomes.jsonl and live.jsonl')

    def _compare(self, source: BagSource, node: NodeHandle, record: ReplayRecord) -> int:
        options = self._options
        if options.compare_with is None:
            command = eval_command(
                options.bag, options.questions, options.output, source.topic, node)
            _print('the offline path, to compare with:\n  ' + shlex.join(command))
            return DONE
        found = compare(record.results, options.compare_with, same_answer)
        _print(f'{len(found.same)} of {len(record.results)} answers are those of '
               f'{options.compare_with}; {len(found.for_losses)} differ, with frames missing; '
               f'{len(found.unexplained)} differ with none missing; {len(found.unknown)} were '
               'not asked there')
        return DIFFERENT if found.unexplained else DONE


def _print(text: str) -> None:
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


def _family_of(model: str) -> ModelFamily:
    """Return the family of the node's model, by which visual tokens are counted."""
    try:
        return model_family(model)
    except ConfigurationError:
        # Only the robot has the model: counted as Qwen2.5-VL's.
        return make_family(shape_config('3B'))
