# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The process around the node: signals, threads, exit status.

Handlers are installed before anything slow is imported. ``ros2 launch`` and a terminal both
send SIGINT on Ctrl-C, so it comes twice; the handlers only set an event, as often as they like.
The process leaves within ``STOP_S`` whatever the model does: status 0 when it was asked to
stop, 1 when it could not start.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

#: Seconds the worker gets to finish what cannot be interrupted, before it is left behind.
STOP_S = 2.0


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or the context's shutdown.

    :param args: command line with ROS arguments; ``sys.argv`` when None.
    :return: the exit status.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    # The model's thread is busy in Python now and then; callbacks should not wait 5 ms for it.
    sys.setswitchinterval(0.001)
    # A log is no terminal: no progress bars while the weights load.
    os.environ.setdefault('TQDM_DISABLE', '1')
    status, finished = _serve(args, stop)
    if not finished:
        # A thread inside a forward pass or a model load cannot be joined, and the interpreter
        # must not be torn down under it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _serve(args: list[str] | None, stop: threading.Event) -> tuple[int, bool]:
    import rclpy
    from rclpy.logging import get_logger
    from rclpy.signals import SignalHandlerOptions

    from infinipot_ros.node.executor import SurvivingExecutor
    from infinipot_ros.node.memory_node import BLOCKING_CALLBACKS, InfinipotNode
    from infinipot_ros.node.worker import THREAD_NAME

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        try:
            node = InfinipotNode(stop)
        except Exception as error:
            get_logger('infinipot').fatal(f'cannot start: {error}')
            return 1, True
        executor = SurvivingExecutor(BLOCKING_CALLBACKS + 4, node.survived)
        executor.add_node(node)

        def spin() -> None:
            executor.spin_until(stop)
            stop.set()

        spinner = threading.Thread(target=spin, name='infinipot_spin', daemon=True)
        spinner.start()
        stop.wait()
        node.stop_work(STOP_S)
        spinner.join(1.0)
        if spinner.is_alive():
            return node.exit_status, False
        # Leave the graph properly even if a model's thread is left behind.
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        # A cleanup that was under way leaves one behind, too, which the node no longer knows.
        left_behind = any(thread.name == THREAD_NAME for thread in threading.enumerate())
        return node.exit_status, not left_behind
    finally:
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == '__main__':
    sys.exit(main())
