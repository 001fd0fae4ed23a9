# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The lifecycle node: it builds the memory's host and the interfaces, and holds their life.

| state | images | questions | memory |
|---|---|---|---|
| unconfigured | not subscribed | refused | none, no model loaded |
| inactive | not subscribed | refused | allocated, kept over a deactivation |
| active | remembered | answered | allocated |

The interfaces know the host, never this node or each other; what one needs of another it gets as
a callable. Their callbacks check, enqueue and return; only what waits for the worker (questions,
requests like reset) waits, in a thread of its own. Nothing raises out of a callback.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.utilities import get_rmw_implementation_identifier

from infinipot_ros.errors import InfinipotError
from infinipot_ros.node.image_conversion import ImageDecoder
from infinipot_ros.node.interfaces.ask_action import AskAction
from infinipot_ros.node.interfaces.diagnostics_publisher import DiagnosticsPublisher
from infinipot_ros.node.interfaces.evidence_markers import EvidenceMarkers
from infinipot_ros.node.interfaces.goal_publisher import GoalPublisher
from infinipot_ros.node.interfaces.image_input import ImageInputs
from infinipot_ros.node.interfaces.memory_image import MemoryImage
from infinipot_ros.node.interfaces.memory_services import MemoryServices
from infinipot_ros.node.interfaces.parameter_server import ParameterServer
from infinipot_ros.node.interfaces.pose_input import PoseInput, check_poses
from infinipot_ros.node.interfaces.query_service import QueryService
from infinipot_ros.node.interfaces.status_publisher import StatusPublisher
from infinipot_ros.node.interfaces.watch_service import WatchService
from infinipot_ros.node.job_queue import MAX_QUERIES, MAX_TASKS
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.memory_saver import MemorySaver
from infinipot_ros.node.question_handler import QuestionHandler
from infinipot_ros.node.shared_memory import make_room

#: Callbacks that may wait at the same time: questions, tasks, and one lifecycle transition.
BLOCKING_CALLBACKS = MAX_QUERIES + MAX_TASKS + 1
#: Seconds a transition waits for the worker to finish its present piece of work.
RELEASE_S = 30.0
#: Seconds between two checks of what only time brings: a pose topic's type, an autosave.
CHORES_S = 0.5


class InfinipotNode(LifecycleNode):
    """
    The node ``infinipot``.

    Transitions and changes of parameters may wait for the model, so they are in groups of their
    own: a lifecycle manager gives up on a node that does not answer ``~/get_state`` meanwhile.

    :param stop: set by the node when the process should end (autostart failed).
    :raises Exception: whatever rclpy raises about parameters of a wrong type or value.
    """

    def __init__(self, stop: threading.Event) -> None:
        # Before the middleware allocates its own.
        with make_room(get_rmw_implementation_identifier(), os.environ) as segment:
            super().__init__('infinipot')
        # Set at once: a node whose parameters are refused is destroyed, too.
        self._action: AskAction | None = None
        self.exit_status = 0
        self._stop = stop
        transitions = self._regroup('/change_state')
        self._regroup('/set_parameters', '/set_parameters_atomically')
        log = NodeLog(self.get_logger())
        if segment is not None and segment.freed:
            log.info(f'removed {segment.freed} bytes that killed processes had left in shared '
                     'memory')
        if segment is not None and segment.shortage:
            log.warn('shared memory', segment.shortage)
        self.host = host = MemoryHost(self.get_fully_qualified_name(), log, self._value)
        self._live = ParameterServer(self, host)
        self._saver = MemorySaver(host, lambda: self.get_clock().now().nanoseconds)
        self._images = ImageInputs(self, host)
        self._poses = PoseInput(self, host)
        self._watches = WatchService(self, host, self._publish_status)
        # Reports go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._status = StatusPublisher(
            self, host, steady, self._watches.counts, self._saver.last_save_ns)
        diagnostics = DiagnosticsPublisher(
            self, host, steady, self._images.states, self._images.times, self._poses.state,
            lambda: self._saver.problem, segment)
        for listener in (diagnostics.on_frame, self._watches.on_frame):
            host.add_frame_listener(listener)
        handler = QuestionHandler(
            host, EvidenceMarkers(self, host).show, GoalPublisher(self, host).show)
        self._action = AskAction(self, host, handler)
        # The rest acts through what it created in ROS.
        QueryService(self, host, handler)
        MemoryServices(self, host, self._saver, self._publish_status)
        MemoryImage(self, host, steady)
        self.create_timer(CHORES_S, self._do_chores, clock=steady,
                          callback_group=MutuallyExclusiveCallbackGroup())
        if host.value('autostart'):
            # One transition at a time.
            self._autostart_timer = self.create_timer(
                0.0, self._autostart, clock=steady, callback_group=transitions)
        self._publish_status()

    def stop_work(self, timeout_s: float) -> None:
        """
        Save what changed and end the worker before the process leaves.

        :param timeout_s: seconds to finish what cannot be interrupted; a save may take longer.
        """
        end = time.monotonic() + timeout_s
        self._saver.save_before_end(timeout_s, last=True)
        # One that is left behind may still be saving; the end of the process frees the file.
        if self.host.stop(max(0.1, end - time.monotonic())):
            self._saver.release_file()

    def destroy_node(self) -> None:
        """Leave the graph, for good."""
        if self._action is not None:
            self._action.close()
        super().destroy_node()
        # It holds the node's handle; rclpy's LifecycleNode keeps it, and with it the participant.
        self._state_machine = None

    def set_parameters_atomically(
        self, parameter_list: list[Parameter],
    ) -> SetParametersResult:
        """Set parameters, in other forms, too (``adapt``); rclpy's services call this."""
        with self._live.lock:
            return super().set_parameters_atomically(self._live.adapt(parameter_list))

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and allocate the memory; FAILURE with the figures if it cannot be."""
        with self._live.lock:
            self._enter('configuring')
            values = self._live.values()
        log = self.host.log
        log.info(
            f"loading {values['model']} on {values['device']} ({values['dtype']}), for a memory "
            f"of {values['memory.budget']} tokens")
        try:
            check_poses(values['pose_topic'], values['pose_frame'])
            decoder = ImageDecoder(
                values['image_transport'], values['ingest.max_image_pixels'])
            self._saver.hold_file()
            snapshot = self.host.configure(values, decoder, self._stop.is_set)
        except InfinipotError as error:
            log.error(f'cannot configure: {error}')
            self._release()
            self._enter('unconfigured')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            return self._failed('configure', error)
        memory = snapshot.memory
        assert memory is not None
        log.info(
            f"configured: {values['model']} on {values['device']} ({values['dtype']}), policy "
            f"{values['memory.policy']}, {memory.budget_tokens} tokens = {memory.budget_bytes} "
            f'bytes, pixels by {decoder.converter}')
        if snapshot.caveat:
            log.warn('caveat', snapshot.caveat)
        self._saver.start()
        self._enter('inactive')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the images."""
        self._enter('activating')
        try:
            self.host.use_poses(self._poses.open())
            topics = ', '.join(self._images.open())
        except Exception as error:
            return self._failed('activate', error)
        self.host.log.info(f'active: remembering {topics}')
        self._enter('active')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the memory stays as it is."""
        self._enter('deactivating')
        self._stop_listening()
        self._saver.save_before_end(RELEASE_S, last=False)
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
        self.host.log.error('after the failed transition the memory is dropped: configure again')
        self._release()
        self._enter('unconfigured')
        return super().on_error(state)

    def _regroup(self, *endings: str) -> MutuallyExclusiveCallbackGroup:
        """Take services of rclpy's out of the group that it has them all in."""
        group = MutuallyExclusiveCallbackGroup()
        for service in self.services:
            if service.srv_name.endswith(endings):
                service.callback_group = group
                group.add_entity(service)
        return group

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _publish_status(self) -> None:
        self._status.publish()

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and \
                    self.trigger_activate() == TransitionCallbackReturn.SUCCESS:
                return
        except Exception as error:
            self.host.report_fault(error)
        if not self._stop.is_set():
            self.get_logger().fatal('autostart failed (the reason is above); ending. With '
                                    'autostart:=false the node stays and can be configured')
            self.exit_status = 1
            self._stop.set()

    def _do_chores(self) -> None:
        try:
            self._poses.look()
            self._saver.autosave()
        except Exception as error:
            self.host.report_fault(error)

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        # rclpy would go to ErrorProcessing on the exception itself, but log nothing about it.
        self.host.log.error(f'cannot {transition}: {type(error).__name__}: {error}')
        return TransitionCallbackReturn.ERROR

    def _enter(self, phase: str) -> None:
        self.host.enter(phase)
        self._publish_status()

    def _stop_listening(self) -> None:
        self._images.close()
        self._poses.close()
        self.host.drop_waiting('inactive')

    def _release(self) -> None:
        self._stop_listening()
        if self.host.phase != 'unconfigured':
            self._saver.save_before_end(RELEASE_S, last=True)
        self._watches.clear()
        if self.host.release(RELEASE_S, self._stop.is_set):
            self._saver.release_file()
