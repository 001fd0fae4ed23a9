# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From an answer, or an error, to ``srv/Query`` responses, ``action/Ask`` results and evidence."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from infinipot_ros.errors import QuestionCode
from infinipot_ros.msg import Evidence as EvidenceMessage
from infinipot_ros.node.jobs import Answered
from infinipot_ros.node.status_message import duration_message, time_message

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.evidence import Evidence

FrameIds = Callable[[str], str]


def ros_text(text: str) -> str:
    """Return text as a ROS string can hold it: one with a NUL in it would end there."""
    return text.replace('\0', '\ufffd')


def answer_response(response: Any, answered: Answered, latency_s: float,
                    frame_id_of: FrameIds) -> Any:
    """
    Fill a ``Query.Response`` or an ``Ask.Result`` with an answer.

    :param latency_s: from the request to now, waiting included.
    :param frame_id_of: the frame of a camera's images.
    """
    answer = answered.answer
    response.success = True
    response.error_code = int(QuestionCode.NONE)
    response.answer = ros_text(answer.text)
    response.observed_from = time_message(answer.observed_from_ns)
    response.observed_to = time_message(answer.observed_to_ns)
    response.latency = duration_message(latency_s)
    response.memory_tokens = answer.memory_tokens
    response.evidence = evidence_messages(answered, frame_id_of)
    missing = sum(each.thumbnail_state == EvidenceMessage.NO_LONGER_HELD
                  for each in response.evidence)
    notes = [answered.caveat] if answered.caveat else []
    if missing:
        notes.append(
            f'{missing} of {len(response.evidence)} thumbnails are no longer held: raise '
            'memory.thumbnail_bytes to keep more')
    response.message = '. '.join(notes)
    return response


def error_response(response: Any, code: QuestionCode, message: str) -> Any:
    """Fill a response or result with a refusal: a code for programs, a sentence for people."""
    response.success = False
    response.error_code = int(code)
    response.message = message
    return response


def evidence_messages(answered: Answered, frame_id_of: FrameIds) -> list[EvidenceMessage]:
    """Return an answer's evidence, best first."""
    return [_evidence_message(each, answered.thumbnails, frame_id_of(each.camera))
            for each in answered.answer.evidence]


def _evidence_message(evidence: Evidence, thumbnails: Mapping[int, bytes] | None,
                      frame_id: str) -> EvidenceMessage:
    header = Header(stamp=time_message(evidence.stamp_ns), frame_id=frame_id)
    message = EvidenceMessage(
        header=header, stamp_from=time_message(evidence.first_ns),
        stamp_to=time_message(evidence.last_ns), camera=evidence.camera, score=evidence.score)
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
    position = message.pose.pose.pose.position
    position.x, position.y, position.z = pose.x, pose.y, pose.z
    orientation = message.pose.pose.pose.orientation
    orientation.x, orientation.y, orientation.z = pose.qx, pose.qy, pose.qz
    orientation.w = pose.qw
    if pose.covariance:
        message.pose.pose.covariance = list(pose.covariance)
