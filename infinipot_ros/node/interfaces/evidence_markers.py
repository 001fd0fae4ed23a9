# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/evidence_markers``: where the robot was when it saw what the last answer rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from infinipot_ros.node.jobs import Answered
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.pose_geometry import view_direction
from infinipot_ros.ros_time import SECOND_NS

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.evidence import Evidence

#: Metres: an arrow's length, width, height, and how far above it the words stand.
ARROW = Vector3(x=0.6, y=0.12, z=0.12)
TEXT_HEIGHT, TEXT_ABOVE = 0.2, 0.4


class EvidenceMarkers:
    """Latched markers of the last answer that has evidence with poses."""

    def __init__(self, node: Node, host: MemoryHost) -> None:
        self._host = host
        self._publisher = node.create_publisher(
            MarkerArray, '~/evidence_markers',
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                       durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def show(self, answered: Answered) -> None:
        """Mark an answer's evidence instead of the last one's; never raise."""
        try:
            markers = evidence_markers(answered.answer.evidence, self._host.is_optical)
            if len(markers.markers) > 1:
                self._publisher.publish(markers)
        except Exception as error:
            self._host.report_fault(error)


def evidence_markers(evidence: tuple[Evidence, ...],
                     is_optical: Callable[[str], bool] = lambda _camera: False) -> MarkerArray:
    """
    Build an arrow and a label for each piece of evidence with a pose, best first.

    The stamps are zero and the markers locked to their frame: the viewer shows them where they
    are now, however old they are, and moves them as localization moves the frame.

    :param is_optical: returns whether a camera's poses are those of an optical frame.
    """
    array = MarkerArray(markers=[Marker(action=Marker.DELETEALL)])
    best = max((each.score for each in evidence), default=0.0) or 1.0
    for rank, each in enumerate(evidence, 1):
        if each.pose is None:
            continue
        pose, share = each.pose, each.score / best
        header = Header(stamp=Time(), frame_id=pose.frame_id)
        colour = ColorRGBA(r=1.0, g=0.85 - 0.6 * share, b=0.1, a=0.35 + 0.65 * share)
        array.markers.append(Marker(
            header=header, ns='evidence', id=rank, type=Marker.ARROW, action=Marker.ADD,
            frame_locked=True,
            pose=Pose(position=Point(x=pose.x, y=pose.y, z=pose.z),
                      orientation=Quaternion(**dict(zip(
                          'xyzw', view_direction(pose, is_optical(each.camera)))))),
            scale=ARROW, color=colour))
        seconds, fraction = divmod(each.stamp_ns, SECOND_NS)
        array.markers.append(Marker(
            header=header, ns='evidence_text', id=rank, type=Marker.TEXT_VIEW_FACING,
            action=Marker.ADD, frame_locked=True,
            pose=Pose(position=Point(x=pose.x, y=pose.y, z=pose.z + TEXT_ABOVE)),
            scale=Vector3(z=TEXT_HEIGHT), color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
            text=f'{rank}. {each.camera} {seconds}.{fraction // 100_000_000} s '
                 f'({each.score:.0%})'))
    return array
