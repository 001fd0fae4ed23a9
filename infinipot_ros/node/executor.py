# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
An executor that survives bad input from the network.

rclpy's executors let an exception end ``spin()``, and one raised while a message is *taken*
(before any callback runs) also leaves its entity marked busy forever. Here a failed take is
reported and skipped, and so is an exception from a callback or from sending a reply to a client
that is gone. A request that could not be taken gets no reply: its client runs into its own
timeout.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    MultiThreadedExecutor,
    ShutdownException,
    TimeoutException,
)


class FaultTolerantExecutor(MultiThreadedExecutor):
    """
    A thread pool of fixed size whose ``spin_until`` ends on request only.

    :param threads: size of the pool; must exceed the callbacks that may block at once.
    :param report: called with every exception that was caught, from any thread.
    """

    def __init__(self, threads: int, report: Callable[[Exception], object],
                 context: Context | None = None) -> None:
        super().__init__(num_threads=threads, context=context)
        self._report = report

    def spin_until(self, stop: threading.Event) -> None:
        """Run callbacks until ``stop`` is set or the context is shut down."""
        while not stop.is_set() and self.context.ok():
            try:
                self.spin_once(timeout_sec=0.2)
            except (ExternalShutdownException, ShutdownException):
                break
            except Exception as error:
                self._report(error)

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """
        Wait as rclpy does, but survive what is destroyed meanwhile.

        A deactivation destroys a subscription while it is waited for. rclpy expects that of the
        subscription, but not of its events.
        """
        try:
            return super().wait_for_ready_callbacks(*args, **kwargs)
        except InvalidHandle as error:
            raise TimeoutException from error

    # The takes of rclpy, guarded. They exist under these names from Humble to Lyrical; where one
    # does not, the class simply never calls it.

    def _take_subscription(self, sub: Any) -> Any:
        return self._guarded('_take_subscription', sub)

    def _take_service(self, srv: Any) -> Any:
        return self._guarded('_take_service', srv)

    def _take_client(self, client: Any) -> Any:
        return self._guarded('_take_client', client)

    def _take_waitable(self, waitable: Any) -> Any:
        return self._guarded('_take_waitable', waitable)

    def _guarded(self, name: str, entity: Any) -> Any:
        try:
            return getattr(super(), name)(entity)
        except Exception as error:
            self._report(error)
            return None
