# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From plain values to messages: answers, errors, evidence, ``msg/MemoryStatus``, replies."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from infinipot_ros.errors import InfinipotError, QuestionCode
from infinipot_ros.msg import Evidence as EvidenceMessage
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.jobs import Answered
from infinipot_ros.node.pose_geometry import level, view_direction
from infinipot_ros.node.worker_status import WorkerStatus
from infinipot_ros.ros_time import SECOND_NS

if TYPE_CHECKING:
    from infinipot_ros.node.memory_host import MemoryHost
    from infinipot_ros.visual_memory.evidence import Evidence
    from infinipot_ros.visual_memory.frame import Pose

FrameIds = Callable[[str], str]
#: The largest values that the fields of messages hold.
MAX_UINT32, MAX_SECONDS = 2 ** 32 - 1, 2 ** 31 - 1


def time_message(stamp_ns: int | None) -> Time:
    """Return integer nanoseconds as a ROS time, until 2038; None as zero."""
    sec, nanosec = divmod(stamp_ns or 0, SECOND_NS)
    return Time(sec=min(sec, MAX_SECONDS), nanosec=nanosec)


def duration_message(seconds: float) -> Duration:
    """Return seconds as a ROS duration, to the nanosecond."""
    sec, nanosec = divmod(round(seconds * 1e9), SECOND_NS)
    return Duration(sec=sec, nanosec=nanosec)


def ros_text(text: str) -> str:
    """Return text as a ROS string can hold it: a NUL would end it."""
    return text.replace('\0', '\ufffd')


def answer_response(response: Any, answered: Answered, latency_s: float,
                    frame_id_of: FrameIds,
                    is_optical: Callable[[str], bool] = lambda _camera: False) -> Any:
    """
    Fill a ``Query.Response`` or an ``Ask.Result`` with an answer.

    :param latency_s: from the request to now, waiting included.
    :param frame_id_of: returns the ``frame_id`` of a camera's images.
    :param is_optical: returns whether a camera's poses are those of an optical frame.
    """
    answer = answered.answer
    response.success = True
    response.error_code = int(QuestionCode.NONE)
    response.answer = ros_text(answer.text)
    response.observed_from = time_message(answer.observed_from_ns)
    response.observed_to = time_message(answer.observed_to_ns)
    response.latency = duration_message(latency_s)
    response.memory_tokens = answer.memory_tokens
    response.truncated = answer.truncated
    response.looked_again = answer.looked_again
    response.evidence = evidence_messages(answered, frame_id_of)
    goal = goal_message(answered, is_optical)
    if goal is not None:
        best = answer.evidence[0]
        response.has_goal, response.goal = True, goal
        response.goal_covariance = response.evidence[0].pose.pose.covariance
        response.goal_age = duration_message((answered.newest_ns - best.stamp_ns) / SECOND_NS)
    missing = sum(each.thumbnail_state == EvidenceMessage.NO_LONGER_HELD
                  for each in response.evidence)
    notes = [note for note in (answer.note, answered.caveat) if note]
    if missing:
        notes.append(
            f'{missing} of {len(response.evidence)} thumbnails are no longer held: raise '
            'memory.thumbnail_bytes to keep more')
    response.message = '. '.join(notes)
    return response


def error_response(response: Any, code: QuestionCode, message: str) -> Any:
    """Fill a response or result with an error: a code for programs, a sentence for people."""
    response.success = False
    response.error_code = int(code)
    response.message = message
    return response


def evidence_messages(answered: Answered, frame_id_of: FrameIds) -> list[EvidenceMessage]:
    """Return an answer's evidence, best first."""
    return [_evidence_message(each, answered.thumbnails, frame_id_of(each.camera))
            for each in answered.answer.evidence]


def goal_message(answered: Answered, is_optical: Callable[[str], bool]) -> PoseStamped | None:
    """
    Return a pose to see from what an answer rests on most: where it was seen from, level.

    :param is_optical: returns whether a camera's poses are those of an optical frame.
    :return: None where no pose is known of the best evidence.
    """
    best = next(iter(answered.answer.evidence), None)
    if best is None or best.pose is None:
        return None
    header = Header(stamp=time_message(best.stamp_ns), frame_id=best.pose.frame_id)
    message = PoseStamped(header=header)
    qx, qy, qz, qw = level(view_direction(best.pose, is_optical(best.camera)))
    _set_pose(message.pose, replace(best.pose, qx=qx, qy=qy, qz=qz, qw=qw))
    return message


def _evidence_message(evidence: Evidence, thumbnails: Mapping[int, bytes] | None,
                      frame_id: str) -> EvidenceMessage:
    header = Header(stamp=time_message(evidence.stamp_ns), frame_id=frame_id)
    message = EvidenceMessage(
        header=header, stamp_from=time_message(evidence.first_ns),
        stamp_to=time_message(evidence.last_ns), camera=evidence.camera, score=evidence.score,
        looked_again=evidence.looked_again)
    if evidence.pose is not None:
        _fill_pose(message, evidence)
    if thumbnails is not None:
        jpeg = thumbnails.get(evidence.grid)
        message.thumbnail_state = EvidenceMessage.NO_LONGER_HELD
        if jpeg is not None:
            message.thumbnail_state = EvidenceMessage.INCLUDED
            message.thumbnail = CompressedImage(
                header=header, format='rgb8; jpeg compressed bgr8', data=array('B', jpeg))
    return message


def _fill_pose(message: EvidenceMessage, evidence: Evidence) -> None:
    pose = evidence.pose
    assert pose is not None
    message.has_pose = True
    message.pose.header.stamp = message.header.stamp
    message.pose.header.frame_id = pose.frame_id
    _set_pose(message.pose.pose.pose, pose)
    if pose.covariance:
        message.pose.pose.covariance = list(pose.covariance)


def _set_pose(message: PoseMessage, pose: Pose) -> None:
    message.position.x, message.position.y, message.position.z = pose.x, pose.y, pose.z
    orientation = message.orientation
    orientation.x, orientation.y, orientation.z = pose.qx, pose.qy, pose.qz
    orientation.w = pose.qw


def status_message(now: Time, state: str, model: str, policy: str,
                   snapshot: WorkerStatus | None) -> MemoryStatus:
    """
    Build what ``~/status`` publishes.

    :param now: the node's time.
    :param state: the lifecycle state's label.
    :param model: the parameter ``model``.
    :param policy: the parameter ``memory.policy``.
    :param snapshot: the worker's figures; None while unconfigured.
    """
    message = MemoryStatus(state=state, policy=policy)
    message.header.stamp = now
    if snapshot is None:
        return message
    message.model = model
    reasons = sorted(snapshot.drops)
    message.frames_seen = snapshot.frames_seen
    # A block that fails takes frames back that were counted before it.
    message.frames_encoded = max(0, sum(
        each.remembered for each in snapshot.cameras.values()))
    message.frames_dropped = sum(snapshot.drops.values())
    message.drop_reasons = reasons
    message.drop_counts = [snapshot.drops[reason] for reason in reasons]
    message.paused = snapshot.paused
    message.sessions = snapshot.sessions
    message.last_ingest_ms = snapshot.last_ingest_ms
    message.last_query_ms = snapshot.last_query_ms
    memory = snapshot.memory
    if memory is not None:
        message.frames_loaded = memory.frames_loaded
        message.memory_tokens = memory.tokens
        message.cameras = sorted(memory.camera_tokens)
        message.camera_tokens = [memory.camera_tokens[name] for name in message.cameras]
        message.budget_tokens = memory.budget_tokens
        message.memory_bytes = memory.bytes
        message.budget_bytes = memory.budget_bytes
        message.compressions = memory.compressions
        message.segments = min(memory.segments, MAX_UINT32)
        message.oldest_stamp = time_message(memory.oldest_ns)
        message.newest_stamp = time_message(memory.newest_ns)
    return message


def reply(host: MemoryHost, response: Any, act: Callable[[], str],
          after: Callable[[], None]) -> Any:
    """
    Act, and fill a response's ``success`` and ``message``; never raise.

    :param act: may set other fields of the response; returns what it did, for the log, if that is
        anything; whatever it raises becomes the message.
    :param after: called when it is done, whether it worked or not.
    """
    try:
        done = act()
        response.success = True
        if done:
            host.log.info(done)
    except InfinipotError as error:
        response.success, response.message = False, str(error)
    except Exception as error:
        response.success, response.message = False, host.report_fault(error)
    after()
    return response
