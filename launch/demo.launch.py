# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play the bundled tour to a node with the bundled model, and leave it open for questions.

    ros2 launch infinipot_ros demo.launch.py
    ros2 run infinipot_ros infinipot ask --node /infinipot 'What room am I in?'

``infinipot demo`` does the same and asks the bundled questions itself.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parent.parent


def generate_launch_description() -> LaunchDescription:
    """Describe the node, by infinipot.launch.py, and the player of the tour."""
    return LaunchDescription([
        DeclareLaunchArgument('bag', default_value=str(SHARE / 'demo' / 'tour'),
                              description='bag to play: jpeg images on /camera/image_raw'),
        DeclareLaunchArgument('rate', default_value='4.0',
                              description='seconds of the bag per second'),
        DeclareLaunchArgument('model', default_value='', description='another model'),
        DeclareLaunchArgument('params_file', default_value=str(SHARE / 'config' / 'demo.yaml'),
                              description='YAML file of parameters'),
        DeclareLaunchArgument('log_level', default_value='info',
                              description='debug, info, warn, error or fatal'),
        # First, so that the player gets the transport of large images too.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'infinipot.launch.py')),
            launch_arguments={
                'image': '/camera/image_raw',
                'model': LaunchConfiguration('model'),
                'params_file': LaunchConfiguration('params_file'),
                'log_level': LaunchConfiguration('log_level'),
            }.items()),
        Node(
            package='infinipot_ros',
            executable='infinipot_play',
            name='infinipot_play',
            arguments=[LaunchConfiguration('bag'), '--rate', LaunchConfiguration('rate')],
            output='screen',
            emulate_tty=True,
        ),
    ])
