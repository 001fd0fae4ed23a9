# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The lifecycle node: ROS on one side, the worker on the other.

| state | images | questions | memory |
|---|---|---|---|
| unconfigured | not subscribed | refused | none, no model loaded |
| inactive | not subscribed | refused | allocated, kept over a deactivation |
| active | remembered | answered | allocated |

Its callbacks check, enqueue and return; only what waits for the worker (questions, requests like
reset) waits, in a thread of its own. Nothing raises out of a callback. What it does is in modules
by concern: this one holds its life.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.utilities import get_rmw_implementation_identifier

from infinipot_ros.errors import InfinipotError
from infinipot_ros.node import frame_decoder as cameras
from infinipot_ros.node import parameters
from infinipot_ros.node.diagnostics import CallbackTimes, PoseSourceState, RecentTimes
from infinipot_ros.node.factory import build_observer, build_sessions
from infinipot_ros.node.frame_decoder import FrameDecoder
from infinipot_ros.node.image_conversion import Decoder
from infinipot_ros.node.interfaces.ask_action import AskAction
from infinipot_ros.node.interfaces.evidence_markers import EvidenceMarkers
from infinipot_ros.node.interfaces.memory_image import MemoryImage
from infinipot_ros.node.interfaces.memory_services import MemoryServices
from infinipot_ros.node.interfaces.parameter_server import ParameterServer
from infinipot_ros.node.interfaces.pose_input import (
    PoseTopic,
    PoseTransforms,
    check_poses,
    open_poses,
)
from infinipot_ros.node.interfaces.question_handler import QuestionHandler
from infinipot_ros.node.interfaces.status_publisher import StatusPublisher
from infinipot_ros.node.interfaces.watch_service import WatchService
from infinipot_ros.node.job_queue import MAX_QUERIES, MAX_TASKS
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.pose_buffer import PoseBuffer
from infinipot_ros.node.shared_memory import segment_room
from infinipot_ros.node.worker import MemoryWorker

if TYPE_CHECKING:
    from infinipot_ros.node.interfaces.image_input import ImageInput

#: Callbacks that may wait at the same time: questions, tasks, and one lifecycle transition.
BLOCKING_CALLBACKS = MAX_QUERIES + MAX_TASKS + 1
#: Seconds a transition waits for the worker to finish its present piece of work.
RELEASE_S = 30.0
#: Seconds between two looks at what only time brings: a pose topic's type, an autosave.
CHORES_S = 0.5


class InfinipotNode(LifecycleNode):
    """
    The node ``infinipot``.

    :param stop: set by the node when the process should end (autostart failed).
    :raises Exception: whatever rclpy says about parameters of a wrong type or value.
    """

    def __init__(self, stop: threading.Event) -> None:
        # Before the middleware takes its own.
        self.segment_room = segment_room(get_rmw_implementation_identifier(), os.environ)
        super().__init__('infinipot')
        # Set at once: a node whose parameters are refused is destroyed, too.
        self._action: AskAction | None = None
        self.exit_status = 0
        self._stop = stop
        self.log = NodeLog(self.get_logger())
        if self.segment_room is not None and self.segment_room.shortage:
            self.log.warn('shared memory', self.segment_room.shortage)
        #: The lifecycle state's label, or that of a transition (``configuring``, ...).
        self.phase = 'unconfigured'
        self.worker: MemoryWorker | None = None
        self.inputs: list[ImageInput] = []
        self.camera_names: tuple[str, ...] = ()
        self.times = CallbackTimes()
        #: From frames' stamps until they could be asked about.
        self.answerable = RecentTimes()
        self.fault_count = 0
        self._frames: FrameDecoder | None = None
        self._pose_input: PoseTopic | PoseTransforms | None = None

        self._live = ParameterServer(self)
        self.poses = PoseBuffer(parameters.pose_gap_ns(self._live.values()))
        # Reports go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        asking = QuestionHandler(self)
        self._action = AskAction(self, asking)
        self.controls = MemoryServices(self)
        self.watching = WatchService(self, asking)
        self._reports = StatusPublisher(self, steady)
        self._picture = MemoryImage(self, steady)
        asking.on_answer = EvidenceMarkers(self).show
        self.create_timer(CHORES_S, self._do_chores, clock=steady,
                          callback_group=MutuallyExclusiveCallbackGroup())
        if self.value('autostart'):
            # In the default group, as the lifecycle services: one transition at a time.
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=steady)
        self.publish_status()

    def value(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.get_parameter(name).value

    def frame_id_of(self, camera: str) -> str:
        """Return the frame of a camera's newest image."""
        return self._frames.frame_id_of(camera) if self._frames is not None else camera

    def pose_counts(self) -> tuple[int, int]:
        """Count the frames with a pose and those for which none was known, since configure."""
        frames = self._frames
        return (frames.with_pose, frames.without_pose) if frames is not None else (0, 0)

    def pose_state(self) -> PoseSourceState | None:
        """Return where poses come from; None while the node does not listen."""
        pose_input = self._pose_input
        return pose_input.state() if pose_input is not None else None

    def publish_status(self) -> None:
        """Tell the state on ``~/status`` now."""
        self._reports.publish_status()

    def report_fault(self, error: Exception) -> None:
        """Count and report an exception that must not end the node."""
        self.fault_count += 1
        self.log.warn(f'survived {type(error).__name__}',
                      f'survived {type(error).__name__}: {error}')

    def stop_work(self, timeout_s: float) -> None:
        """
        Save what changed and end the worker before the process leaves.

        :param timeout_s: seconds to finish what cannot be interrupted; a save may take its time.
        """
        deadline = time.monotonic() + timeout_s
        self.controls.save_before_end(timeout_s, last=True)
        worker = self.worker
        # One that is left behind may still be saving; the end of the process frees the file.
        if worker is not None and worker.stop(max(0.1, deadline - time.monotonic())):
            self.controls.release_file()

    def destroy_node(self) -> None:
        """Leave the graph, for good."""
        if self._action is not None:
            self._action.close()
        super().destroy_node()
        # It holds the node's handle; rclpy's LifecycleNode keeps it, and with it the participant.
        self._state_machine = None

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and allocate the memory; FAILURE with the figures if it cannot be."""
        self._enter('configuring')
        values = self._live.values()
        try:
            check_poses(values['pose_topic'], values['pose_frame'])
            decoder = Decoder(values['image_transport'])
            names = parameters.camera_names(values)
            self._frames = FrameDecoder(decoder, names, self._known_cameras)
            self.camera_names = names
            self.controls.hold_file()
            name = self.get_fully_qualified_name()
            self.worker = MemoryWorker(
                lambda: build_observer(values, name, self.log), parameters.ingest_policy(values),
                self._frames, self.log, lambda observer: build_sessions(observer, values),
                self._on_frame)
            loaded = self.worker.start()
            if self._stop.is_set():
                self.worker.stop(0.0)
            loaded.result()
        except InfinipotError as error:
            self.get_logger().error(f'cannot configure: {error}')
            self._release()
            self._enter('unconfigured')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            return self._failed('configure', error)
        snapshot = self.worker.snapshot()
        memory = snapshot.memory
        assert memory is not None
        self.get_logger().info(
            f"configured: {values['model']} on {values['device']} ({values['dtype']}), policy "
            f"{values['memory.policy']}, {memory.budget_tokens} tokens = {memory.budget_bytes} "
            f'bytes, pixels by {decoder.converter}')
        if snapshot.caveat:
            self.get_logger().warning(snapshot.caveat)
        self.controls.configured()
        self._enter('inactive')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the images."""
        self._enter('activating')
        assert self.worker is not None
        try:
            self._pose_input = open_poses(self, self.poses)
            if self._frames is not None and self._pose_input is not None:
                self._frames.poses = self._pose_input.pose
            cameras.subscribe(self, self.camera_names, self.worker, self.inputs)
        except Exception as error:
            return self._failed('activate', error)
        topics = ', '.join(each.topic for each in self.inputs)
        self.get_logger().info(f'active: remembering {topics}')
        self._enter('active')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the memory stays as it is."""
        self._enter('deactivating')
        self._stop_listening()
        self.controls.save_before_end(RELEASE_S, last=False)
        self._enter('inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the memory and free the model."""
        self._enter('cleaningup')
        self._release()
        self._enter('unconfigured')
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, for good."""
        self._enter('shuttingdown')
        self._release()
        self._enter('finalized')
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a transition raised; the node can be configured again."""
        self.get_logger().error('after the failed transition the memory is dropped: configure '
                                'again')
        self._release()
        self._enter('unconfigured')
        return super().on_error(state)

    def _known_cameras(self) -> tuple[str, ...]:
        worker = self.worker
        return worker.cameras() if worker is not None else ()

    def _on_frame(self, newest_ns: int) -> None:
        # In the worker's thread, as soon as the frame is remembered.
        try:
            self.answerable.add((self.get_clock().now().nanoseconds - newest_ns) / 1e6)
            self.watching.on_frame(newest_ns)
        except Exception as error:
            self.report_fault(error)

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and \
                    self.trigger_activate() == TransitionCallbackReturn.SUCCESS:
                return
        except Exception as error:
            self.report_fault(error)
        if not self._stop.is_set():
            self.get_logger().fatal('autostart failed (the reason stands above); ending. With '
                                    'autostart:=false the node stays and can be configured')
            self.exit_status = 1
            self._stop.set()

    def _do_chores(self) -> None:
        try:
            pose_input = self._pose_input
            if pose_input is not None:
                pose_input.look()
            self.controls.autosave()
        except Exception as error:
            self.report_fault(error)

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        # rclpy would go to ErrorProcessing on the exception itself, but say nothing about it.
        self.get_logger().error(f'cannot {transition}: {type(error).__name__}: {error}')
        return TransitionCallbackReturn.ERROR

    def _enter(self, state: str) -> None:
        self.phase = state
        self.publish_status()

    def _stop_listening(self) -> None:
        inputs, self.inputs = self.inputs, []
        for each in inputs:
            each.close()
        pose_input, self._pose_input = self._pose_input, None
        if pose_input is not None:
            pose_input.close()
        if self.worker is not None:
            self.worker.drop_waiting('inactive')

    def _release(self) -> None:
        self._stop_listening()
        if self.phase != 'unconfigured':
            self.controls.save_before_end(RELEASE_S, last=True)
        self.watching.clear()
        worker, self.worker = self.worker, None
        deadline = time.monotonic() + RELEASE_S
        # In slices: the process may be told to leave while a forward pass is waited for.
        while worker is not None and not worker.stop(0.1):
            if self._stop.is_set():
                return
            if time.monotonic() > deadline:
                self.get_logger().error(f'the model is still busy after {RELEASE_S:.0f} s; its '
                                        'memory is freed when it ends')
                return
        self.controls.release_file()
