# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The program ``infinipot_play``: play a bag over DDS; ``demo.launch.py`` starts it.

Works where ``ros2 bag`` or its mcap plug-in is not installed. It begins once every image topic
of the bag has a subscriber.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier, remove_ros_args

from infinipot_ros.errors import SourceError
from infinipot_ros.node.replay.bag_player import open_player
from infinipot_ros.node.shared_memory import make_room
from infinipot_ros.node.shutdown import leave_ros

#: Signals that end it early, with status 0.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(args: list[str] | None = None) -> int:
    """
    Play one bag.

    :param args: command line with ROS arguments; ``sys.argv`` when None.
    :return: the exit status: 0 when it was played to its end or interrupted.
    """
    args = sys.argv if args is None else args
    parser = argparse.ArgumentParser(
        prog='infinipot_play', description='Play the images and odometry of a ROS 2 bag.')
    parser.add_argument('bag', type=Path, help='folder or file of the bag')
    parser.add_argument('--rate', type=float, default=1.0, help='seconds of the bag per second')
    parser.add_argument('--clock', action='store_true', help='publish /clock from the stamps')
    parser.add_argument('--topic', help='the only image topic to play; all of them by default')
    parser.add_argument('--wait', type=float, default=60.0,
                        help='seconds to wait for subscribers')
    parser.add_argument('--subscribers', type=int, default=1,
                        help='how many to wait for; 2 beside `infinipot replay --listen`')
    options = parser.parse_args(remove_ros_args(args)[1:])
    if options.rate <= 0:
        parser.error(f'--rate is {options.rate}, but must be above 0')

    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        with make_room(get_rmw_implementation_identifier(), os.environ):
            node = rclpy.create_node('infinipot_play')
        with open_player(node, options.bag, clock=options.clock, topic=options.topic) as player:
            player.wait_matched(options.wait, options.subscribers)
            node.get_logger().info(f'playing {player.frames} frames, {player.seconds:.0f} s')
            player.play(options.rate, lambda _stamp_ns: None)
            # What was not acknowledged is lost with the publisher.
            player.wait_acknowledged(10.0)
            node.get_logger().info('played to the end')
    except SourceError as error:
        rclpy.logging.get_logger('infinipot_play').error(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        # `ros2 launch` and the terminal both send one on Ctrl-C; the second must not end this.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        leave_ros(node)
    return 0
