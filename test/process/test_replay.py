# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag and questions against a real node over DDS: at its pace, at ours, played by others."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recording_files as recordings
from harness import SECOND
from recording_files import STORE, camera, header, text, write_bag
from rosbags.rosbag2 import StoragePlugin

from infinipot_ros.errors import NodeError, SourceError
from infinipot_ros.node import parameters
from infinipot_ros.node.replay import question_scheduler
from infinipot_ros.node.replay.bag_player import choose_images
from infinipot_ros.node.replay.live_monitor import LiveMonitor
from infinipot_ros.node.replay.node_handle import connect_node
from infinipot_ros.node.replay.question_scheduler import ReplayObserver, Result
from infinipot_ros.node.replay.session import Pace, play_session, run_session
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.visual_memory.visual_memory import VisualMemory

END_NS = 2**63
NO_PROFILE = Path('/nonexistent')
PIXELS = ['-p', 'ingest.max_pixels:=3136', '-p', 'memory.budget:=64', '-p', 'ingest.fps:=0.0',
          '-p', 'query.max_new_tokens:=5']


@dataclass(frozen=True)
class Question:
    id: str
    ask_at_ns: int | None
    question: str = 'What do you see?'


class Recorder(ReplayObserver):
    """Records what happens; calls back on results."""

    def __init__(self, on_result: Callable[[Result], None] = lambda result: None) -> None:
        self.states: list[str] = []
        self.results: list[Result] = []
        self.statuses: list[Any] = []
        self._on_result = on_result

    def state(self, text: str) -> None:
        self.states.append(text)

    def status(self, status: Any) -> None:
        self.statuses.append(status)

    def result(self, result: Result) -> None:
        self.results.append(result)
        self._on_result(result)


pytestmark = pytest.mark.usefixtures('kept_environment')


def noisy(stamp_ns: int, index: int = 0, side: int = 56) -> Any:
    """An image like no other."""
    rows = np.random.default_rng(stamp_ns % 2**32).integers(0, 256, side * side * 3, np.uint8)
    return STORE.types['sensor_msgs/msg/Image'](
        header=header(stamp_ns), height=side, width=side, encoding='rgb8', is_bigendian=0,
        step=side * 3, data=rows)


def make_bag(path: Path, frames: int, *, start_ns: int = recordings.START,
             plugin: StoragePlugin = StoragePlugin.MCAP) -> tuple[Path, list[int]]:
    """Two a second, received 7 ms after they were stamped; with their stamps."""
    rows = camera(frames, noisy, SECOND // 2)
    shift = start_ns - recordings.START
    stamps = [start_ns + index * SECOND // 2 for index in range(frames)]
    rows = [(when + shift, noisy(stamp)) for (when, _), stamp in zip(rows, stamps)]
    return write_bag(path, {'/front/image': rows, '/rear/image': rows[:3]}, plugin=plugin), stamps


def offline(bag: Path, values: dict[str, Any], questions: list[Question]) -> list[str]:
    """What a memory with the node's settings answers, without ROS."""
    memory = VisualMemory(parameters.memory_config(values))
    answers: dict[str, str] = {}

    def ask(before_ns: int) -> None:
        for each in questions:
            if each.id not in answers and (each.ask_at_ns or END_NS) < before_ns:
                answers[each.id] = memory.ask(each.question).text

    for frame in open_source(bag, topic='/front/image'):
        ask(frame.stamp_ns)
        memory.add_frame(frame.rgb, frame.stamp_ns, frame.camera)
    ask(END_NS + 1)
    return [answers[each.id] for each in questions]


def test_a_bag_that_waits_loses_nothing(tiny, tmp_path) -> None:
    bag, stamps = make_bag(tmp_path / 'bag', 40, plugin=StoragePlugin.SQLITE3)
    questions = [Question('end', None), Question('mid', stamps[19]),
                 Question('between', stamps[29] + 1000), Question('again', stamps[19], 'Who?')]
    recorder = Recorder()
    done = run_session(
        bag, questions, arguments=['-p', f'model:={tiny}', *PIXELS], profile=NO_PROFILE,
        topic='/front/image', clock=True, observer=recorder)
    assert [result.question.id for result in done.results] == ['mid', 'again', 'between', 'end']
    assert recorder.results == done.results
    assert [result.frames.sent for result in done.results] == [20, 20, 30, 40]
    assert all(result.frames.complete and not result.frames.dropped for result in done.results)
    assert [result.asked_ns for result in done.results] == [
        stamps[19], stamps[19], stamps[29], stamps[39]]
    assert (done.frames.sent, done.frames.seen, done.frames.encoded) == (40, 40, 40)
    assert (done.first_ns, done.last_ns) == (stamps[0], stamps[-1])
    assert done.memory.compressions > 0
    values = {**parameters.defaults(), 'model': str(tiny), 'memory.budget': 64,
              'ingest.max_pixels': 3136, 'query.max_new_tokens': 5}
    order = [result.question for result in done.results]
    assert [result.response.answer for result in done.results] == offline(bag, values, order)
    assert recorder.statuses and recorder.states[-1] == 'waiting for the last answers'


def test_a_bag_that_does_not_wait_counts_what_was_lost(tiny, tmp_path) -> None:
    bag, stamps = make_bag(tmp_path / 'bag', 150)
    questions = [Question(f'q{index}', stamps[15 * index + 5]) for index in range(9)]
    questions.append(Question('end', None))
    done = run_session(
        bag, questions, profile=NO_PROFILE, topic='/front/image', pace=Pace(1e4, waits=False),
        arguments=['-p', f'model:={tiny}', *PIXELS, '-p', 'ingest.queue_size:=1'])
    assert {result.question.id for result in done.results} == {each.id for each in questions}
    frames = done.frames
    assert frames.sent == 150 and 0 < frames.encoded < 150
    assert frames.dropped['queue'] > 0 and frames.lost == sum(frames.dropped.values())
    # Every frame has its place: remembered, dropped, or never arrived.
    assert frames.encoded + frames.lost + frames.outstanding == 150
    assert frames.seen == frames.encoded + frames.lost
    assert not all(result.frames.complete for result in done.results)
    for result in done.results:
        count = result.frames
        assert count.encoded + count.lost + count.outstanding >= count.sent


def test_a_node_that_runs_already(start, tiny, tmp_path) -> None:
    process, client = start(model=tiny, query__timeout=1.0, query__max_new_tokens=5)
    client.wait_active()
    bag, stamps = make_bag(tmp_path / 'bag', 20)
    questions = [Question('mid', stamps[9]), Question('end', None)]

    with connect_node(client.name) as node:
        assert node.image == (f'{process.namespace}/image', 'sensor_msgs/msg/Image')
        assert node.parameters['memory.budget'] == 64
        assert node.parameters['model'] == str(tiny)
        done = play_session(node, bag, questions, pace=Pace(), topic='/front/image')
        assert done.frames.complete and done.frames.encoded == 20
        assert [r.response.answer for r in done.results] == offline(
            bag, node.parameters, questions)

    # Somebody else plays, and another bag into the same memory: only the new frames count.
    later, stamps = make_bag(tmp_path / 'later', 24, start_ns=stamps[-1] + 60 * SECOND)
    questions = [Question('mid', stamps[11]), Question('end', stamps[-1])]
    with connect_node(client.name) as node:
        player = play(later, process.namespace, tmp_path)
        try:
            # The harness has a publisher there, too: only silence tells the end.
            done = LiveMonitor(node, questions).run(first_s=100.0, quiet_s=4.0)
        finally:
            player.wait(60.0)
    assert [r.question.id for r in done.results] == ['mid', 'end']
    middle, end = done.results
    # /clock tells that no more frames will come before the question's time; on a busy machine it
    # may come a little before or after the image of its time.
    assert middle.asked_ns in stamps[10:13]
    assert nanoseconds(middle.response.observed_to) in stamps[9:14]
    assert 10 <= middle.frames.encoded <= 14
    assert nanoseconds(end.response.observed_to) == stamps[-1] and end.frames.encoded == 24

    # It is stopped in the middle: no answer comes, and what came before was recorded.
    last, stamps = make_bag(tmp_path / 'last', 20, start_ns=stamps[-1] + 60 * SECOND)
    questions = [Question('first', stamps[4]), Question('never', stamps[12])]
    recorder = Recorder(lambda _result: process.send(signal.SIGSTOP))
    with connect_node(client.name) as node, pytest.MonkeyPatch.context() as patch:
        patch.setattr(question_scheduler, 'GRACE_S', 1.0)
        with pytest.raises(NodeError, match=r'no answer to question never within 2 s'):
            play_session(node, last, questions, pace=Pace(10.0, waits=False),
                         topic='/front/image', observer=recorder)
    process.send(signal.SIGCONT)
    assert [result.question.id for result in recorder.results] == ['first']

    # It ends in the middle.
    gone, stamps = make_bag(tmp_path / 'gone', 20, start_ns=stamps[-1] + 60 * SECOND)
    questions = [Question('first', stamps[4]), Question('never', stamps[12])]
    recorder = Recorder(lambda _result: process.send(signal.SIGINT))
    with connect_node(client.name) as node, pytest.raises(
            NodeError, match=r'the node /test_\d+/infinipot (has left|is )'):
        play_session(node, gone, questions, pace=Pace(), topic='/front/image', observer=recorder)
    assert [result.question.id for result in recorder.results] == ['first']
    assert process.wait(10.0) == 0


def play(bag: Path, namespace: str, folder: Path) -> subprocess.Popen[bytes]:
    """``infinipot_play`` in a process of its own, as ``ros2 bag play`` would."""
    code = 'import sys; from infinipot_ros.node.replay.player_main import main; sys.exit(main())'
    return subprocess.Popen(
        [sys.executable, '-c', code, str(bag), '--rate', '4', '--clock', '--topic',
         '/front/image', '--subscribers', '2', '--ros-args', '-r',
         f'/front/image:={namespace}/image'], cwd=folder)


def test_nobody_is_there(tmp_path) -> None:
    with pytest.raises(
            NodeError, match='gave no sign of activity in 1 s; memory nodes in this ROS domain:'
            ), connect_node('/nowhere/infinipot', 1.0):
        pytest.fail('there is such a node')


def test_a_bag_for_another_kind_of_node(start, tiny, tmp_path) -> None:
    process, client = start(model=tiny, image_transport='compressed')
    client.wait_status(lambda s: s.state == 'active', 'active', 60.0)
    bag, _ = make_bag(tmp_path / 'bag', 4)
    with connect_node(client.name) as node:
        with pytest.raises(SourceError, match=r'start it with image_transport:=raw'):
            play_session(node, bag, [Question('q', None)], pace=Pace(), topic='/front/image')
        with pytest.raises(SourceError, match=r'no image came on .* within 0.2 s: play the bag'):
            LiveMonitor(node, [Question('q', None)]).run(first_s=0.2)
    assert process.stop() == 0


def test_which_images_a_bag_has(tmp_path) -> None:
    bag, _ = make_bag(tmp_path / 'two', 4)
    assert choose_images(bag, '/rear/image') == ('/rear/image', 'sensor_msgs/msg/Image')
    with pytest.raises(SourceError, match=r'2 image topics, say which .*/front/image .*/rear'):
        choose_images(bag, None)
    with pytest.raises(SourceError, match=r'no image topic /side; .* /front/image, /rear/image'):
        choose_images(bag, '/side')
    words = write_bag(tmp_path / 'words', {'/words': [(SECOND, text(0))]})
    with pytest.raises(SourceError, match='holds no images; its topics are /words'):
        choose_images(words, None)
    torn = tmp_path / 'torn.mcap'
    torn.write_bytes(next((tmp_path / 'two').glob('*.mcap')).read_bytes()[:5000])
    with pytest.raises(SourceError, match='cannot be read as a ROS 2 bag'):
        choose_images(torn, None)
