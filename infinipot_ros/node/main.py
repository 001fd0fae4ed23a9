# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The process around the node: signals, threads, exit status.

Handlers are installed before anything slow is imported. ``ros2 launch`` and a terminal both
send SIGINT on Ctrl-C, so it comes twice. The handlers only note it: they run between any two
steps of the main thread, which may hold the lock of the event that it waits for. The process
leaves within ``STOP_S`` whatever the model does: status 0 when it was asked to stop, 1 when it
could not start.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

#: Seconds the worker gets to finish what cannot be interrupted, before it is left behind.
STOP_S = 2.0
#: Seconds between two looks whether a signal came.
WAKE_S = 0.1


def main(args: list[str] | None = None) -> NoReturn:
    """
    Run the node until SIGINT, SIGTERM or the context's shutdown, then end the process.

    :param args: command line with ROS arguments; ``sys.argv`` when None.
    """
    args = sys.argv if args is None else args
    if {'-h', '--help'}.intersection(args):
        from infinipot_ros.node.parameters import help_text
        print(help_text(), end='')
        sys.exit()
    signals: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    # The model's thread is busy in Python now and then; callbacks should not wait 5 ms for it.
    sys.setswitchinterval(0.001)
    # Progress bars do not belong into a log.
    os.environ.setdefault('TQDM_DISABLE', '1')
    status = _serve(args, signals)
    # Not through the interpreter's own end: a thread inside a forward pass or a model load cannot
    # be joined and must not have it torn down under it, and what is left of rclpy, once collected
    # there, waits for threads of the middleware that wait for the interpreter.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(args: list[str], signals: Sequence[int]) -> int:
    import rclpy
    from rclpy.logging import get_logger
    from rclpy.signals import SignalHandlerOptions

    from infinipot_ros.node.executor import FaultTolerantExecutor
    from infinipot_ros.node.node import BLOCKING_CALLBACKS, InfinipotNode
    from infinipot_ros.node.params_files import unmatched_files
    from infinipot_ros.node.shutdown import leave_ros

    stop = threading.Event()
    node = None
    try:
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = InfinipotNode(stop)
        except Exception as error:
            get_logger('infinipot').fatal(f'cannot start: {error}')
            return 1
        for text in unmatched_files(args, node.get_fully_qualified_name()):
            node.host.log.warn(text, text)
        executor = FaultTolerantExecutor(
            BLOCKING_CALLBACKS + 4, node.host.report_fault)
        executor.add_node(node)

        def spin() -> None:
            executor.spin_until(stop)
            stop.set()

        spinner = threading.Thread(target=spin, name='infinipot_spin', daemon=True)
        spinner.start()
        while not stop.wait(WAKE_S):
            if signals:
                stop.set()
        node.stop_work(STOP_S)
        spinner.join(1.0)
        if not spinner.is_alive():
            executor.shutdown(timeout_sec=1.0)
        return node.exit_status
    finally:
        # Even if a model's thread is left behind: os._exit frees nothing.
        try:
            leave_ros(node)
        except Exception as error:
            # A transition that is left behind may still create what is destroyed here.
            get_logger('infinipot').error(f'left ROS with {type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
