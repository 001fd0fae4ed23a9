# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A tour as files a robot's user knows: an mcap bag, and questions as JSON Lines.

The bag has ``/camera/image_raw/compressed`` (sensor_msgs/CompressedImage, jpeg) and ``/odom``
(nav_msgs/Odometry). A line of the questions file has ``id``, ``ask_at`` (header time, ns),
``question``, ``answer``, ``kind``, ``evidence`` (intervals of header time in which the answer is
in view, ns) and ``delay`` (frames the answer had to be remembered); a question of kind
``where`` has ``place`` too, and those of a suite have ``suite`` and ``evidence_tokens`` (grid from
the start, row and column of the visual tokens that show the evidence).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from infinipot_ros.ros_time import SECOND_NS
from tools.tiny_model.tour import Film, Tour

IMAGE_TOPIC = '/camera/image_raw/compressed'
ODOMETRY_TOPIC = '/odom'
CAMERA_FRAME = 'camera_color_optical_frame'


@dataclass(frozen=True)
class TourQuestion:
    """
    One line of a questions file; stamps in integer nanoseconds of header time.

    :param place: x, y in metres in the frame of the bag's odometry, of kind ``where`` only.
    """

    id: str
    ask_at: int
    question: str
    answer: str
    kind: str
    evidence: list[list[int]]
    delay: int
    place: list[float] | None = None


@dataclass(frozen=True)
class AskedQuestion(TourQuestion):
    """
    A question with the visual tokens that show its evidence.

    :param tokens: int64 ``[n, 3]``: grid number from the stream's start, row, column.
    """

    tokens: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((0, 3), np.int64), compare=False, repr=False)


def write_bag(folder: Path, tour: Tour, shots: Film) -> None:
    """
    Write a filmed tour as a bag folder, which must not exist.

    MiniWorld's axes (x, z on the floor, y up, headings counter-clockwise from above) become those
    of REP 103: x stays, y is -z, z is up.
    """
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: Any = store.types
    time_type, header_type = types['builtin_interfaces/msg/Time'], types['std_msgs/msg/Header']
    image_type = types['sensor_msgs/msg/CompressedImage']
    odometry_type = types['nav_msgs/msg/Odometry']
    point, quaternion, vector = (
        types[f'geometry_msgs/msg/{name}'] for name in ('Point', 'Quaternion', 'Vector3'))
    pose_type, twist_type = types['geometry_msgs/msg/Pose'], types['geometry_msgs/msg/Twist']
    pose_covariance, twist_covariance = (
        types[f'geometry_msgs/msg/{name}WithCovariance'] for name in ('Pose', 'Twist'))
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    with writer:
        images = writer.add_connection(IMAGE_TOPIC, image_type.__msgtype__, typestore=store)
        odometry = writer.add_connection(
            ODOMETRY_TOPIC, odometry_type.__msgtype__, typestore=store)
        still = twist_covariance(
            twist_type(vector(0.0, 0.0, 0.0), vector(0.0, 0.0, 0.0)), np.zeros(36))
        for (x, z, heading), stamp, jpeg in zip(
                tour.poses.tolist(), tour.stamps_ns.tolist(), shots.jpegs, strict=True):
            when = time_type(*divmod(stamp, SECOND_NS))
            turn = quaternion(0.0, 0.0, float(np.sin(heading / 2)), float(np.cos(heading / 2)))
            place = pose_covariance(pose_type(point(x, -z, 0.0), turn), np.zeros(36))
            message = odometry_type(header_type(when, 'odom'), 'base_link', place, still)
            writer.write(
                odometry, stamp, store.serialize_cdr(message, odometry_type.__msgtype__))
            message = image_type(
                header_type(when, CAMERA_FRAME), 'jpeg', np.frombuffer(jpeg, np.uint8))
            writer.write(images, stamp, store.serialize_cdr(message, image_type.__msgtype__))


def write_questions(file: Path, questions: Iterable[TourQuestion], suite: str = '') -> None:
    """
    Write questions as JSON Lines, ``place`` only where there is one.

    :param suite: what they are counted under; written with the visual tokens that show the
        evidence, of questions that know them.
    """
    names = [each.name for each in fields(TourQuestion)]
    lines = []
    for question in questions:
        line = {name: getattr(question, name) for name in names
                if name != 'place' or question.place is not None}
        if suite:
            line['suite'] = suite
            if isinstance(question, AskedQuestion):
                line['evidence_tokens'] = question.tokens.tolist()
        lines.append(json.dumps(line) + '\n')
    file.write_text(''.join(lines))


def read_questions(file: Path) -> list[TourQuestion]:
    """Read questions written by ``write_questions``, without suite and visual tokens."""
    names = {each.name for each in fields(TourQuestion)}
    lines = [json.loads(line) for line in file.read_text().splitlines() if line]
    return [TourQuestion(**{name: value for name, value in line.items() if name in names})
            for line in lines]
