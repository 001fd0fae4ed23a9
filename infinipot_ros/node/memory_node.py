# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The lifecycle node: ROS on one side, the worker on the other.

| state | images | questions | memory |
|---|---|---|---|
| unconfigured | not subscribed | refused | none, no model loaded |
| inactive | not subscribed | refused | allocated, kept over a deactivation |
| active | remembered | answered | allocated |

Its callbacks check, enqueue and return; only a question waits, in a thread of its own. Nothing
raises out of a callback.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.errors import InfinipotError, QuestionCode, QuestionError
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node import diagnostics, parameters
from infinipot_ros.node.conversion import Decoder
from infinipot_ros.node.image_input import ImageInput
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.status import answer_response, error_response, status_message
from infinipot_ros.node.worker import MAX_QUERIES, Worker
from infinipot_ros.srv import Query

if TYPE_CHECKING:
    from infinipot_ros.observer.observer import Observer

#: Callbacks that may wait at the same time: questions, and one lifecycle transition.
BLOCKING_CALLBACKS = MAX_QUERIES + 1
#: Seconds a question may overrun its timeout inside one forward pass before it is given up.
GRACE_S = 0.5
#: Seconds a transition waits for the worker to finish its present piece of work.
RELEASE_S = 30.0
#: Overrides that rclpy itself understands.
FOREIGN_PARAMETERS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


class InfinipotNode(LifecycleNode):
    """
    The node ``infinipot``.

    :param stop: set by the node when the process should end (autostart failed).
    :raises Exception: whatever rclpy says about parameters of a wrong type or value.
    """

    def __init__(self, stop: threading.Event) -> None:
        super().__init__('infinipot')
        self.exit_status = 0
        self._stop = stop
        self._log = NodeLog(self.get_logger())
        self._state = 'unconfigured'
        self._worker: Worker | None = None
        self._input: ImageInput | None = None
        self._times = diagnostics.CallbackTimes()
        self._survived_count = 0
        self._queue_drops_told = 0

        self.add_on_set_parameters_callback(self._on_set_parameters)
        for row in parameters.TABLE:
            self.declare_parameter(row.name, row.default, parameters.descriptor(row))
        self._warn_of_unknown_parameters()
        if hasattr(self, 'add_post_set_parameters_callback'):  # Iron and later
            self.add_post_set_parameters_callback(self._on_parameters_set)

        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status_publisher = self.create_publisher(MemoryStatus, '~/status', latched)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_service(Query, '~/query', self._on_query,
                            callback_group=ReentrantCallbackGroup())
        # Reports go on while simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        reports = MutuallyExclusiveCallbackGroup()
        self.create_timer(self._value('status.period'), self._publish_status,
                          callback_group=reports, clock=self._steady)
        self.create_timer(1.0, self._publish_diagnostics, callback_group=reports,
                          clock=self._steady)
        if self._value('autostart'):
            # In the default group, as the lifecycle services: one transition at a time.
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self._steady)
        self._publish_status()

    def survived(self, error: Exception) -> None:
        """Count and report an exception that must not end the node."""
        self._survived_count += 1
        self._log.warn(f'survived {type(error).__name__}',
                       f'survived {type(error).__name__}: {error}')

    def stop_work(self, timeout_s: float) -> None:
        """End the worker before the process leaves, if it ends in time."""
        worker = self._worker
        if worker is not None:
            worker.stop(timeout_s)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and allocate the memory; FAILURE with the figures if it cannot be."""
        self._enter('configuring')
        values = self._values()
        try:
            decoder = Decoder(values['image_transport'])
            self._worker = Worker(
                lambda: _build_observer(values), parameters.ingest_policy(values), decoder,
                self._log)
            self._queue_drops_told = 0
            loaded = self._worker.start()
            if self._stop.is_set():
                self._worker.stop(0.0)
            loaded.result()
        except InfinipotError as error:
            self.get_logger().error(f'cannot configure: {error}')
            self._release()
            self._enter('unconfigured')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            return self._failed('configure', error)
        memory = self._worker.snapshot().memory
        assert memory is not None
        self.get_logger().info(
            f"configured: {values['model']} on {values['device']} ({values['dtype']}), policy "
            f"{values['memory.policy']}, {memory.budget_tokens} tokens = {memory.budget_bytes} "
            f'bytes, pixels by {decoder.converter}')
        self._enter('inactive')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the images."""
        self._enter('activating')
        assert self._worker is not None
        try:
            self._input = ImageInput(self, self._value('image_transport'), self._worker,
                                     self._log, self._times, self.survived)
        except Exception as error:
            return self._failed('activate', error)
        self.get_logger().info(f'active: remembering {self._input.topic}')
        self._enter('active')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the memory stays as it is."""
        self._enter('deactivating')
        self._stop_listening()
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

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and \
                    self.trigger_activate() == TransitionCallbackReturn.SUCCESS:
                return
        except Exception as error:
            self.survived(error)
        if not self._stop.is_set():
            self.get_logger().fatal('autostart failed (the reason stands above); ending. With '
                                    'autostart:=false the node stays and can be configured')
            self.exit_status = 1
            self._stop.set()

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        # rclpy would go to ErrorProcessing on the exception itself, but say nothing about it.
        self.get_logger().error(f'cannot {transition}: {type(error).__name__}: {error}')
        return TransitionCallbackReturn.ERROR

    def _enter(self, state: str) -> None:
        self._state = state
        self._publish_status()

    def _stop_listening(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
        if self._worker is not None:
            self._worker.pause()

    def _release(self) -> None:
        self._stop_listening()
        worker, self._worker = self._worker, None
        deadline = time.monotonic() + RELEASE_S
        # In slices: the process may be told to leave while a forward pass is waited for.
        while worker is not None and not worker.stop(0.1) and not self._stop.is_set():
            if time.monotonic() > deadline:
                self.get_logger().error(f'the model is still busy after {RELEASE_S:.0f} s; its '
                                        'memory is freed when it ends')
                return

    # Questions

    def _on_query(self, request: Any, response: Any) -> Any:
        started = time.monotonic()
        try:
            answer = self._ask(request.question, request.max_new_tokens)
            return answer_response(response, answer, time.monotonic() - started)
        except QuestionError as error:
            return error_response(response, error.code, str(error))
        except Exception as error:
            self.survived(error)
            return error_response(response, QuestionCode.INTERNAL,
                                  f"{type(error).__name__}: {error}; see the node's log")

    def _ask(self, question: str, max_new_tokens: int) -> Any:
        worker = self._worker
        if self._state != 'active' or worker is None:
            raise QuestionError(
                QuestionCode.INACTIVE, f'the node is {self._state}: questions are answered while '
                'it is active (autostart:=true, or the lifecycle transitions configure, activate)')
        if '\ufffd' in question:
            # What rclpy makes of bytes that are no UTF-8.
            raise QuestionError(
                QuestionCode.INVALID_QUESTION, 'the question is not valid UTF-8 (or holds U+FFFD):'
                ' encode it as UTF-8')
        timeout_s = float(self._value('query.timeout'))
        future = worker.ask(question, max_new_tokens, timeout_s)
        try:
            return future.result(timeout_s + GRACE_S)
        except FutureTimeoutError:
            future.cancel()
            raise QuestionError(
                QuestionCode.TIMEOUT, f'no answer within query.timeout = {timeout_s} s: raise it, '
                'or lower query.max_new_tokens or ingest.max_pixels') from None

    # Reports

    def _publish_status(self) -> None:
        try:
            worker = self._worker
            self._status_publisher.publish(status_message(
                self.get_clock().now().to_msg(), self._state, self._value('model'),
                self._value('memory.policy'), worker.snapshot() if worker else None))
        except Exception as error:
            self.survived(error)

    def _publish_diagnostics(self) -> None:
        try:
            if not hasattr(self, 'add_post_set_parameters_callback'):  # Humble
                self._on_parameters_set([])
            self._diagnostics_publisher.publish(self._diagnostics())
        except Exception as error:
            self.survived(error)

    def _diagnostics(self) -> DiagnosticArray:
        worker, images = self._worker, self._input
        snapshot = worker.snapshot() if worker else None
        drops = snapshot.drops.get('queue', 0) if snapshot else 0
        new_drops, self._queue_drops_told = drops - self._queue_drops_told, drops
        name = self.get_fully_qualified_name()
        array = DiagnosticArray()
        now = self.get_clock().now()
        array.header.stamp = now.to_msg()
        array.status = [
            diagnostics.images_status(
                name, self._state, images.graph() if images else None,
                images.age_s() if images else 0.0, self._value('ingest.starvation_timeout'),
                snapshot, new_drops, self._times, clock_missing=now.nanoseconds == 0),
            diagnostics.worker_status(name, self._state, snapshot, self._survived_count),
            diagnostics.memory_status(name, snapshot),
        ]
        return array

    # Parameters

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _values(self) -> dict[str, Any]:
        return {row.name: self._value(row.name) for row in parameters.TABLE}

    def _on_set_parameters(self, changed: list[Any]) -> SetParametersResult:
        known = {row.name: self._value(row.name) for row in parameters.TABLE
                 if self.has_parameter(row.name)}
        reason = parameters.refusal({p.name: p.value for p in changed}, known,
                                    self._worker is not None)
        return SetParametersResult(successful=not reason, reason=reason)

    def _on_parameters_set(self, _changed: list[Any]) -> None:
        if self._worker is not None:
            self._worker.set_policy(parameters.ingest_policy(self._values()))

    def _warn_of_unknown_parameters(self) -> None:
        # rclpy ignores overrides nobody declared, so a typing error would pass unseen.
        for name in getattr(self, '_parameter_overrides', {}):
            if name not in parameters.BY_NAME and not name.startswith(FOREIGN_PARAMETERS):
                self.get_logger().warning(f"parameter '{name}' is unknown and ignored")


def _build_observer(values: dict[str, Any]) -> Observer:
    from infinipot_ros.observer.observer import Observer
    return Observer(parameters.observer_settings(values))
