# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node tells of itself, whatever it does: ``~/status`` and ``/diagnostics``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node import diagnostics
from infinipot_ros.node.counts import CameraCounts, RecentCounts
from infinipot_ros.node.status_message import status_message
from infinipot_ros.node.worker_status import WorkerStatus

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode


class StatusPublisher:
    """
    Two publishers and their timers.

    :param node: whose reports they are.
    :param steady: a clock that goes on while simulated time stands still.
    """

    def __init__(self, node: InfinipotNode, steady: Clock) -> None:
        self._node = node
        self._queue_drops_told = 0
        self._recent: dict[str, RecentCounts] = {}
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = node.create_publisher(MemoryStatus, '~/status', latched)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        group = MutuallyExclusiveCallbackGroup()
        node.create_timer(node.value('status.period'), self.publish_status,
                          callback_group=group, clock=steady)
        node.create_timer(1.0, self._publish_diagnostics, callback_group=group, clock=steady)

    def publish_status(self) -> None:
        """Tell the state now."""
        node = self._node
        try:
            worker = node.worker
            message = status_message(
                node.get_clock().now().to_msg(), node.phase, node.value('model'),
                node.value('memory.policy'), worker.snapshot() if worker else None)
            message.watches, message.watches_skipped = node.watching.counts()
            message.last_save = node.controls.last_save
            self._status.publish(message)
        except Exception as error:
            node.report_fault(error)

    def _publish_diagnostics(self) -> None:
        try:
            self._diagnostics.publish(self._array())
        except Exception as error:
            self._node.report_fault(error)

    def _array(self) -> DiagnosticArray:
        node = self._node
        worker, name = node.worker, node.get_fully_qualified_name()
        snapshot = worker.snapshot() if worker else None
        array = DiagnosticArray()
        array.header.stamp = node.get_clock().now().to_msg()
        array.status = [
            *self._images(name, snapshot),
            *self._poses(name),
            diagnostics.worker_status(name, node.phase, snapshot, node.fault_count),
            diagnostics.model_status(name, node.value('model'), snapshot),
            diagnostics.memory_status(name, snapshot),
            *([diagnostics.shared_memory_status(name, node.segment_room)]
              if node.segment_room is not None else []),
        ]
        return array

    def _images(self, name: str, snapshot: WorkerStatus | None) -> list[DiagnosticStatus]:
        node = self._node
        drops = snapshot.drops.get('queue', 0) if snapshot else 0
        # A new worker counts anew.
        new_drops = max(0, drops - self._queue_drops_told)
        self._queue_drops_told = drops
        clock_missing = node.get_clock().now().nanoseconds == 0
        self._note_counts(snapshot)
        _, without_pose = node.pose_counts()
        return [
            diagnostics.images_status(
                name, node.phase, images.graph() if images else None,
                images.age_s() if images else 0.0, node.value('ingest.starvation_timeout'),
                snapshot, new_drops, node.times, clock_missing=clock_missing,
                camera=images.camera if images else '', poses=len(node.poses),
                without_pose=without_pose, answerable=node.answerable,
                recent=self._recent.get(images.camera) if images else None,
                fps=node.value('ingest.fps'))
            for images in node.inputs or (None,)]

    def _note_counts(self, snapshot: WorkerStatus | None) -> None:
        """Note what became of each camera's messages until now."""
        now_s = time.monotonic()
        counts = snapshot.cameras if snapshot else {}
        if not self._node.inputs:
            # What came before an activation says nothing about what comes after it.
            self._recent = {
                camera: RecentCounts(each, now_s) for camera, each in counts.items()}
        for images in self._node.inputs:
            recent = self._recent.setdefault(images.camera, RecentCounts(CameraCounts(), now_s))
            recent.add(counts.get(images.camera, CameraCounts()), now_s,
                       self._node.value('ingest.fps'))

    def _poses(self, name: str) -> list[DiagnosticStatus]:
        node = self._node
        if not node.value('pose_topic') and not node.value('pose_frame'):
            return []
        with_pose, without_pose = node.pose_counts()
        return [diagnostics.poses_status(
            name, node.phase, node.pose_state(), node.value('ingest.starvation_timeout'),
            node.value('pose_max_gap'), with_pose, without_pose)]
