# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer rests on, where nobody waits for the node: a frame may overtake a question."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='questions are asked over ROS 2')

from infinipot_ros.node.replay.node_handle import NodeHandle
from infinipot_ros.node.replay.question_scheduler import QuestionScheduler, ReplayObserver


@dataclass(frozen=True)
class Question:
    id: str
    question: str
    ask_at_ns: int | None


def stamp(sec: int) -> SimpleNamespace:
    return SimpleNamespace(sec=sec, nanosec=0)


class Answered:
    """A node that answers at once, from frames up to a second; which one DDS decides."""

    def __init__(self, observed_to_s: int, success: bool = True) -> None:
        self.response = SimpleNamespace(success=success, observed_to=stamp(observed_to_s))
        self.statuses = deque([self.remembering(0)])

    @property
    def status(self) -> SimpleNamespace:
        return self.statuses[-1]

    def remembering(self, frames: int) -> SimpleNamespace:
        return SimpleNamespace(
            newest_stamp=stamp(frames), frames_seen=frames, frames_encoded=frames,
            drop_reasons=[], drop_counts=[])

    def ask_async(self, question: str, thumbnails: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            done=lambda: True, result=lambda: self.response,
            add_done_callback=lambda call: call(None))


@pytest.mark.parametrize(('observed_to_s', 'asked_s', 'saw_later_frame'), [
    (5, 5, False), (6, 5, True), (6, None, False)])
def test_a_later_frame_makes_an_answer_another(observed_to_s, asked_s, saw_later_frame):
    client = Answered(observed_to_s)
    asked_ns = None if asked_s is None else asked_s * 10**9
    node = NodeHandle(
        client, {'query.timeout': 1.0, 'status.period': 0.0}, ('/image', 'sensor_msgs/msg/Image'))
    scheduler = QuestionScheduler(
        node, [Question('q', 'What?', asked_ns)], ReplayObserver(), at_once=1)
    for second in range(1, 6):
        scheduler.image_sent(second * 10**9)
    client.statuses.append(client.remembering(observed_to_s))
    scheduler.ask(float('inf'))
    scheduler.collect()
    [result] = scheduler.results
    assert result.frames.saw_later_frame == saw_later_frame
    assert result.frames.complete == (not saw_later_frame)
