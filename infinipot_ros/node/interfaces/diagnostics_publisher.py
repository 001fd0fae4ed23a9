# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``/diagnostics``: once a second, what works and what does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node

from infinipot_ros.node import diagnostics
from infinipot_ros.node.counts import CameraCounts, RecentCounts
from infinipot_ros.node.diagnostics import (
    CallbackTimes,
    ImageTopic,
    PoseSourceState,
    RecentTimes,
)
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.shared_memory import SegmentRoom
from infinipot_ros.node.worker_status import WorkerStatus


class DiagnosticsPublisher:
    """
    A publisher and its timer.

    :param steady: a clock that goes on while simulated time stands still.
    :param images: returns the image subscriptions; empty while there are none.
    :param times: how long their callbacks took.
    :param poses: returns where poses come from; None while the node does not listen.
    :param save_problem: returns why the node's own file lacks what is remembered.
    :param segment: the room for this process in shared memory, as it was at the start.
    """

    def __init__(self, node: Node, host: MemoryHost, steady: Clock,
                 images: Callable[[], Sequence[ImageTopic]],
                 times: CallbackTimes, poses: Callable[[], PoseSourceState | None],
                 save_problem: Callable[[], str], segment: SegmentRoom | None) -> None:
        self._node = node
        self._host = host
        self._images = images
        self._times = times
        self._poses = poses
        self._save_problem = save_problem
        self._segment = segment
        #: From frames' stamps until they could be asked about.
        self._answerable = RecentTimes()
        self._reported_queue_drops = 0
        self._recent: dict[str, RecentCounts] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        node.create_timer(1.0, self._publish, clock=steady,
                          callback_group=MutuallyExclusiveCallbackGroup())

    def on_frame(self, newest_ns: int) -> None:
        """Note that a frame can be asked about; called in the worker's thread."""
        self._answerable.add((self._node.get_clock().now().nanoseconds - newest_ns) / 1e6)

    def _publish(self) -> None:
        try:
            self._publisher.publish(self._array())
        except Exception as error:
            self._host.report_fault(error)

    def _array(self) -> DiagnosticArray:
        host, snapshot = self._host, self._host.snapshot()
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            *self._image_reports(snapshot),
            *self._pose_reports(),
            diagnostics.worker_status(host.name, host.phase, snapshot, host.fault_count),
            diagnostics.model_status(host.name, host.value('model'), snapshot),
            diagnostics.memory_status(host.name, snapshot, self._save_problem()),
            *([diagnostics.shared_memory_status(host.name, self._segment)]
              if self._segment is not None else []),
        ]
        return array

    def _image_reports(self, snapshot: WorkerStatus | None) -> list[DiagnosticStatus]:
        value, inputs = self._host.value, self._images()
        drops = snapshot.drops.get('queue', 0) if snapshot else 0
        # A new worker counts from 0.
        new_drops = max(0, drops - self._reported_queue_drops)
        self._reported_queue_drops = drops
        clock_missing = self._node.get_clock().now().nanoseconds == 0
        self._note_counts(inputs, snapshot)
        _, without_pose = self._host.pose_counts()
        poses = self._poses()
        return [
            diagnostics.images_status(
                self._host.name, self._host.phase, image, value('ingest.starvation_timeout'),
                snapshot, new_drops, self._times, clock_missing=clock_missing,
                poses=poses.buffered if poses else 0, without_pose=without_pose,
                answerable=self._answerable,
                recent=self._recent.get(image.camera) if image else None,
                fps=value('ingest.fps'))
            for image in inputs or (None,)]

    def _note_counts(
        self, inputs: Sequence[ImageTopic], snapshot: WorkerStatus | None,
    ) -> None:
        """Note what became of each camera's messages until now."""
        now_s = time.monotonic()
        counts = snapshot.cameras if snapshot else {}
        if not inputs:
            # What came before an activation does not matter for what comes after it.
            self._recent = {
                camera: RecentCounts(each, now_s) for camera, each in counts.items()}
        for image in inputs:
            recent = self._recent.setdefault(image.camera, RecentCounts(CameraCounts(), now_s))
            recent.add(counts.get(image.camera, CameraCounts()), now_s,
                       self._host.value('ingest.fps'))

    def _pose_reports(self) -> list[DiagnosticStatus]:
        value = self._host.value
        if not value('pose_topic') and not value('pose_frame'):
            return []
        return [diagnostics.poses_status(
            self._host.name, self._host.phase, self._poses(), value('ingest.starvation_timeout'),
            value('pose_max_gap'), *self._host.pose_counts())]
