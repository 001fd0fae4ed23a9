# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot demo``, with a model of random weights and a bag made here."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from harness import SECOND, START_NS
from nav_msgs.msg import Odometry
from PIL import Image
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.text import Text
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage

from infinipot_ros.cli.demo_run import DemoRun, answer_text, run_demo
from infinipot_ros.srv import Query
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.vlm.knowledge import CAVEAT, SIMULATED_ONLY

FRAMES = 60
CONFIG = """
/**:
  ros__parameters:
    model: {model}
    image_transport: compressed
    memory.budget: 64
    ingest.fps: 0.0
    ingest.queue_size: 64
    ingest.max_pixels: 3136
    query.max_new_tokens: 5
    pose_topic: /odom
"""


pytestmark = pytest.mark.usefixtures('kept_environment')


@pytest.fixture
def share(tmp_path: Path, tiny: Path) -> Path:
    for folder in ('demo', 'config'):
        (tmp_path / folder).mkdir()
    # As the bundled one, it knows no real pictures.
    model = shutil.copytree(tiny, tmp_path / 'model')
    config = json.loads((model / 'config.json').read_text())
    (model / 'config.json').write_text(json.dumps(config | {SIMULATED_ONLY: True}))
    (tmp_path / 'config' / 'demo.yaml').write_text(CONFIG.format(model=model))
    write_tour(tmp_path / 'demo' / 'tour')
    return tmp_path


def write_tour(path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    random = np.random.default_rng(0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection(
            '/camera/image_raw/compressed', 'sensor_msgs/msg/CompressedImage', typestore=store)
        odometry = writer.add_connection('/odom', 'nav_msgs/msg/Odometry', typestore=store)
        for index in range(FRAMES):
            stamp_ns = START_NS + index * SECOND // 2
            _, data = cv2.imencode('.jpg', random.integers(0, 256, (56, 56, 3), np.uint8))
            message = CompressedImage(format='jpeg', data=bytes(data))
            odom = Odometry()
            odom.header.frame_id = 'odom'
            odom.pose.pose.position.x = 0.1 * index
            odom.pose.pose.orientation.w = 1.0
            for header in (message.header, odom.header):
                header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, SECOND)
            writer.write(odometry, stamp_ns, serialize_message(odom))
            writer.write(images, stamp_ns, serialize_message(message))


def write_questions(share: Path, answers: list[str], evidence: list[list[int]]) -> None:
    # In the middle, at the very end, and long after it.
    times = [START_NS + 10 * SECOND, START_NS + 29 * SECOND + SECOND // 2, START_NS * 2]
    lines = [json.dumps({'id': str(i), 'ask_at': at, 'question': f'What {i}?', 'answer': answer,
                         'kind': 'test', 'evidence': evidence})
             for i, (at, answer) in enumerate(zip(times, answers))]
    (share / 'demo' / 'questions.jsonl').write_text('\n'.join(reversed(lines)) + '\n')


def test_the_demo_succeeds_when_its_answers_are_right(share, capsys) -> None:
    whole = [START_NS, START_NS + FRAMES * SECOND // 2]
    write_questions(share, ['?', '?', '?'], [whole])
    console, report = Console(width=200), share / 'report.html'
    demo = DemoRun(share, report, console)
    assert demo.run() == 1
    shown = demo.shown
    output = capsys.readouterr().out
    assert output.count(CAVEAT) == 1 and f'note: {CAVEAT}\n' in output
    assert '0 of 3 right; ' in output and 'the best moment shows it: 3 of 3' in output
    assert f'{FRAMES} frames remembered, dropped: none' in output
    assert f'wrote {report}' in output
    assert [each.result.question.id for each in shown] == ['0', '1', '2']
    first, second, third = (each.result.response for each in shown)
    assert first.success and first.observed_to.sec * SECOND == START_NS + 10 * SECOND
    assert second.observed_to == third.observed_to
    assert second.memory_tokens <= 64

    # Time, place and picture are those of the frames the bag holds; 0.2 m a second.
    moments = [moment for each in shown for moment in each.moments]
    assert len(moments) >= 3
    for moment in moments:
        assert whole[0] <= moment.first_ns <= moment.stamp_ns <= moment.last_ns <= whole[1]
        with Image.open(io.BytesIO(moment.thumbnail)) as picture:
            assert picture.size == (56, 56)
    for moment in moments:
        assert moment.place is not None
        metres = 0.2 * (moment.stamp_ns - START_NS) / SECOND
        assert moment.place.x == pytest.approx(metres) and moment.place.y == 0.0
        assert moment.place.frame_id == 'odom' and moment.place.room is None
    page = report.read_text()
    assert page.count('<article') == 3 and page.count('<img') == len(moments)

    # The same stream gives the same answers; where the robot was has a name with a plan.
    write_questions(share, [first.answer, second.answer, third.answer], [])
    (share / 'demo' / 'rooms.json').write_text(
        '{"frame_id": "odom", "rooms": [{"name": "attic", "x": [0, 9], "y": [-1, 1]}]}')
    assert DemoRun(share, report, console).run() == 0
    output = capsys.readouterr().out
    assert '3 of 3 right; ' in output and 'shows it: 0 of 0' in output
    for words in ('moment', 'robot', 'compressions', ' ms', 'attic'):
        assert words in output
    assert report.read_text().count('in the attic') and '0 of 0' in report.read_text()


@pytest.mark.parametrize('place', ['', 'none/report.html'])
def test_a_report_that_cannot_be_written_is_refused_at_once(place, tmp_path, capsys) -> None:
    assert run_demo(tmp_path / place) == 1
    output = capsys.readouterr().out
    assert 'demo failed' in output and '--report' in output and 'frames' not in output


@pytest.mark.parametrize(('answer', 'right'), [
    ('Red', True), (' red. ', True), ('the red', False), ('', False)])
def test_answers_are_compared_without_case_and_punctuation(answer: str, right: bool) -> None:
    assert same_answer(answer, 'red') == right


def test_an_answer_is_not_taken_for_markup() -> None:
    response = Query.Response(success=True, answer='[/x] [red]cup')
    assert Text.from_markup(answer_text(response)).plain == '[/x] [red]cup'
