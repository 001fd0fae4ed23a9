# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Start the visual memory on a robot.

    ros2 launch infinipot_ros infinipot.launch.py image:=/camera/image_raw \
        model:=Qwen/Qwen2.5-VL-3B-Instruct budget:=4096 device:=cuda dtype:=bfloat16

Several cameras, each under its name, from the topic behind it:

    ros2 launch infinipot_ros infinipot.launch.py pose_topic:=/odom \
        cameras:=front=/front_camera/image_raw,rear=/rear_camera/image_raw

An argument that is left empty leaves its parameter as ``params_file`` has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from infinipot_ros.node.shared_memory import missing_profile

CONFIG = Path(__file__).resolve().parent.parent / 'config'


def as_bool(text: str) -> bool:
    """Read a launch argument's true or false."""
    if text.lower() not in ('true', 'false'):
        raise ValueError(f'{text!r} is neither true nor false')
    return text.lower() == 'true'


def as_file(text: str) -> str:
    """Read a launch argument's path; launch itself only warns, and the node goes on without."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError('there is no such file')
    return str(path)


def as_text(text: str) -> ParameterValue:
    """Read a launch argument's text, which may look like a number."""
    return ParameterValue(text, value_type=str)


def as_cameras(text: str) -> dict[str, str]:
    """Read ``front=/topic,rear=/topic``: image topics by name; without a topic NAME/image."""
    found: dict[str, str] = {}
    for each in text.strip('[]').split(','):
        name, equals, topic = (part.strip() for part in each.partition('='))
        if not name or name in found or (equals and not topic):
            raise ValueError('expected NAME=TOPIC,NAME=TOPIC,... with a different name each')
        found[name] = topic or f'{name}/image'
    return found


# Launch argument to parameter: the argument, the parameter, how its text is read.
OVERRIDES: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ('model', 'model', as_text),
    ('device', 'device', as_text),
    ('dtype', 'dtype', as_text),
    ('image_transport', 'image_transport', as_text),
    ('policy', 'memory.policy', as_text),
    ('pose_topic', 'pose_topic', as_text),
    ('fps', 'ingest.fps', float),
    ('budget', 'memory.budget', int),
    ('block_size', 'block_size', int),
    ('autostart', 'autostart', as_bool),
    ('use_sim_time', 'use_sim_time', as_bool),
)


def start_node(context: LaunchContext) -> list[Node]:
    """Build the node's action once the arguments have their values."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def checked(name: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(value(name))
        except ValueError as error:
            raise RuntimeError(f'{name}:={value(name)}: {error}') from error

    overrides = {parameter: checked(argument, read)
                 for argument, parameter, read in OVERRIDES if value(argument)}
    cameras = checked('cameras', as_cameras) if value('cameras') else {}
    if cameras:
        overrides['cameras'] = list(cameras)
    return [Node(
        package='infinipot_ros',
        executable='infinipot_node',
        name='infinipot',
        namespace=value('namespace'),
        parameters=[checked('params_file', as_file), overrides],
        remappings=[('image', value('image')),
                    *((f'{name}/image', topic) for name, topic in cameras.items())],
        arguments=['--ros-args', '--log-level', value('log_level')],
        respawn=checked('respawn', as_bool),
        respawn_delay=2.0,
        # Ctrl-C comes first: the node ends by itself once it has saved its memory.
        # Read here: launch itself would trip over a wrong one only then, and hang.
        sigterm_timeout=str(checked('stop_timeout', float)),
        output='screen',
        emulate_tty=True,
    )]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the transport of large images and the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in (
            ('namespace', '', 'namespace of the node, for example the name of the robot'),
            ('params_file', str(CONFIG / 'infinipot.yaml'), 'YAML file of parameters'),
            ('image', 'image', 'image topic to remember; with image_transport:=compressed its '
                               'base name, without /compressed'),
            ('image_transport', '', 'raw, compressed or video'),
            ('cameras', '', 'several cameras instead of image: NAME=TOPIC,NAME=TOPIC,...; topics '
                            'as of image'),
            ('fps', '', 'frames a second of each camera that are remembered; 0: all'),
            ('pose_topic', '', 'where the robot is: Odometry, PoseStamped or '
                               'PoseWithCovarianceStamped'),
            ('model', '', 'a directory, a hub id that is on this machine, or infinipot-tiny'),
            ('device', '', 'cpu, cuda, cuda:0, ...'),
            ('dtype', '', 'float32, float16 or bfloat16'),
            ('budget', '', 'the most visual tokens a layer and KV head ever holds'),
            ('policy', '', 'what decides which tokens stay, infinipot_v for example'),
            ('block_size', '', 'frames encoded in one forward pass'),
            ('use_sim_time', '', 'take the time from /clock: true or false'),
            ('autostart', '', 'configure and activate at once: true or false'),
            ('respawn', 'false', 'start the node again when it ends: true or false'),
            ('stop_timeout', '65', 'seconds to save the memory in after Ctrl-C'),
            ('log_level', 'info', 'debug, info, warn, error or fatal'),
        )
    ]
    variable = missing_profile(os.environ)
    profile = [SetEnvironmentVariable(variable, str(CONFIG / 'fastdds_shm.xml'))] * bool(variable)
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start_node)])
