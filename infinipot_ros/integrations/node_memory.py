# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A running node as a source for tools; what needs ROS is imported with the first question."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import BusyError, NodeError, QuestionError
from infinipot_ros.evaluation.report.formatting import clock_start, span_text
from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
from infinipot_ros.integrations.memory_source import SourceAnswer, WatchAlert
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.visual_memory.evidence import Evidence
from infinipot_ros.visual_memory.frame import Pose

if TYPE_CHECKING:
    from infinipot_ros.node.replay.node_client import NodeClient

#: Seconds a node has to be found in, and a question may take beyond the node's own limit.
FIND_S, GRACE_S = 10.0, 10.0


class NodeMemory:
    """
    A ``MemorySource`` over a node, which need not be there yet and may come back.

    :param name: full name of the node, in the ROS domain of the environment.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._client: NodeClient | None = None
        self._closing = threading.Event()
        self._watching = threading.Lock()

    def ask(self, question: str, times: dict[str, str], cameras: Sequence[str]) -> SourceAnswer:
        """See ``MemorySource``."""
        with self._connected() as client:
            client.wait_active(FIND_S)
            held = _held(client)
            start_ns = clock_start(held[0])
            stamps = {option: stamp_of(text, start_ns, held[1], option)
                      for option, text in times.items()}
            timeout_s = client.parameters(['query.timeout'], FIND_S)['query.timeout']
            try:
                response = client.ask_once(
                    question, GRACE_S + timeout_s, since_ns=stamps.get('since'),
                    until_ns=stamps.get('until'), cameras=list(cameras), thumbnails=True)
            except QuestionError as error:
                raise typed_scope(error, times, start_ns, held) from error
            return SourceAnswer(
                response.answer, response.message, response.truncated,
                nanoseconds(response.observed_from), nanoseconds(response.observed_to),
                [_evidence(each) for each in response.evidence])

    def status(self) -> dict[str, Any]:
        """See ``MemorySource``."""
        with self._connected() as client:
            found, held = client.status, _held(client)
            return {
                'source': f'node {client.name}', 'live': True, 'state': found.state,
                'paused': found.paused, 'model': found.model, 'policy': found.policy,
                'frames': found.frames_encoded, 'frames_dropped': found.frames_dropped,
                'drops': dict(zip(found.drop_reasons, found.drop_counts)),
                'memory_tokens': found.memory_tokens, 'budget_tokens': found.budget_tokens,
                'compressions': found.compressions, 'cameras': list(found.cameras),
                'observed': span_text(*held) if held[1] else 'nothing',
                'oldest_ns': held[0], 'newest_ns': held[1], 'watches': found.watches, 'note': ''}

    def watch(
        self, question: str, value: str, period_s: float, wait_s: float, cameras: Sequence[str],
    ) -> WatchAlert | None:
        """See ``MemorySource``; questions are answered meanwhile."""
        if not self._watching.acquire(blocking=False):
            raise BusyError('another watch waits already; let it end, or ask')
        try:
            # A client of its own: its subscription goes with it, and others ask with theirs.
            client = self._connect()
            try:
                return self._wait_for_alert(client, question, value, period_s, wait_s, cameras)
            finally:
                client.close()
        finally:
            self._watching.release()

    def _wait_for_alert(
        self, client: NodeClient, question: str, value: str, period_s: float, wait_s: float,
        cameras: Sequence[str],
    ) -> WatchAlert | None:
        client.wait_active(FIND_S)
        alerts: SimpleQueue[Any] = SimpleQueue()
        number = client.watch(
            question, alerts.put, period_s=period_s, value=value, cameras=cameras)
        try:
            # Until then it was no alert but silence, unless the node has left.
            with suppress(NodeError):
                client.wait(
                    lambda: not alerts.empty() or self._closing.is_set(), wait_s, 'an alert')
            client.check()
            alert = alerts.get_nowait()
        except Empty:
            return None
        finally:
            # A node that has left has no watches either.
            with suppress(NodeError):
                client.end_watch(number)
        return WatchAlert(
            alert.answer, alert.previous, nanoseconds(alert.header.stamp),
            [_evidence(each) for each in alert.evidence])

    def close(self) -> None:
        """See ``MemorySource``."""
        self._closing.set()
        # Until a watch has ended, that it is not left behind in the node.
        with self._watching:
            self._drop_client()

    def _connect(self) -> NodeClient:
        from infinipot_ros.node.replay.node_client import NodeClient

        client = NodeClient(self._name)
        try:
            client.wait_present(FIND_S)
        except BaseException:
            client.close()
            raise
        return client

    @contextmanager
    def _connected(self) -> Iterator[NodeClient]:
        """Find the node, or go on with the client there is; after a fault it is found anew."""
        self._client = self._client or self._connect()
        try:
            self._client.check()
            yield self._client
        except NodeError:
            self._drop_client()
            raise

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _held(client: NodeClient) -> tuple[int, int]:
    """Return the stamps of the oldest and the newest frame the node remembers."""
    return nanoseconds(client.status.oldest_stamp), nanoseconds(client.status.newest_stamp)


def _evidence(message: Any) -> Evidence:
    """Return a node's evidence as that of a memory."""
    pose = None
    if message.has_pose:
        place = message.pose.pose.pose
        pose = Pose(
            place.position.x, place.position.y, place.position.z, place.orientation.x,
            place.orientation.y, place.orientation.z, place.orientation.w,
            message.pose.header.frame_id)
    return Evidence(
        nanoseconds(message.stamp_from), nanoseconds(message.stamp_to), message.camera,
        message.score, pose, -1, nanoseconds(message.header.stamp),
        bytes(message.thumbnail.data) or None)
