# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The memory behind the node: its worker while configured, and who may use it now.

Every interface of the node reaches the memory through here. It knows no ROS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import InfinipotError, QuestionCode, QuestionError
from infinipot_ros.images.image_messages import MAX_FRAME_ID
from infinipot_ros.node import parameters
from infinipot_ros.node.factory import build_memory, build_sessions
from infinipot_ros.node.frame_decoder import FrameDecoder
from infinipot_ros.node.frame_queue import IngestPolicy
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.jobs import QuestionJob, QuestionRequest
from infinipot_ros.node.logs import Log
from infinipot_ros.node.parameter_table import MAX_CAMERAS
from infinipot_ros.node.pose_buffer import PoseSource
from infinipot_ros.node.worker import MemoryWorker
from infinipot_ros.node.worker_status import WorkerStatus

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.frame import Frame, RgbImage
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds a request waits for the worker; large memories on slow disks take their time.
TASK_S = 120.0


class MemoryHost:
    """
    The node's phase, its worker and what they have in common.

    :param name: the node's fully qualified name.
    :param value: returns a parameter's present value by its name.
    """

    def __init__(self, name: str, log: Log, value: Callable[[str], Any]) -> None:
        self.name = name
        self.log = log
        self.value = value
        #: The lifecycle state's label, or that of a transition (``configuring``, ...).
        self.phase = 'unconfigured'
        self.fault_count = 0
        self.camera_names: tuple[str, ...] = ()
        self._worker: MemoryWorker | None = None
        self._frames: FrameDecoder | None = None
        self._frame_listeners: list[Callable[[int], None]] = []

    def add_frame_listener(self, listener: Callable[[int], None]) -> None:
        """
        Register what to do after each frame that was remembered.

        :param listener: called in the worker's thread with the stamp in ns of the newest frame;
            what it raises is reported.
        """
        self._frame_listeners.append(listener)

    def enter(self, phase: str) -> None:
        """Note the lifecycle state or transition."""
        self.phase = phase

    def report_fault(self, error: Exception) -> str:
        """Count and log an exception that must not end the node; return what clients get."""
        self.fault_count += 1
        text = f'{type(error).__name__}: {error}'
        self.log.warn(f'survived {type(error).__name__}', f'survived {text}')
        return f"{text}; see the node's log"

    # -- life ---------------------------------------------------------------------------------

    def configure(self, values: Mapping[str, Any],
                  decode: Callable[[bytes], tuple[RgbImage, str]],
                  stopping: Callable[[], bool] = lambda: False) -> WorkerStatus:
        """
        Load the model and allocate the memory; return when that is done.

        :param values: every parameter.
        :param decode: turns a serialized message into pixels and its ``frame_id``.
        :param stopping: whether the process leaves, so that nothing is waited for.
        :raises ConfigurationError: it cannot be done, and why.
        """
        self.camera_names = parameters.camera_names(values)
        self._frames = FrameDecoder(decode, self.camera_names, self._known_cameras)
        self._worker = worker = MemoryWorker(
            JobQueue(parameters.ingest_policy(values)),
            lambda: build_memory(values, self.name, self.log), self._frames, self.log,
            lambda: build_sessions(values), self._notify)
        loaded = worker.start()
        if stopping():
            worker.stop(0.0)
        loaded.result()
        return worker.snapshot()

    def stop(self, timeout_s: float) -> bool:
        """End the worker, if there is one; return whether it ended in time."""
        worker = self._worker
        return worker is not None and worker.stop(timeout_s)

    def release(self, timeout_s: float, stopping: Callable[[], bool]) -> bool:
        """
        End the worker and drop the memory.

        :param stopping: whether the process leaves, so that nothing is waited for.
        :return: whether the worker ended; if not, its memory is freed when it does.
        """
        worker, self._worker = self._worker, None
        end = time.monotonic() + timeout_s
        # In slices: the process may have to leave while a forward pass is waited for.
        while worker is not None and not worker.stop(0.1):
            if stopping():
                return False
            if time.monotonic() > end:
                self.log.error(f'the model is still busy after {timeout_s:.0f} s; its memory is '
                               'freed when it ends')
                return False
        return True

    @property
    def configured(self) -> bool:
        """Whether there is a memory, or one is being made."""
        return self._worker is not None or self.phase == 'configuring'

    # -- frames -------------------------------------------------------------------------------

    def set_ingest_policy(self, policy: IngestPolicy) -> None:
        """Change the rules of the frame queue from the next message on."""
        if self._worker is not None:
            self._worker.queue.set_policy(policy)

    def drop_waiting(self, reason: str) -> None:
        """Drop the frames that wait for the model."""
        if self._worker is not None:
            self._worker.queue.drop_waiting(reason)

    def use_poses(self, source: PoseSource | None) -> None:
        """Look up each frame's pose in a source from now on; None: frames get no pose."""
        if self._frames is not None:
            self._frames.use_poses(source)

    def frame_id_of(self, camera: str) -> str:
        """Return the ``frame_id`` of a camera's newest image."""
        return self._frames.frame_id_of(camera) if self._frames is not None else camera

    def is_optical(self, camera: str) -> bool:
        """Return whether a camera's poses are those of an optical frame, which looks along z."""
        # Without a pose topic the poses are those of the camera itself, from tf2.
        return not self.value('pose_topic') and 'optical' in self.frame_id_of(camera)

    def pose_counts(self) -> tuple[int, int]:
        """Return how many frames got a pose since configure, and for how many none was known."""
        frames = self._frames
        return (frames.with_pose, frames.without_pose) if frames is not None else (0, 0)

    def latest_frame(self) -> Frame | None:
        """Return the frame that was remembered last."""
        return self._worker.latest if self._worker is not None else None

    # -- questions ----------------------------------------------------------------------------

    def ask(self, question: QuestionRequest, on_text: Callable[[str], None] = lambda _text: None,
            canceled: Callable[[], bool] = lambda: False) -> QuestionJob:
        """
        Queue a question, with ``query.timeout`` as its time limit.

        :param on_text: as in ``QuestionJob``, as is ``canceled``.
        :raises QuestionError: INACTIVE, or BUSY where too many wait.
        """
        return self._open_queue().ask(
            question, float(self.value('query.timeout')), on_text, canceled)

    def check_room(self) -> None:
        """:raises QuestionError: as ``ask`` would now."""
        self._open_queue().check_room()

    def check_cameras(self, names: Sequence[str]) -> None:
        """:raises QuestionError: UNKNOWN_CAMERA, for a name the parameter ``cameras`` lacks."""
        known = self.camera_names
        longest = max(map(len, names), default=0)
        if len(names) > MAX_CAMERAS or longest > MAX_FRAME_ID:
            raise QuestionError(
                QuestionCode.UNKNOWN_CAMERA,
                f'{len(names)} cameras, with names of up to {longest} characters: there are at '
                f'most {MAX_CAMERAS}, with at most {MAX_FRAME_ID}')
        for name in names:
            if known and name not in known:
                raise QuestionError(
                    QuestionCode.UNKNOWN_CAMERA, f"there is no camera '{name}': the parameter "
                    f'cameras has {", ".join(known)}')

    def check_question(self, question: QuestionRequest) -> None:
        """
        Check a question that is to be asked later, and wait for that.

        :raises InfinipotError: it can never be answered, or the node is not configured.
        """
        def check(memory: VisualMemory) -> None:
            from infinipot_ros.visual_memory.scope import Scope
            memory.check_question(question.text, Scope(cameras=question.cameras))

        self.check_cameras(question.cameras)
        self.run('watch', check)

    def withdraw(self, job: QuestionJob) -> None:
        """Cancel a question if it has not had its turn."""
        if self._worker is not None:
            self._worker.queue.withdraw(job)

    # -- tasks --------------------------------------------------------------------------------

    def worker_for(self, action: str) -> MemoryWorker:
        """
        Return the worker of a configured node.

        :param action: what is to be done with the memory, for the message.
        :raises InfinipotError: no model is loaded.
        """
        worker = self._worker
        if self.phase == 'configuring':
            raise InfinipotError(
                f'the node is configuring: it has no memory to {action} yet; try again when it is '
                'inactive or active')
        if worker is None or self.phase == 'unconfigured':
            raise InfinipotError(
                f'the node is {self.phase}: it has no memory to {action}; configure it first '
                '(lifecycle transition configure)')
        return worker

    def run(self, name: str, function: Callable[[VisualMemory], Any]) -> Any:
        """
        Call a function with the memory in the worker's thread, and wait for what it returns.

        :param name: what it does, one word, for reports.
        :raises InfinipotError: it cannot be done now, or ``function`` raised it.
        """
        future = self.worker_for(name).queue.run(name, function)
        try:
            return future.result(TASK_S)
        except FutureTimeoutError:
            state = 'it is canceled' if future.cancel() else 'it is still running'
            raise InfinipotError(
                f'the worker did not finish {name} within {TASK_S:.0f} s; {state}') from None

    def snapshot(self) -> WorkerStatus | None:
        """Return the worker's present figures; None while unconfigured."""
        worker = self._worker
        return worker.snapshot() if worker is not None else None

    def _open_queue(self) -> JobQueue:
        worker = self._worker
        if self.phase != 'active' or worker is None:
            raise QuestionError(
                QuestionCode.INACTIVE, f'the node is {self.phase}: questions are answered while '
                'it is active (autostart:=true, or the lifecycle transitions configure, '
                'activate)')
        return worker.queue

    def _known_cameras(self) -> tuple[str, ...]:
        worker = self._worker
        return worker.cameras() if worker is not None else ()

    def _notify(self, newest_ns: int) -> None:
        for listener in self._frame_listeners:
            try:
                listener(newest_ns)
            except Exception as error:
                self.report_fault(error)
