# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A bag with questions, played over DDS to a real node, and what the node answered.

The node is one of its own, in a process and a domain of its own, or one that runs already, on a
robot for example. Either the bag waits for the node, so that nothing is lost, or it keeps its own
pace, as a camera does, and what is lost is counted. What the demo shows once, a benchmark does
over and over, and ``infinipot replay`` makes a report of.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.errors import SourceError
from infinipot_ros.node.job_queue import MAX_QUERIES
from infinipot_ros.node.replay.bag_player import Replay, image_connections, open_bag, open_replay
from infinipot_ros.node.replay.client import NodeError
from infinipot_ros.node.replay.frame_accounting import FrameCounts, count_frames
from infinipot_ros.node.replay.node_handle import COMPRESSED, NodeHandle, launch_node
from infinipot_ros.node.replay.question_scheduler import QuestionScheduler, ReplayObserver, Result

#: Frames on their way at any time: fewer than the middleware keeps for the node.
IN_FLIGHT = 6
MATCH_S = 20.0
#: What the node may take longer for an answer than its own ``query.timeout``.
GRACE_S = 10.0
#: A node that takes no frame for so long, though it has none waiting, never got what is missing.
LOST_S = 5.0
#: Without any progress for so long, the node hangs.
STUCK_S = 60.0
#: Questions under way at a time; one more place is left to others.
MAX_AT_ONCE = MAX_QUERIES - 1


@dataclass(frozen=True)
class ReplayResult:
    """
    What a node made of a bag.

    :param memory: its last ``infinipot_ros/msg/MemoryStatus``.
    :param first_ns: header stamp of the first image that was sent, ``last_ns`` of the last.
    :param frames: what became of all images in the end.
    """

    results: list[Result]
    memory: Any
    first_ns: int
    last_ns: int
    frames: FrameCounts


@dataclass(frozen=True)
class Pace:
    """
    How a bag is played.

    :param rate: seconds of the bag a second; infinite for no pauses.
    :param waits: play no faster than the node takes the frames, and not on before a question is
        answered: nothing is lost, answers are those of the offline path.
    """

    rate: float = float('inf')
    waits: bool = True


def run_session(
    bag: Path, questions: Sequence[Any], *, arguments: Sequence[str] = (), profile: Path,
    pace: Pace = Pace(), topic: str | None = None, clock: bool = False,
    follower: ReplayObserver | None = None, thumbnails: bool = False,
) -> ReplayResult:
    """
    Start a node, play a bag to it, ask, and end the node.

    :param questions: :class:`~infinipot_ros.node.interfaces.question_handler.Asked`.
    :param arguments: ROS arguments of the node, such as ``-p name:=value``.
    :param profile: Fast DDS profile, used where the file exists.
    :param topic: the image topic of a bag that has several.
    :param clock: publish ``/clock``, and have the node go by it.
    :param thumbnails: have the answers' evidence with pictures.
    :raises NodeError: the node did not start, answer or end as it should.
    :raises SourceError: the bag cannot be played.
    """
    follower = follower or ReplayObserver()
    name, kind = choose_images(bag, topic)
    with launch_node(name, kind, arguments, profile, reliable=pace.waits, sim_time=clock,
                  follower=follower) as node:
        return play_session(node, bag, questions, pace=pace, topic=name, clock=clock,
                       follower=follower, thumbnails=thumbnails)


def choose_images(bag: Path, topic: str | None) -> tuple[str, str]:
    """
    Return topic and type of the images to play.

    :raises SourceError: the bag has none, or several and ``topic`` does not say which.
    """
    with open_bag(bag) as reader:
        kinds = {c.topic: str(c.msgtype) for c in image_connections(reader, bag, topic)}
    if len(kinds) > 1:
        listing = ', '.join(f'{name} ({kind})' for name, kind in sorted(kinds.items()))
        raise SourceError(f'{bag} holds {len(kinds)} image topics, say which with topic: '
                          f'{listing}')
    return next(iter(kinds.items()))


def play_session(
    node: NodeHandle, bag: Path, questions: Sequence[Any], *, pace: Pace, topic: str,
    clock: bool = False, follower: ReplayObserver | None = None, thumbnails: bool = False,
) -> ReplayResult:
    """
    Play a bag to a node and ask it.

    :param topic: the image topic of the bag; it goes out on the topic the node listens to.
    :raises NodeError: the node ended or does not answer; what it answered was told.
    :raises SourceError: the bag cannot be played, or not to this node.
    """
    heard, kind = node.image
    _, recorded = choose_images(bag, topic)
    if recorded != kind:
        wanted = 'compressed' if recorded == COMPRESSED else 'raw'
        raise SourceError(f'{topic} holds {recorded}, but {node.client.name} listens to {kind} '
                          f'on {heard}: start it with image_transport:={wanted}')
    with open_replay(node.client.node, bag, clock=clock, topic=topic, publish_as=heard) as replay:
        asker = make_asker(node, questions, follower or ReplayObserver(),
                           1 if pace.waits else MAX_AT_ONCE, thumbnails)
        return ReplaySession(replay, node, asker, pace, follower or ReplayObserver()).conduct()


def make_asker(node: NodeHandle, questions: Sequence[Any], follower: ReplayObserver, at_once: int,
               thumbnails: bool = False) -> QuestionScheduler:
    """Prepare questions for a node: no more at once than it takes, no longer than it may take."""
    return QuestionScheduler(
        node.client,
        questions,
        follower,
        at_once=at_once,
        status_s=node.status_s,
        timeout_s=float(node.parameters['query.timeout']) + GRACE_S,
        thumbnails=thumbnails,
    )


class ReplaySession:
    """Plays the bag at its pace, and asks in between."""

    def __init__(self, replay: Replay, node: NodeHandle, asker: QuestionScheduler, pace: Pace,
                 follower: ReplayObserver) -> None:
        self._replay, self._client, self._pace = replay, node.client, pace
        self._follower, self._asker = follower, asker
        self._in_flight = max(1, min(IN_FLIGHT, int(node.parameters['ingest.queue_size'])))
        self._status_s = node.status_s
        self._first_ns = 0
        self._lost_on_way = 0

    def conduct(self) -> ReplayResult:
        """Play, ask, and wait for the last answers."""
        asker, client = self._asker, self._client
        client.meanwhile = asker.collect
        self._follower.state('waiting for the node to subscribe')
        self._replay.wait_matched(MATCH_S)
        self._follower.state('playing')
        asker.before = client.status
        self._replay.play(self._pace.rate, self._before_image, self._meanwhile)
        self._follower.state('waiting for the last answers')
        if self._pace.waits:
            self._settled(0)
        else:
            self._replay.wait_acknowledged(GRACE_S)
        asker.ask_and_wait(float('inf'))
        # The last figures, after the last answer and whatever was still on its way.
        self._settled(0)
        memory = self._next_status()
        return ReplayResult(asker.results, memory, self._first_ns, asker.newest_ns,
                     count_frames(asker.sent, memory, asker.before))

    def _before_image(self, stamp_ns: int) -> None:
        self._first_ns = self._first_ns or stamp_ns
        self._client.check()
        if self._pace.waits:
            if self._asker.due(stamp_ns - 1):
                self._settled(0)
                self._asker.ask_and_wait(stamp_ns - 1)
            self._settled(self._in_flight - 1)
        else:
            self._asker.ask(stamp_ns - 1)
        self._asker.image_sent(stamp_ns)
        self._follower.frame(self._asker.sent, self._replay.frames)

    def _meanwhile(self, now_ns: int) -> None:
        if self._pace.waits:
            self._asker.collect()
        else:
            self._asker.ask(now_ns)

    def _settled(self, at_most: int) -> None:
        """Wait until no more frames than that are neither remembered nor dropped."""
        moved, before = time.monotonic(), (-1, -1)
        while True:
            status = self._client.status
            count = count_frames(self._asker.sent, status, self._asker.before)
            if count.outstanding - self._lost_on_way <= at_most:
                return
            now = time.monotonic()
            if before != (count.seen, count.outstanding):
                moved, before = now, (count.seen, count.outstanding)
            waiting = count.seen + count.outstanding - count.sent
            if now - moved > LOST_S + self._status_s and waiting <= 0:
                # A best-effort subscription may miss what a reliable one gets.
                self._lost_on_way = count.outstanding
                continue
            if now - moved > STUCK_S + self._status_s:
                raise NodeError(f'the node {self._client.name} took none of the {waiting} frames '
                                f'that wait in it for {STUCK_S:g} s')
            self._client.check()
            self._asker.collect()
            time.sleep(0.005)

    def _next_status(self) -> Any:
        old = self._client.status
        self._client.wait(lambda: self._client.status is not old, GRACE_S + self._status_s,
                          'a last status')
        return self._client.status
