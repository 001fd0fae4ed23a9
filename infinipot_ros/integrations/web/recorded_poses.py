# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the robot was, from the poses in a bag."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import SourceError
from infinipot_ros.node.pose_buffer import PoseBuffer, read_pose
from infinipot_ros.recordings.bag_reader import BagReader
from infinipot_ros.ros_time import SECOND_NS, nanoseconds

POSE_TYPES = (
    'nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped')
#: Poses that are kept of a bag: an hour of odometry at 50 Hz.
MOST_POSES = 200_000
#: As the node's ``pose_max_gap``.
MAX_GAP_NS = SECOND_NS


def read_bag_poses(bag: Path, topic: str | None) -> PoseBuffer:
    """
    Read the poses of a topic.

    :param topic: None: the only topic of poses that there is; with several, none is read.
    :raises SourceError: the bag is damaged, or has no such topic of poses.
    """
    from rosbags.typesys import Stores, get_typestore

    poses = PoseBuffer(lambda: MAX_GAP_NS, MOST_POSES)
    with BagReader(bag) as reader:
        found = {each.name: each.kind for each in reader.topics
                 if each.kind in POSE_TYPES and each.encoding == 'cdr'}
        if topic is not None and topic not in found:
            raise SourceError(f'{bag} has no poses on {topic}: it has poses on '
                              f'{", ".join(sorted(found)) or "no topic"}')
        wanted = [topic] if topic is not None else [*found] if len(found) == 1 else []
        deserialize = get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr
        for name, _, data in reader.messages(wanted) if wanted else ():
            try:
                message = deserialize(data, found[name])
                pose = read_pose(message)
            except Exception:
                # What a damaged message raises depends on where it is damaged: no pose then.
                continue
            if pose is not None:
                poses.add(nanoseconds(message.header.stamp), pose)  # type: ignore[attr-defined]
    return poses
