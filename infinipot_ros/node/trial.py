# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A bag with questions, played over DDS to a node of its own, and what the node answered.

The node runs in its own process; each question is asked through its service once everything
before its time was remembered. What the demo shows once and a benchmark does over and over.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.node.child import NodeClient, NodeError, NodeProcess, private_environment
from infinipot_ros.node.replay import Question, Replay, open_replay
from infinipot_ros.observer.answer import same_answer

#: Frames on their way at any time: fewer than the node's queue holds, so that none is lost.
IN_FLIGHT = 6
START_S = 120.0
ANSWER_S = 60.0


@dataclass(frozen=True)
class Result:
    """A question and what came back."""

    question: Question
    response: Any
    right: bool


@dataclass(frozen=True)
class Trial:
    """
    What a node made of a bag.

    :param memory: its last ``infinipot_ros/msg/MemoryStatus``.
    :param first_ns: header stamp of the bag's first image.
    """

    results: list[Result]
    memory: Any
    first_ns: int


def run_trial(
    share: Path,
    bag: Path,
    questions: Sequence[Question],
    *,
    play_s: float,
    parameters: Sequence[str] = (),
    on_state: Callable[[str], None] = lambda state: None,
    on_frame: Callable[[int, int], None] = lambda sent, of: None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> Trial:
    """
    Start a node with the demo's settings, play a bag to it, ask, and end the node.

    :param share: the folder that holds ``config/``.
    :param questions: in the order of their times.
    :param play_s: play the bag within these seconds, if it is longer and the node keeps up.
    :param parameters: ``name:=value`` of further node parameters.
    :param on_state: told what happens before the first frame; ``on_frame`` and ``on_result`` of
        the rest.
    :raises NodeError: the node did not start, answer or end as it should.
    :raises SourceError: the bag cannot be played.
    """
    domain = private_environment(share / 'config' / 'fastdds_shm.xml')
    with tempfile.TemporaryDirectory(prefix='infinipot_trial_') as folder:
        process = NodeProcess(Path(folder), [
            '--params-file', str(share / 'config' / 'demo.yaml'), '-r', 'image:=/camera/image_raw',
            # A trial must not depend on luck: what is sent, arrives.
            '-p', 'qos_overrides./camera/image_raw/compressed.subscription.reliability:=reliable',
            '-p', 'status.period:=0.1',
            *(part for parameter in parameters for part in ('-p', parameter))])
        client = None
        try:
            client = NodeClient('/infinipot', domain)
            on_state('the node loads its model')
            client.wait(lambda: client.status.state == 'active', process, START_S, 'activity')
            on_state('the node is active')
            with open_replay(client.node, bag) as replay:
                trial = _Conductor(replay, client, process, questions, on_frame, on_result)
                trial.conduct(play_s)
            memory = client.status
        finally:
            with _undisturbed():
                status = process.stop()
                if client is not None:
                    client.close()
        if status:
            raise NodeError(f'the node ended with status {status}:\n{process.tail()}')
    return Trial(trial.results, memory, trial.first_ns)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C leave the node behind; only a main thread can be asked that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class _Conductor:
    """Plays the bag no faster than the node takes it, and asks in between."""

    def __init__(
        self, replay: Replay, client: NodeClient, process: NodeProcess,
        questions: Sequence[Question], on_frame: Callable[[int, int], None],
        on_result: Callable[[Result], None],
    ) -> None:
        self.results: list[Result] = []
        self.first_ns = 0
        self._replay, self._client, self._process = replay, client, process
        self._questions = questions
        self._on_frame, self._on_result = on_frame, on_result
        self._sent = 0

    def conduct(self, play_s: float) -> None:
        self._replay.wait_matched(20.0)
        self._replay.play(max(1.0, self._replay.seconds / play_s), self._before_image)
        self._ask(float('inf'))
        self._settled(0)
        # The last figures, after the last answer.
        asked = time.monotonic()
        self._client.wait(
            lambda: time.monotonic() - asked > 0.3, self._process, 5.0, 'a last status')

    def _before_image(self, stamp_ns: int) -> None:
        self.first_ns = self.first_ns or stamp_ns
        self._ask(stamp_ns)
        self._settled(IN_FLIGHT - 1)
        self._sent += 1
        self._on_frame(self._sent, self._replay.frames)

    def _ask(self, until_ns: float) -> None:
        while (len(self.results) < len(self._questions)
               and self._questions[len(self.results)].ask_at < until_ns):
            question = self._questions[len(self.results)]
            self._settled(0)
            response = self._client.ask(question.question, self._process, ANSWER_S)
            right = bool(response.success) and same_answer(response.answer, question.answer)
            self.results.append(Result(question, response, right))
            self._on_result(self.results[-1])

    def _settled(self, at_most: int) -> None:
        # What the node has neither remembered nor dropped is still on its way.
        def left() -> int:
            status = self._client.status
            return int(self._sent - status.frames_encoded - status.frames_dropped)

        self._client.wait(
            lambda: left() <= at_most, self._process, ANSWER_S, 'taking more frames')
