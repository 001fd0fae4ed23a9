# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What /diagnostics reports: images, poses, worker, model, memory, shared memory (REP 107 levels).

Every function takes plain values and returns one ``DiagnosticStatus``; the node asks once a
second. A warning names the likely cause and what to do about it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from infinipot_ros.node.counts import CameraCounts, RecentCounts, describe_drops
from infinipot_ros.node.shared_memory import SegmentRoom
from infinipot_ros.node.worker_status import WorkerStatus

#: Seconds of silence from the worker in one piece of work after which something hangs.
HEARTBEAT_S = 10.0
#: Frames without a pose, and none with one, after which that is worth a warning.
MANY_FRAMES = 10


@dataclass
class CallbackTimes:
    """How long the image callback took, for the last few thousand calls."""

    _ms: deque[float] = field(default_factory=lambda: deque(maxlen=4096))

    def add(self, elapsed_ns: int) -> None:
        """Add one call."""
        self._ms.append(elapsed_ns / 1e6)

    def percentiles(self) -> tuple[float, float, float]:
        """Return p50, p99 and the maximum in milliseconds; zeros without a call."""
        values = sorted(self._ms)
        if not values:
            return 0.0, 0.0, 0.0
        last = len(values) - 1
        return values[last // 2], values[min(last, int(len(values) * 0.99))], values[last]


@dataclass
class RecentTimes:
    """Durations of the last seconds, a few thousand at most; one thread adds, another reads."""

    window_s: float = 10.0
    _noted: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4096))

    def add(self, elapsed_ms: float) -> None:
        """Add one."""
        self._noted.append((time.monotonic(), elapsed_ms))

    def percentile(self, share: float) -> float:
        """Return the milliseconds this share of them stays below; 0 without any."""
        since = time.monotonic() - self.window_s
        values = sorted(ms for noted, ms in list(self._noted) if noted >= since)
        return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@dataclass(frozen=True)
class Publisher:
    """A publisher of a topic as the graph shows it."""

    node: str
    type_name: str
    reliability: str


@dataclass(frozen=True)
class ImageTopic:
    """
    An image subscription as the graph shows it.

    :param camera: its camera's name; empty for the only one.
    :param age_s: seconds since the last image, or since activation.
    :param fast_dds: whether Fast DDS is the middleware.
    """

    topic: str
    type_name: str
    reliability: str
    publishers: Sequence[Publisher]
    incompatible: Sequence[str] = ()
    other_topic_with_images: str = ''
    camera: str = ''
    age_s: float = 0.0
    fast_dds: bool = True

    @property
    def segment_loses(self) -> bool:
        """Whether its images may be too large for Fast DDS's default shared memory."""
        return self.fast_dds and self.type_name == 'sensor_msgs/msg/Image'


@dataclass(frozen=True)
class PoseSourceState:
    """
    Where poses come from.

    :param wanted: the parameter ``pose_topic``, or ``pose_frame`` where they come from tf2.
    :param topic: what ``pose_topic`` resolves to; empty for tf2.
    :param types: the types that are understood.
    :param elsewhere: other topics with poses, where nobody publishes this one.
    :param received: poses that came and can be used; ``ignored`` those that cannot.
    :param age_s: seconds since the last that can be used, or since activation.
    :param buffered: poses of the topic that are kept to be interpolated.
    """

    wanted: str
    topic: str = ''
    types: Sequence[str] = ()
    publishers: Sequence[Publisher] = ()
    elsewhere: Sequence[str] = ()
    received: int = 0
    ignored: int = 0
    age_s: float = 0.0
    buffered: int = 0


def starvation_cause(image: ImageTopic) -> str:
    """Return the likely reason why no image arrives, and what to do, in one sentence."""
    if image.incompatible:
        return (f'QoS mismatch: a publisher of {image.topic} offers an incompatible '
                f'{", ".join(image.incompatible)}; set '
                f'qos_overrides.{image.topic}.subscription.reliability to best_effort')
    if not image.publishers:
        hint = (f'; {image.other_topic_with_images} has one: check image_transport'
                if image.other_topic_with_images else '')
        return (f'nobody publishes {image.topic}{hint}; check the topic name (remap image), '
                'ROS_DOMAIN_ID and the discovery range')
    wrong = [p for p in image.publishers if p.type_name and p.type_name != image.type_name]
    if wrong:
        return (f'{wrong[0].node} publishes {image.topic} as {wrong[0].type_name}, but this node '
                f'expects {image.type_name}: check image_transport')
    publisher = image.publishers[0]
    if image.reliability == 'reliable' and publisher.reliability == 'best_effort':
        return (f'QoS mismatch: {publisher.node} offers best_effort, this node asks for reliable')
    if image.segment_loses:
        return (f'{publisher.node} publishes {image.topic}, but nothing arrives: it is paused, or '
                'its images are larger than the shared-memory segment and lost (raw images above '
                '0.5 MB sent best effort): use config/fastdds_shm.xml on both sides, or '
                'image_transport compressed')
    return f'{publisher.node} publishes {image.topic}, but nothing arrives: it may be paused'


def slow_cause(image: ImageTopic, rate: float, fps: float) -> str:
    """
    Describe that images arrive more slowly than ``ingest.fps``, the likely reason, and a remedy.

    :param rate: images a second of header time that arrive; ``fps``: the parameter.
    """
    lost = ('start its driver with config/fastdds_shm.xml, too (raw images above 0.5 MB sent best '
            'effort do not fit the shared-memory segment), or use image_transport compressed'
            if image.segment_loses else
            f'set qos_overrides.{image.topic}.subscription.reliability to reliable')
    return (f'{rate:.2f} images a second arrive on {image.topic}, ingest.fps wants {fps:g}: if '
            f'the camera sends more, they are lost on the way: {lost}; if not, lower ingest.fps')


def silent_poses_cause(poses: PoseSourceState) -> str:
    """Return the likely reason why no pose arrives, and what to do, in one sentence."""
    if not poses.publishers:
        where = 'start what publishes it, or set pose_topic to the full name'
        if poses.elsewhere:
            where = (f'there are poses on {", ".join(poses.elsewhere[:3])}: set pose_topic to '
                     'the full name')
        return f"nobody publishes {poses.topic} (pose_topic is '{poses.wanted}'); {where}"
    if poses.ignored and not poses.received:
        return (f'{poses.ignored} came on {poses.topic}, but none can be used: a pose needs a '
                'stamp, finite numbers and an orientation that is a quaternion')
    publisher = poses.publishers[0]
    if publisher.type_name not in poses.types:
        return (f'{publisher.node} publishes {poses.topic} as {publisher.type_name}, but '
                f'pose_topic takes {", ".join(poses.types)}')
    return f'{publisher.node} publishes {poses.topic}, but nothing arrives: it may be paused'


def images_status(node: str, state: str, image: ImageTopic | None,
                  starvation_s: float, snapshot: WorkerStatus | None, queue_drops: int,
                  times: CallbackTimes, clock_missing: bool = False,
                  poses: int = 0, without_pose: int = 0,
                  answerable: RecentTimes | None = None, recent: RecentCounts | None = None,
                  fps: float = 0.0) -> DiagnosticStatus:
    """
    Report on the images that arrive.

    :param image: the subscription; None when there is none.
    :param starvation_s: the allowed silence.
    :param queue_drops: frames dropped as ``queue`` since the last report.
    :param clock_missing: the node's time is simulated and has not begun.
    :param poses: how many of ``pose_topic`` are kept to be interpolated.
    :param without_pose: frames for which no pose was found.
    :param answerable: how long frames took from their stamps until they could be asked about.
    :param recent: what became of this camera's recent messages.
    :param fps: the parameter ``ingest.fps``, 0 for all.
    """
    camera, age_s = (image.camera, image.age_s) if image is not None else ('', 0.0)
    name = f'{node}: images {camera}'.rstrip()
    counts = snapshot.cameras.get(camera, CameraCounts()) if snapshot else CameraCounts()
    dropping = recent.drop_problem() if recent is not None else None
    slow = recent.slow_rate(fps) if recent is not None else None
    status = _status(name, DiagnosticStatus.OK, 'images arrive')
    if image is None:
        status.message = f'not subscribed: the node is {state}'
    elif clock_missing:
        status.level = DiagnosticStatus.WARN
        status.message = 'use_sim_time is set, but nobody publishes /clock'
    elif age_s > starvation_s:
        status.level = DiagnosticStatus.WARN
        status.message = f'no image for {age_s:.1f} s: {starvation_cause(image)}'
        if counts.faults and not counts.good:
            status.message += f'; before, {describe_drops(counts)}'
    elif image.incompatible:
        status.level = DiagnosticStatus.WARN
        status.message = starvation_cause(image)
    elif dropping is not None:
        severe, status.message = dropping
        status.level = DiagnosticStatus.ERROR if severe else DiagnosticStatus.WARN
    elif queue_drops:
        status.level = DiagnosticStatus.WARN
        status.message = (f'overload: {queue_drops} frames dropped from the full queue: lower '
                          'ingest.fps or ingest.max_pixels')
    elif slow is not None:
        status.level = DiagnosticStatus.WARN
        status.message = slow_cause(image, slow, fps)
    p50, p99, longest = times.percentiles()
    values = {'topic': image.topic if image else '', 'poses': str(poses),
              'frames without pose': str(without_pose), 'last image s': f'{age_s:.1f}',
              'image callback p50 ms': f'{p50:.3f}', 'image callback p99 ms': f'{p99:.3f}',
              'image callback max ms': f'{longest:.3f}'}
    if answerable is not None:
        for percent in (50, 95):
            values[f'stamp to answerable p{percent} ms'] = (
                f'{answerable.percentile(percent / 100):.1f}')
    if image is not None:
        values['publishers'] = str(len(image.publishers))
    if snapshot is not None:
        if snapshot.paused and status.level == DiagnosticStatus.OK:
            status.message = 'paused: frames are dropped until ~/pause is called with false'
        values['seen'] = str(counts.seen)
        values['waiting'] = str(snapshot.waiting_frames)
        values['backward clock jumps'] = str(snapshot.jumps)
        for reason, count in sorted(counts.drops.items()):
            values[f'dropped {reason}'] = str(count)
    return _with(status, values)


def poses_status(node: str, state: str, poses: PoseSourceState | None, limit_s: float,
                 max_gap_s: float, with_pose: int, without_pose: int) -> DiagnosticStatus:
    """
    Report on the poses, where ``pose_topic`` or ``pose_frame`` is set.

    :param poses: where they come from; None while the node does not listen.
    :param limit_s: the allowed silence.
    :param max_gap_s: the parameter ``pose_max_gap``.
    :param with_pose: frames that have one; ``without_pose`` that have none.
    """
    status = _status(f'{node}: poses', DiagnosticStatus.OK, 'poses arrive')
    if poses is None:
        status.message = f'not subscribed: the node is {state}'
        return status
    if poses.topic and poses.age_s > limit_s:
        status.level = DiagnosticStatus.WARN
        status.message = f'no pose for {poses.age_s:.1f} s: {silent_poses_cause(poses)}'
    elif without_pose >= MANY_FRAMES and not with_pose:
        status.level = DiagnosticStatus.WARN
        status.message = (
            f'none of {without_pose} frames has a pose: none of {poses.topic} lies within '
            f'pose_max_gap = {max_gap_s:g} s of a frame; camera and poses must be stamped by one '
            'clock' if poses.topic else
            f'none of {without_pose} frames has a pose: tf2 knows no way from {poses.wanted} to '
            "the images' frame at their stamps, see the log")
    elif poses.topic and not poses.received:
        status.message = 'waiting for the first pose'
    return _with(status, {
        'topic': poses.topic, 'publishers': str(len(poses.publishers)),
        'received': str(poses.received), 'ignored': str(poses.ignored),
        'frames with pose': str(with_pose), 'frames without pose': str(without_pose)})


def worker_status(node: str, state: str, snapshot: WorkerStatus | None,
                  faults: int) -> DiagnosticStatus:
    """
    Report on the thread that owns the model.

    :param faults: exceptions that were caught and must not end the node.
    """
    status = _status(f'{node}: worker', DiagnosticStatus.OK, 'ready')
    if snapshot is None:
        status.message = f'no model loaded: the node is {state}'
        return _with(status, {'survived exceptions': str(faults)})
    if snapshot.job == 'stopped':
        status.level = DiagnosticStatus.ERROR
        status.message = 'the worker ended: restart the node, see its log'
    elif snapshot.job == 'loading':
        status.message = f'loading the model for {snapshot.job_s:.0f} s'
    elif snapshot.beat_age_s > HEARTBEAT_S:
        status.level = DiagnosticStatus.ERROR
        status.message = (f'no heartbeat for {snapshot.beat_age_s:.0f} s, busy with a '
                          f'{snapshot.job}: the device is too slow for this model, or hangs')
    return _with(status, {
        'job': snapshot.job, 'job s': f'{snapshot.job_s:.1f}',
        'heartbeat age s': f'{snapshot.beat_age_s:.1f}',
        'waiting frames': str(snapshot.waiting_frames),
        'waiting questions': str(snapshot.waiting_queries),
        'waiting tasks': str(snapshot.waiting_tasks), 'sessions': str(snapshot.sessions),
        'last ingest ms': f'{snapshot.last_ingest_ms:.1f}',
        'last query ms': f'{snapshot.last_query_ms:.1f}',
        'survived exceptions': str(faults)})


def model_status(node: str, model: str, snapshot: WorkerStatus | None) -> DiagnosticStatus:
    """
    Report how far the model's answers can be trusted.

    :param model: the parameter.
    """
    status = _status(f'{node}: model', DiagnosticStatus.OK, model)
    if snapshot is None:
        status.message = 'no model loaded'
    elif snapshot.caveat:
        status.level = DiagnosticStatus.WARN
        status.message = snapshot.caveat
    return _with(status, {'model': model})


def memory_status(node: str, snapshot: WorkerStatus | None,
                  save_problem: str = '') -> DiagnosticStatus:
    """
    Report on the memory, and an error where it is above its budget.

    :param save_problem: why the node's own file lacks what is remembered.
    """
    status = _status(f'{node}: memory', DiagnosticStatus.OK, 'no memory allocated')
    memory = snapshot.memory if snapshot is not None else None
    if memory is None:
        return status
    status.message = f'{memory.tokens} of {memory.budget_tokens} tokens'
    if save_problem:
        status.level = DiagnosticStatus.WARN
        status.message += f'; {save_problem}'
    if memory.look_faults:
        status.level = DiagnosticStatus.WARN
        status.message += (
            f'; {memory.look_faults} frames for a second look could not be written, read or '
            'deleted: check the disk of second_look.directory')
    if memory.tokens > memory.budget_tokens or memory.bytes > memory.budget_bytes:
        status.level = DiagnosticStatus.ERROR
        status.message += ': above the budget, please report this'
    return _with(status, {
        'tokens': str(memory.tokens), 'budget tokens': str(memory.budget_tokens),
        'bytes': str(memory.bytes), 'budget bytes': str(memory.budget_bytes),
        'compressions': str(memory.compressions), 'segments': str(memory.segments),
        'second look bytes': str(memory.look_bytes)})


def shared_memory_status(node: str, room: SegmentRoom) -> DiagnosticStatus:
    """Report on the shared memory that raw images come through, as it was at the start."""
    status = _status(f'{node}: shared memory', DiagnosticStatus.OK, 'the segment fits')
    if room.shortage:
        status.level = DiagnosticStatus.WARN
        status.message = room.shortage
    return _with(status, {
        'segment bytes': str(room.needed), 'free bytes at start': str(room.free),
        'total bytes': str(room.total)})


def _status(name: str, level: bytes, message: str) -> DiagnosticStatus:
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id='none')


def _with(status: DiagnosticStatus, values: dict[str, str]) -> DiagnosticStatus:
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    return status
