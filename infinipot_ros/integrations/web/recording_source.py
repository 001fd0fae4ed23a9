# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording or camera behind the page: played into a memory, and asked meanwhile."""

from __future__ import annotations

import io
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from infinipot_ros.errors import (
    BusyError,
    ConfigurationError,
    InfinipotError,
    QuestionCode,
    QuestionError,
)
from infinipot_ros.evaluation.report.formatting import clock_text
from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
from infinipot_ros.integrations.web.page_source import (
    MOST_MOMENTS,
    CountRate,
    PageAnswer,
    PageMoment,
    PageQuestion,
    PageStatus,
    PageWatch,
    described_drops,
)
from infinipot_ros.node.frame_queue import IngestPolicy
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.jobs import QuestionRequest, canceled
from infinipot_ros.node.logs import Log
from infinipot_ros.node.pose_buffer import PoseBuffer
from infinipot_ros.node.worker import MemoryWorker
from infinipot_ros.recordings.cameras import CameraSource
from infinipot_ros.recordings.frame_source import FrameSource
from infinipot_ros.ros_time import SECOND_NS

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.evidence import Evidence
    from infinipot_ros.visual_memory.frame import Frame
    from infinipot_ros.visual_memory.memory_config import MemoryConfig
    from infinipot_ros.visual_memory.observations import Observation
    from infinipot_ros.visual_memory.sessions import Sessions
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Frames that may wait for the model; then the recording waits: none is lost.
MOST_WAITING = 2
#: Longer pauses of the recording, in seconds as it is played, are cut to this.
MAX_PAUSE_S = 5.0
#: Seconds an answer may take, waiting included.
ANSWER_S = 120.0
#: Longer side of the newest picture, pixels.
PICTURE_SIDE, JPEG_QUALITY = 960, 85


class RecordingSource:
    """
    A memory in a worker of its own, as the node has it, fed by a thread that plays.

    :param recording: open, or a camera; closed when it has been played.
    :param speed: how much faster than recorded it is played, at most; the model may be slower.
    :param poses: where the robot was; None: unknown.
    :raises ConfigurationError: ``speed`` is not above 0, or the memory cannot be built.
    """

    watches_note = (
        'There are no standing questions here: they belong to a running node, '
        'infinipot serve --node /infinipot.')

    def __init__(self, recording: FrameSource, settings: MemoryConfig, log: Log, *,
                 speed: float = 1.0, poses: PoseBuffer | None = None) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ConfigurationError(f'speed is {speed}, it must be above 0: 1 plays as recorded')
        self._recording, self._settings, self._poses = recording, settings, poses
        self._speed = speed
        self._rate = CountRate()
        self._worker = MemoryWorker(
            JobQueue(IngestPolicy(fps=0.0, queue_size=2 * MOST_WAITING, keep_last=False)),
            self._build, lambda queued: queued.item, log, _sessions)
        self._first_ns = 0
        self._fault = ''
        self._due_s = 0.0
        self._picture: tuple[int, bytes | None] = (0, None)
        self._moments: tuple[str, Sequence[PageMoment]] = ('', ())
        self._closed, self._ended = threading.Event(), threading.Event()
        self._player = threading.Thread(target=self._play, name='infinipot_player', daemon=True)

    def start(self) -> None:
        """
        Load the model, then begin to play.

        :raises ConfigurationError: the memory cannot be built.
        """
        self._worker.start().result()
        self._player.start()

    def close(self) -> None:
        """End the player and the worker; may be repeated."""
        self._closed.set()
        if isinstance(self._recording, CameraSource):
            self._recording.end()
        if self._player.ident is not None:
            self._player.join(5.0)
        self._worker.stop(5.0)

    # -- what is shown ------------------------------------------------------------------------

    def status(self) -> PageStatus:
        """Return the present figures."""
        found, recording = self._worker.snapshot(), self._recording
        drops = Counter(found.drops) + Counter(recording.dropped)
        drops['rate'] += recording.skipped
        status = PageStatus(
            recording.path.name, 'camera' if recording.live else 'recording', *self._state(),
            caveat=found.caveat, model=self._settings.model, policy=self._settings.policy,
            frames_seen=recording.seen, drops=described_drops(drops),
            query_ms=found.last_query_ms, sessions=found.sessions)
        memory = found.memory
        if memory is None:
            return status
        kept = memory.frames_encoded + memory.frames_pending
        fps, kept_fps = self._rate.of(recording.seen, kept)
        return replace(
            status, frames_kept=kept, tokens=memory.tokens, budget_tokens=memory.budget_tokens,
            bytes=memory.bytes, budget_bytes=memory.budget_bytes,
            compressions=memory.compressions, fps=fps, kept_fps=kept_fps,
            ingest_ms=memory.last_ingest_ms,
            oldest=self._clock(memory.oldest_ns), newest=self._clock(memory.newest_ns),
            span_s=(memory.newest_ns - memory.oldest_ns) / SECOND_NS,
            picture=str(memory.newest_ns), moments=f'{memory.newest_ns}.{memory.compressions}')

    def _state(self) -> tuple[str, str]:
        if self._fault:
            return 'failed', (f'The recording could not be played to its end: {self._fault}. '
                              'What was seen before can be asked about.')
        if self._ended.is_set():
            return 'ended', ('The recording has ended. What is remembered of it can still be '
                             'asked about.')
        if self._recording.live:
            if away := self._recording.away:
                return 'away', (
                    f'{away[0].upper()}{away[1:]}. It is looked for again every few seconds; what '
                    'was seen before can be asked about.')
            return 'playing', 'Watching the camera.'
        of = self._recording.seconds
        return 'playing', (f'Playing {of:,.0f} s of recording' if of else 'Playing') + (
            f', {self._speed:g} times as fast as recorded.' if self._speed != 1.0 else '.')

    def picture(self, name: str) -> bytes | None:
        """Return the newest frame as jpeg; there is no ``strip``."""
        latest = self._worker.latest
        if name != 'latest' or latest is None:
            return None
        stamp_ns, jpeg = self._picture
        if stamp_ns != latest.stamp_ns or jpeg is None:
            image, stream = Image.fromarray(latest.rgb), io.BytesIO()
            image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
            image.save(stream, 'JPEG', quality=JPEG_QUALITY)
            jpeg = stream.getvalue()
            self._picture = latest.stamp_ns, jpeg
        return jpeg

    def moments(self) -> Sequence[PageMoment]:
        """Return what is remembered, oldest first; of very many, some, evenly."""
        memory = self._worker.snapshot().memory
        version = '' if memory is None else f'{memory.newest_ns}.{memory.compressions}'
        if version and version != self._moments[0]:
            try:
                found = self._worker.queue.run('moments', self._read_moments).result(ANSWER_S)
            except (BusyError, QuestionError, FutureTimeoutError):
                # Others' requests wait: what was known a moment ago will do.
                return self._moments[1]
            self._moments = version, found
        return self._moments[1]

    def thumbnail(self, key: int) -> bytes | None:
        """Return the jpeg of a moment, where it is still held."""
        return next((each.picture for each in self._moments[1] if each.key == key), None)

    def _read_moments(self, memory: VisualMemory) -> list[PageMoment]:
        held, known = memory.shares_held(), memory.moments()
        step = max(1.0, len(known) / MOST_MOMENTS)
        chosen = [known[int(index * step)] for index in range(math.ceil(len(known) / step))]
        return [self._moment(grid, each, held.get(grid, 0.0), memory.thumbnails.get(grid))
                for grid, each in chosen]

    def _moment(
        self, key: int, seen: Observation | Evidence, share: float, picture: bytes | None,
    ) -> PageMoment:
        pose = seen.pose
        return PageMoment(
            key if picture is not None else -1, self._clock(seen.first_ns),
            seen.first_ns / SECOND_NS, (seen.last_ns - seen.first_ns) / SECOND_NS,
            seen.camera, share, None if pose is None else (pose.x, pose.y),
            '' if pose is None else pose.frame_id, picture)

    def _clock(self, stamp_ns: int) -> str:
        return clock_text((stamp_ns - self._first_ns) / SECOND_NS) if stamp_ns else ''

    # -- questions ----------------------------------------------------------------------------

    def ask(self, question: PageQuestion, on_text: Callable[[str], None],
            is_canceled: Callable[[], bool]) -> PageAnswer:
        """
        Ask the memory and wait.

        :raises InfinipotError: there is no answer, and why.
        """
        memory = self._worker.snapshot().memory
        held_ns = (memory.oldest_ns, memory.newest_ns) if memory is not None else (0, 0)
        first_ns = self._first_ns
        stamps = {name: stamp_of(text, first_ns, held_ns[1], name)
                  for name, text in question.times.items()}
        job = self._worker.queue.ask(
            QuestionRequest(
                question.question, since_ns=stamps.get('since'), until_ns=stamps.get('until'),
                session=question.session, thumbnails=True), ANSWER_S, on_text, is_canceled)
        try:
            answer = job.future.result(job.wait_s).answer
        except FutureTimeoutError:
            raise QuestionError(
                QuestionCode.TIMEOUT, f'no answer within {ANSWER_S:g} s: ask less at once, or '
                'choose a smaller model') from None
        except CancelledError:
            raise canceled() from None
        except QuestionError as error:
            raise typed_scope(error, question.times, first_ns, held_ns) from error
        return PageAnswer(
            answer.text, answer.note,
            f'{self._clock(answer.observed_from_ns)} to {self._clock(answer.observed_to_ns)}',
            answer.latency_s, answer.truncated,
            [replace(self._moment(each.grid, each, each.score, each.thumbnail),
                     when=self._clock(each.stamp_ns)) for each in answer.evidence])

    def watches(self) -> Sequence[PageWatch]:
        """Return none: see ``watches_note``."""
        return ()

    def begin_watch(self, watch: PageWatch) -> None:
        """:raises InfinipotError: always."""
        raise InfinipotError(self.watches_note)

    def end_watch(self, number: int) -> None:
        """:raises InfinipotError: always."""
        raise InfinipotError(self.watches_note)

    # -- the threads --------------------------------------------------------------------------

    def _build(self) -> VisualMemory:
        from infinipot_ros.visual_memory.shared_model import use_few_threads
        from infinipot_ros.visual_memory.visual_memory import VisualMemory

        memory = VisualMemory(self._settings)
        use_few_threads(memory.plan.weights, self._settings.device)
        return memory

    def _play(self) -> None:
        try:
            with self._recording as frames:
                last_ns = 0
                for frame in frames:
                    self._wait((frame.stamp_ns - last_ns) / SECOND_NS if last_ns else 0.0)
                    if self._closed.is_set():
                        return
                    last_ns = frame.stamp_ns
                    self._first_ns = self._first_ns or frame.stamp_ns
                    self._worker.queue.offer(frame.stamp_ns, self._placed(frame), frame.camera)
        except Exception as error:
            # A damaged file: the page says so, and what was seen stays.
            self._fault = str(error) or type(error).__name__
        finally:
            self._ended.set()

    def _wait(self, gap_s: float) -> None:
        """Wait as long as the recording did, from the last frame on, and for the model."""
        if not self._recording.live:
            now = time.monotonic()
            pause_s = min(max(0.0, gap_s / self._speed), MAX_PAUSE_S)
            self._due_s = max(self._due_s or now, now - MAX_PAUSE_S) + pause_s
            self._closed.wait(max(0.0, self._due_s - now))
        while (self._worker.queue.status().waiting_frames >= MOST_WAITING
               and not self._closed.wait(0.005)):
            pass

    def _placed(self, frame: Frame) -> Frame:
        if frame.pose is not None or self._poses is None:
            return frame
        return replace(frame, pose=self._poses.at(frame.stamp_ns))


def _sessions() -> Sessions:
    from infinipot_ros.visual_memory.sessions import Sessions

    return Sessions()
