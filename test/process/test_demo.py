# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot demo``, with a model of random weights and a bag made here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from harness import SECOND, START_NS
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.text import Text
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage

from infinipot_ros import demo_cli as demo
from infinipot_ros.node.asking import Result
from infinipot_ros.observer.answer import same_answer
from infinipot_ros.srv import Query

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
"""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The demo takes a domain of its own; the other tests get theirs back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def share(tmp_path: Path, tiny: Path) -> Path:
    for folder in ('demo', 'config'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'config' / 'demo.yaml').write_text(CONFIG.format(model=tiny))
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
            for header in (message.header, odom.header):
                header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, SECOND)
            writer.write(odometry, stamp_ns, serialize_message(odom))
            writer.write(images, stamp_ns, serialize_message(message))


def write_questions(share: Path, answers: list[str]) -> None:
    # In the middle, at the very end, and long after it.
    times = [START_NS + 10 * SECOND, START_NS + 29 * SECOND + SECOND // 2, START_NS * 2]
    lines = [json.dumps({'id': str(i), 'ask_at': at, 'question': f'What {i}?', 'answer': answer,
                         'kind': 'test', 'evidence': []})
             for i, (at, answer) in enumerate(zip(times, answers))]
    (share / 'demo' / 'questions.jsonl').write_text('\n'.join(reversed(lines)) + '\n')


def test_the_demo_succeeds_when_its_answers_are_right(share, monkeypatch, capsys) -> None:
    results: list[Result] = []
    table = demo._table
    monkeypatch.setattr(demo, '_table', lambda r, first: results.extend(r) or table(r, first))
    write_questions(share, ['?', '?', '?'])
    console = Console(width=200)
    assert demo._run(share, console) == 1
    output = capsys.readouterr().out
    assert '0 of 3 right' in output
    assert f'{FRAMES} frames remembered, dropped: none' in output
    assert [r.question.id for r in results] == ['0', '1', '2']
    first, second, third = (r.response for r in results)
    assert first.success and first.observed_to.sec * SECOND == START_NS + 10 * SECOND
    assert second.observed_to == third.observed_to
    assert second.memory_tokens <= 64

    # The same stream gives the same answers.
    write_questions(share, [first.answer, second.answer, third.answer])
    assert demo._run(share, console) == 0
    output = capsys.readouterr().out
    assert '3 of 3 right' in output
    for words in ('rests on', '0:00 to 0:10', 'compressions', ' ms'):
        assert words in output


@pytest.mark.parametrize(('answer', 'right'), [
    ('Red', True), (' red. ', True), ('the red', False), ('', False)])
def test_answers_are_compared_without_case_and_punctuation(answer: str, right: bool) -> None:
    assert same_answer(answer, 'red') == right


def test_an_answer_is_not_taken_for_markup() -> None:
    response = Query.Response(success=True, answer='[/x] [red]cup')
    assert Text.from_markup(demo._said(response)).plain == '[/x] [red]cup'
