# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play a bag with questions over DDS to a real node, and record its answers.

The node is launched for the session, or runs already, on a robot for example. Either the bag
waits for the node, so that nothing is lost, or it keeps its own pace, as a camera does, and what
is lost is counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.errors import NodeError, SourceError
from infinipot_ros.node.image_types import BY_KIND
from infinipot_ros.node.job_queue import MAX_QUERIES
from infinipot_ros.node.replay.bag_player import BagPlayer, choose_images, open_player
from infinipot_ros.node.replay.frame_accounting import FrameCounts
from infinipot_ros.node.replay.node_handle import NodeHandle, launch_node
from infinipot_ros.node.replay.question_scheduler import (
    QuestionScheduler,
    ReplayObserver,
    Result,
    ScheduledQuestion,
)

#: Frames on their way at any time: fewer than the middleware keeps for the node.
IN_FLIGHT = 6
MATCH_S = 20.0
#: Seconds the last frames, and the last status, may take.
END_S = 10.0
#: A node that has no frame waiting and takes none for so long never received what is missing.
LOST_S = 5.0
#: A node that makes no progress for so long hangs.
STUCK_S = 60.0
#: Questions pending at a time; one more place is left to other clients.
MAX_AT_ONCE = MAX_QUERIES - 1


@dataclass(frozen=True)
class ReplayResult:
    """
    What came of a bag.

    :param memory: the node's last ``infinipot_ros/msg/MemoryStatus``.
    :param first_ns: header stamp of the first image that was sent, ``last_ns`` of the last.
    :param frames: what became of all images in the end.
    """

    results: list[Result]
    memory: Any
    first_ns: int
    last_ns: int
    frames: FrameCounts

    @classmethod
    def of(cls, scheduler: QuestionScheduler, memory: Any) -> ReplayResult:
        """Sum up what a scheduler recorded; ``memory`` is the node's last status."""
        return cls(scheduler.results, memory, scheduler.first_ns, scheduler.newest_ns,
                   scheduler.count(memory))


@dataclass(frozen=True)
class Pace:
    """
    How a bag is played.

    :param rate: seconds of the bag per second; infinite for no pauses.
    :param waits: play no faster than the node takes the frames, and play on only after a question
        is answered: nothing is lost, and the answers are those of the offline path.
    """

    rate: float = float('inf')
    waits: bool = True


def run_session(
    bag: Path, questions: Sequence[ScheduledQuestion], *, arguments: Sequence[str] = (),
    profile: Path, pace: Pace = Pace(), topic: str | None = None, clock: bool = False,
    observer: ReplayObserver | None = None, thumbnails: bool = False,
) -> ReplayResult:
    """
    Launch a node, play a bag to it, ask, and end the node.

    :param arguments: ROS arguments of the node, such as ``-p name:=value``.
    :param profile: Fast DDS profile, used where the file exists.
    :param topic: the image topic of a bag that has several.
    :param clock: publish ``/clock``, and let the node use it.
    :param thumbnails: request a jpeg with each piece of evidence.
    :raises NodeError: the node did not start, answer or end as it should.
    :raises SourceError: the bag cannot be played.
    """
    observer = observer or ReplayObserver()
    topic, kind = choose_images(bag, topic)
    with launch_node(topic, kind, arguments, profile, reliable=pace.waits, sim_time=clock,
                     on_state=observer.state) as node:
        return play_session(node, bag, questions, pace=pace, topic=topic, clock=clock,
                            observer=observer, thumbnails=thumbnails)


def play_session(
    node: NodeHandle, bag: Path, questions: Sequence[ScheduledQuestion], *, pace: Pace, topic: str,
    clock: bool = False, observer: ReplayObserver | None = None, thumbnails: bool = False,
) -> ReplayResult:
    """
    Play a bag to a node and ask it.

    :param topic: the image topic of the bag; it is published on the topic the node subscribes to.
    :raises NodeError: the node ended or does not answer; the observer has what came before.
    :raises SourceError: the bag cannot be played, or not to this node.
    """
    observer = observer or ReplayObserver()
    subscribed, kind = node.image
    _, recorded = choose_images(bag, topic)
    if recorded != kind:
        wanted = BY_KIND[recorded].transport
        raise SourceError(
            f'{topic} holds {recorded}, but {node.client.name} subscribes to {kind} on '
            f'{subscribed}: start it with image_transport:={wanted}')
    with open_player(
            node.client.node, bag, clock=clock, topic=topic, publish_as=subscribed) as player:
        scheduler = QuestionScheduler(
            node, questions, observer, at_once=1 if pace.waits else MAX_AT_ONCE,
            thumbnails=thumbnails)
        return ReplaySession(player, node, scheduler, pace, observer).run()


class ReplaySession:
    """Plays the bag at its pace, and asks in between."""

    def __init__(self, player: BagPlayer, node: NodeHandle, scheduler: QuestionScheduler,
                 pace: Pace, observer: ReplayObserver) -> None:
        self._player, self._client, self._pace = player, node.client, pace
        self._observer, self._scheduler = observer, scheduler
        self._in_flight = max(1, min(IN_FLIGHT, int(node.parameters['ingest.queue_size'])))
        self._status_s = node.status_s
        self._lost_on_way = 0

    def run(self) -> ReplayResult:
        """
        Play, ask, and wait for the last answers.

        :raises NodeError: the node ended or does not answer.
        :raises SourceError: the node does not subscribe, or the bag is damaged.
        """
        scheduler, client = self._scheduler, self._client
        client.meanwhile = scheduler.collect
        self._observer.state('waiting for the node to subscribe')
        self._player.wait_matched(MATCH_S)
        self._observer.state('playing')
        scheduler.before = client.status
        self._player.play(self._pace.rate, self._before_image, self._between_images)
        self._observer.state('waiting for the last answers')
        if self._pace.waits:
            self._wait_outstanding(0)
        else:
            self._player.wait_acknowledged(END_S)
        scheduler.ask_and_wait(float('inf'))
        # The last figures: after the last answer, and after frames that were still on their way.
        self._wait_outstanding(0)
        old = client.status
        client.wait(lambda: client.status is not old, END_S + self._status_s, 'a last status')
        return ReplayResult.of(scheduler, client.status)

    def _before_image(self, stamp_ns: int) -> None:
        scheduler = self._scheduler
        self._client.check()
        if self._pace.waits:
            if scheduler.due(stamp_ns - 1):
                self._wait_outstanding(0)
                scheduler.ask_and_wait(stamp_ns - 1)
            self._wait_outstanding(self._in_flight - 1)
        else:
            scheduler.ask(stamp_ns - 1)
        scheduler.image_sent(stamp_ns)
        self._observer.frame(scheduler.sent, self._player.frames)

    def _between_images(self, now_ns: int) -> None:
        if self._pace.waits:
            self._scheduler.collect()
        else:
            self._scheduler.ask(now_ns)

    def _wait_outstanding(self, at_most: int) -> None:
        """Wait until no more frames than that are neither remembered nor dropped."""
        moved, before = time.monotonic(), (-1, -1)
        while True:
            count = self._scheduler.count(self._client.status)
            if count.outstanding - self._lost_on_way <= at_most:
                return
            now = time.monotonic()
            if before != (count.seen, count.outstanding):
                moved, before = now, (count.seen, count.outstanding)
            waiting = count.seen + count.outstanding - count.sent
            if now - moved > LOST_S + self._status_s and waiting <= 0:
                # A best-effort subscription may miss frames.
                self._lost_on_way = count.outstanding
                continue
            if now - moved > STUCK_S + self._status_s:
                raise NodeError(f'the node {self._client.name} took none of the {waiting} frames '
                                f'that wait in it for {STUCK_S:g} s')
            self._client.check()
            self._scheduler.collect()
            time.sleep(0.005)
