# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Poses from a topic, whatever its type, or from tf2 where it is installed.

The topic's type is read from the graph, so the subscription is made once it is published. Its
poses are those of the frame it is about, the robot's base as a rule, not the camera's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.images.image_messages import MAX_FRAME_ID
from infinipot_ros.node.diagnostics import PoseSourceState
from infinipot_ros.node.logs import Log
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.pose_buffer import PoseBuffer, PoseSource, normalized, read_pose, somewhere
from infinipot_ros.node.pose_geometry import transformed
from infinipot_ros.node.topics import Silence, publishers_of, topics_of
from infinipot_ros.ros_time import SECOND_NS, nanoseconds
from infinipot_ros.visual_memory.frame import Pose

try:
    from tf2_ros import Buffer, TransformListener
except ImportError:  # not in every ROS installation
    Buffer = TransformListener = None

_TYPES: dict[str, type[Any]] = {
    'nav_msgs/msg/Odometry': Odometry,
    'geometry_msgs/msg/PoseStamped': PoseStamped,
    'geometry_msgs/msg/PoseWithCovarianceStamped': PoseWithCovarianceStamped,
}
#: Best effort serves every publisher; deep, for odometry is fast and comes in bursts.
_PROFILE = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
#: Seconds of transforms tf2 keeps; what is older than the newest by more is refused by it.
_TRANSFORMS_S = 10


class PoseTopic:
    """
    A subscription that fills a buffer, made as soon as the topic has a type.

    :param topic: the parameter ``pose_topic``.
    :param transforms: gives its poses in another frame, where tf2 knows that; None: as they come.
    """

    def __init__(self, node: Node, host: MemoryHost, topic: str, buffer: PoseBuffer,
                 transforms: PoseTransforms | None = None) -> None:
        self._node = node
        self._host = host
        self._buffer = buffer
        self._transforms = transforms
        self._lock = threading.Lock()
        self._closed = False
        self._subscription: Any = None
        self._wanted = topic
        self._silence = Silence(node.get_clock())
        self._received = self._ignored = 0
        self.topic = str(node.resolve_topic_name(topic))
        self.look()

    def look(self) -> None:
        """Subscribe if the topic has publishers now; called regularly."""
        if self._subscription is not None:
            return
        types = {info.topic_type
                 for info in self._node.get_publishers_info_by_topic(self.topic)}
        known = sorted(types & set(_TYPES))
        if known:
            with self._lock:
                if self._closed:
                    return
                self._subscription = self._node.create_subscription(
                    _TYPES[known[0]], self.topic, self._on_pose, _PROFILE,
                    callback_group=MutuallyExclusiveCallbackGroup())
            self._host.log.info(f'poses come from {self.topic} ({known[0]})')
        elif types:
            self._host.log.warn(
                'pose_topic', f'{self.topic} is published as {", ".join(sorted(types))}, but '
                f'pose_topic takes {", ".join(_TYPES)}: evidence has no poses')

    def close(self) -> None:
        """Unsubscribe, for good."""
        with self._lock:
            self._closed = True
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
        if self._transforms is not None:
            self._transforms.close()

    def state(self) -> PoseSourceState:
        """Return what arrived, and who publishes it."""
        publishers = publishers_of(self._node, self.topic)
        return PoseSourceState(
            self._wanted, self.topic, tuple(_TYPES), publishers,
            () if publishers else topics_of(self._node, _TYPES), self._received, self._ignored,
            self._silence.seconds(), len(self._buffer))

    def pose(self, stamp_ns: int, _frame_id: str, camera: str) -> Pose | None:
        """Return the pose at a stamp, in the frame that is wanted where tf2 knows the way."""
        pose = self._buffer.at(stamp_ns)
        if pose is None or self._transforms is None or pose.frame_id == self._transforms.frame:
            return pose
        # Now, not when it is asked for: odometry drifts, and tf2 forgets.
        frame = self._transforms.pose(stamp_ns, pose.frame_id, camera)
        return transformed(pose, frame) if frame is not None else pose

    def _on_pose(self, message: Any) -> None:
        try:
            pose, stamp_ns = read_pose(message), nanoseconds(message.header.stamp)
            if pose is None or stamp_ns <= 0:
                self._ignored += 1
                self._host.log.warn(
                    'bad_pose', f'a pose of {self.topic} is ignored: it needs a stamp, finite '
                    'numbers, an orientation that is a quaternion and a frame_id of at most '
                    f'{MAX_FRAME_ID} characters')
                return
            self._received += 1
            self._silence.end()
            self._buffer.add(stamp_ns, pose)
        except Exception as error:
            self._host.report_fault(error)


class PoseTransforms:
    """
    Poses looked up in tf2.

    :param frame: the fixed frame, the parameter ``pose_frame``.
    :param max_gap_ns: returns how far from a stamp the newest transform may lie, in nanoseconds.
    :param otherwise: what it means where tf2 has none, for the log.
    """

    def __init__(self, node: Node, log: Log, frame: str, max_gap_ns: Callable[[], int],
                 otherwise: str = 'a frame has no pose') -> None:
        self.frame = frame
        self._log = log
        self._max_gap_ns = max_gap_ns
        self._otherwise = otherwise
        #: The newest stamp looked up, by camera, and whether one lay far behind it since.
        self._last_ns: dict[str, int] = {}
        self._jumped = False
        self._buffer = Buffer(Duration(seconds=_TRANSFORMS_S))
        self._listener = TransformListener(self._buffer, node)

    def look(self) -> None:
        """Do nothing: the listener has subscribed."""

    def close(self) -> None:
        """Unsubscribe."""
        self._listener.unregister()

    def state(self) -> PoseSourceState:
        """Return where poses are looked for."""
        return PoseSourceState(self.frame)

    def pose(self, stamp_ns: int, frame_id: str, camera: str = '') -> Pose | None:
        """
        Return the pose of an image's frame at a stamp, else the newest near it, else None.

        :param camera: its name; empty for the only one.
        """
        if stamp_ns < self._last_ns.get(camera, 0) - _TRANSFORMS_S * SECOND_NS:
            self._jumped = True
        self._last_ns[camera] = stamp_ns
        try:
            found = self._look_up(frame_id, stamp_ns)
        except Exception as error:
            # Unknown frames, no path between them, no longer known, or, as a rule: not yet. An
            # image arrives before the transform after it.
            return self._newest(stamp_ns, frame_id, error)
        return self._read(found)

    def _look_up(self, frame_id: str, stamp_ns: int) -> Any:
        return self._buffer.lookup_transform(self.frame, frame_id, Time(nanoseconds=stamp_ns))

    def _newest(self, stamp_ns: int, frame_id: str, reason: Exception) -> Pose | None:
        try:
            found = self._look_up(frame_id, 0)  # 0: the newest
            ahead_ns = nanoseconds(found.header.stamp) - stamp_ns
            if abs(ahead_ns) <= self._max_gap_ns():
                return self._read(found)
            if self._jumped and ahead_ns > _TRANSFORMS_S * SECOND_NS:
                # The clock jumped back (a bag that loops): tf2 would refuse all new transforms. An
                # image that is merely late must not clear what others need.
                self._buffer.clear()
                self._jumped = False
        except Exception as error:
            reason = error
        self._log.warn('no_transform', f'{self._otherwise}: {" ".join(str(reason).split())}')
        return None

    def _read(self, found: Any) -> Pose | None:
        position, turn = found.transform.translation, found.transform.rotation
        quaternion = normalized((turn.x, turn.y, turn.z, turn.w))
        if quaternion is None or not somewhere(position):
            return None
        return Pose(position.x, position.y, position.z, *quaternion, frame_id=self.frame)


def check_poses(topic: str, frame: str) -> None:
    """:raises ConfigurationError: poses are to come from tf2, which is not installed."""
    if frame and not topic and Buffer is None:
        raise ConfigurationError(
            f"pose_frame is '{frame}', but tf2_ros is not installed: install it "
            '(ros-<distro>-tf2-ros-py), or set pose_topic instead')


class PoseInput:
    """Poses as the parameters ``pose_topic`` and ``pose_frame`` have them, while active."""

    def __init__(self, node: Node, host: MemoryHost) -> None:
        self._node = node
        self._host = host
        self._buffer = PoseBuffer(self._max_gap_ns)
        self._source: PoseTopic | PoseTransforms | None = None

    def open(self) -> PoseSource | None:
        """Subscribe; None where neither parameter is set."""
        topic, frame = self._host.value('pose_topic'), self._host.value('pose_frame')
        if topic:
            self._source = PoseTopic(
                self._node, self._host, topic, self._buffer, self._into(frame))
        elif frame:
            self._source = PoseTransforms(
                self._node, self._host.log, frame, self._max_gap_ns)
        return self._source.pose if self._source is not None else None

    def look(self) -> None:
        """Subscribe if the topic has publishers now; called regularly."""
        source = self._source
        if source is not None:
            source.look()

    def close(self) -> None:
        """Unsubscribe."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def state(self) -> PoseSourceState | None:
        """Return where poses come from; None while the node does not listen."""
        source = self._source
        return source.state() if source is not None else None

    def _into(self, frame: str) -> PoseTransforms | None:
        """Return what gives the topic's poses in a frame; None where nothing can or need."""
        if not frame:
            return None
        otherwise = f'poses are not in {frame}, but in the frame of pose_topic'
        if Buffer is None:
            self._host.log.warn(
                'no_tf2', f'{otherwise}: tf2_ros is not installed (ros-<distro>-tf2-ros-py)')
            return None
        return PoseTransforms(
            self._node, self._host.log, frame, self._max_gap_ns, otherwise)

    def _max_gap_ns(self) -> int:
        return round(self._host.value('pose_max_gap') * 1e9)
