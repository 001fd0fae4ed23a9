# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A running node behind the page, by its public interface: needs ROS 2."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from infinipot_ros.errors import NodeError, QuestionError
from infinipot_ros.evaluation.report.formatting import clock_start, clock_text, stamp_text
from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.integrations.web.page_source import (
    CountRate,
    PageAnswer,
    PageMoment,
    PageQuestion,
    PageStatus,
    PageWatch,
    described_drops,
)
from infinipot_ros.node.pictures import FRAME_HEIGHT
from infinipot_ros.node.replay.node_client import NodeClient
from infinipot_ros.ros_time import SECOND_NS, nanoseconds

#: Seconds a node has to be found in, and to answer about its parameters.
FIND_S = 10.0
#: Seconds a question may take beyond the node's own limit.
GRACE_S = 10.0
#: Seconds without a status, beyond its period, after which the node counts as away.
AWAY_S = 3.0
JPEG_QUALITY = 85


class NodeSource:
    """
    A client of a node; it outlives the node and finds it again.

    :param name: the node's full name.
    :raises NodeError: there is no such node.
    """

    watches_note = ''

    def __init__(self, name: str) -> None:
        self._client = client = NodeClient(name)
        self._rate = CountRate()
        self._drawn: Any = None
        self._pictures: tuple[Any, dict[str, bytes]] = (None, {})
        try:
            client.wait_present(FIND_S)
            self._patience_s = AWAY_S + float(
                client.parameters(['status.period'], FIND_S)['status.period'])
        except NodeError:
            client.close()
            raise
        client.follow_memory_image(self._on_drawn)

    def close(self) -> None:
        """Leave the ROS domain; may be repeated."""
        self._client.close()

    # -- what is shown ------------------------------------------------------------------------

    def status(self) -> PageStatus:
        """Return the newest status; of a node that is away, its last, and that it is away."""
        found, away = self._client.status, self._away()
        first_ns, newest_ns = self._held()
        fps, kept_fps = self._rate.of(found.frames_seen, found.frames_encoded)
        state, note = found.state, ''
        if away:
            state, note = 'away', away
        elif state != 'active':
            note = (f'The node is {state}: it takes no frames and no questions until it is '
                    'active.')
        elif found.paused:
            state, note = 'paused', 'The node is paused: it takes no frames, and answers.'
        drawn = self._drawn
        return PageStatus(
            self._client.name, 'node', state, note, model=found.model, policy=found.policy,
            frames_seen=found.frames_seen, frames_kept=found.frames_encoded,
            drops=described_drops(dict(zip(found.drop_reasons, map(int, found.drop_counts)))),
            tokens=found.memory_tokens, budget_tokens=found.budget_tokens,
            bytes=found.memory_bytes, budget_bytes=found.budget_bytes,
            compressions=found.compressions, fps=fps, kept_fps=kept_fps,
            ingest_ms=found.last_ingest_ms, query_ms=found.last_query_ms,
            sessions=found.sessions, oldest=stamp_text(first_ns, None) if first_ns else '',
            newest=stamp_text(newest_ns, None) if newest_ns else '',
            span_s=(newest_ns - first_ns) / SECOND_NS,
            picture='' if drawn is None else str(id(drawn)), strip=drawn is not None)

    def _away(self) -> str:
        """Say that the node is away; empty where it is there."""
        if self._client.silence_s() <= self._patience_s:
            return ''
        return (f'The node {self._client.name} is away: it ended, restarts, or the connection '
                'broke. This page looks for it and goes on by itself when it is back.')

    def _held(self) -> tuple[int, int]:
        status = self._client.status
        return nanoseconds(status.oldest_stamp), nanoseconds(status.newest_stamp)

    def _on_drawn(self, message: Any) -> None:
        self._drawn = message

    def picture(self, name: str) -> bytes | None:
        """Return a part of what the node draws: ``latest`` or, below it, ``strip``."""
        message = self._drawn
        if message is None:
            return None
        if self._pictures[0] is not message:
            drawn = to_rgb(message)
            self._pictures = message, {
                'latest': _jpeg(drawn[:FRAME_HEIGHT]), 'strip': _jpeg(drawn[FRAME_HEIGHT:])}
        return self._pictures[1].get(name)

    def moments(self) -> Sequence[PageMoment]:
        """Return none: a node shows its moments as a picture, the ``strip``."""
        return ()

    def thumbnail(self, key: int) -> bytes | None:
        """Return None, as there are no moments."""
        return None

    # -- questions ----------------------------------------------------------------------------

    def ask(self, question: PageQuestion, on_text: Callable[[str], None],
            canceled: Callable[[], bool]) -> PageAnswer:
        """
        Ask by ``~/ask`` and wait.

        :raises InfinipotError: there is no answer, and why.
        """
        self._check_there()
        first_ns, newest_ns = self._held()
        start_ns = clock_start(first_ns)
        stamps = {name: stamp_of(text, start_ns, newest_ns, name)
                  for name, text in question.times.items()}
        timeout_s = GRACE_S + float(
            self._client.parameters(['query.timeout'], FIND_S)['query.timeout'])
        started_s = time.monotonic()
        try:
            result = self._client.ask_streaming(
                question.question, on_text, timeout_s, since_ns=stamps.get('since'),
                until_ns=stamps.get('until'), canceled=canceled, session=question.session,
                thumbnails=True)
        except NodeError as error:
            raise NodeError(self._away() or str(error)) from error
        except QuestionError as error:
            raise typed_scope(
                error, question.times, start_ns, (first_ns, newest_ns)) from error
        newest_ns = max(newest_ns, self._held()[1])
        return PageAnswer(
            result.answer, result.message, ' to '.join(
                stamp_text(nanoseconds(each), None)
                for each in (result.observed_from, result.observed_to)),
            time.monotonic() - started_s, result.truncated,
            [_moment(each, newest_ns) for each in result.evidence])

    def watches(self) -> Sequence[PageWatch]:
        """
        Return the node's standing questions.

        :raises NodeError: the node is away.
        """
        self._check_there()
        return [PageWatch(question=each.question, value=each.value, id=each.id,
                          period_s=max(0.1, nanoseconds(each.period) / SECOND_NS),
                          answer=each.answer, asked=each.asked)
                for each in self._client.watches()]

    def begin_watch(self, watch: PageWatch) -> None:
        """:raises NodeError: the node is away, or refuses it, and why."""
        self._check_there()
        self._client.begin_watch(watch.question, period_s=watch.period_s, value=watch.value)

    def end_watch(self, number: int) -> None:
        """:raises NodeError: the node is away, or has no such watch."""
        self._check_there()
        self._client.end_watch(number)

    def _check_there(self) -> None:
        away = self._away()
        if away:
            raise NodeError(away)


def _jpeg(rgb: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, 'JPEG', quality=JPEG_QUALITY)
    return stream.getvalue()


def _moment(evidence: Any, newest_ns: int) -> PageMoment:
    """Read a message of evidence; its time is shown before the newest frame's."""
    stamp_ns = nanoseconds(evidence.header.stamp)
    first_ns, last_ns = nanoseconds(evidence.stamp_from), nanoseconds(evidence.stamp_to)
    moment = PageMoment(
        -1, clock_text((stamp_ns - newest_ns) / SECOND_NS), first_ns / SECOND_NS,
        (last_ns - first_ns) / SECOND_NS, evidence.camera, float(evidence.score),
        picture=bytes(evidence.thumbnail.data) or None)
    if not evidence.has_pose:
        return moment
    point = evidence.pose.pose.pose.position
    return replace(moment, place=(point.x, point.y), frame_id=evidence.pose.header.frame_id)
