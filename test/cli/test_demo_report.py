# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's moments, its plan of the house and its page."""

from __future__ import annotations

import io
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from browser import launch_chromium, open_page
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from infinipot_ros.cli.demo_evidence import Shown, counts, moments_of, read_rooms
from infinipot_ros.cli.demo_report import DemoReport
from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.question import Question
from infinipot_ros.msg import Evidence, MemoryStatus
from infinipot_ros.node.messages import time_message
from infinipot_ros.node.replay.frame_accounting import FrameCounts
from infinipot_ros.node.replay.question_scheduler import Result
from infinipot_ros.srv import Query
from tools.tiny_model.house import DOOR_WIDTH, ROOM_SIZE, make_house

DEMO = Path(__file__).resolve().parents[2] / 'demo'
SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
#: The tour's house (docs/explanation/bundled-model.md).
SEED = 2_000_026
EVIL = '<script>alert(1)</script>"\'&$page[/x]'


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (168, 112), (200, 60, 60)).save(file, 'JPEG')
    return file.getvalue()


def evidence(seconds: float, x: float = 7.0, y: float = -2.0, yaw: float = 0.0,
             **fields) -> Evidence:
    message = Evidence(has_pose=True, score=0.25, thumbnail_state=Evidence.INCLUDED, **fields)
    stamp_ns = START_NS + round(seconds * SECOND)
    message.header.stamp = message.stamp_from = time_message(stamp_ns)
    message.stamp_to = time_message(stamp_ns + SECOND // 2)
    message.pose.header.frame_id = 'odom'
    message.pose.pose.pose.position.x, message.pose.pose.pose.position.y = x, y
    turn = message.pose.pose.pose.orientation
    turn.z, turn.w = math.sin(yaw / 2), math.cos(yaw / 2)
    message.thumbnail.data = jpeg()
    return message


def shown(*found: Evidence, answer: str = 'red', said: str = 'red', question: str = 'What?',
          success: bool = True, intervals=((START_NS + 8 * SECOND, START_NS + 9 * SECOND),),
          rooms=None) -> Shown:
    response = Query.Response(
        success=success, answer=said if success else '', message='' if success else said,
        observed_from=time_message(START_NS), observed_to=time_message(START_NS + 30 * SECOND),
        evidence=list(found))
    asked = Question('1', question, answer, 'test', evidence=intervals)
    return moments_of(Result(asked, response, FrameCounts(60, 60, 60, {}),
                             START_NS + 30 * SECOND, 0.01, MemoryStatus()), rooms)


def report(*asked: Shown, rooms=None) -> DemoReport:
    status = MemoryStatus(frames_encoded=60, memory_tokens=48, budget_tokens=64)
    return DemoReport(asked, status, START_NS, START_NS + 30 * SECOND, rooms)


class Text(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.words, self.sources = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data):
        self.words.append(data)


def test_the_plan_is_that_of_the_house_the_tour_was_filmed_in():
    house, rooms = make_house(SEED), read_rooms(DEMO / 'rooms.json')
    assert [room.name for room in rooms.rooms] == list(house.rooms)
    for number, room in enumerate(rooms.rooms):
        x, z = house.centre(number)
        assert room.x == (x - ROOM_SIZE / 2, x + ROOM_SIZE / 2)
        assert room.y == (-z - ROOM_SIZE / 2, -z + ROOM_SIZE / 2)
    for (one, other), (start, end) in zip(house.doors, rooms.doors, strict=True):
        x, z = house.door(one, other)
        assert ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2) == pytest.approx((x, -z))
        assert math.dist(start, end) == pytest.approx(DOOR_WIDTH)


def test_the_plan_has_a_room_for_every_pose_of_the_tour():
    house, rooms = make_house(SEED), read_rooms(DEMO / 'rooms.json')
    store, entered = get_typestore(Stores.ROS2_HUMBLE), set()
    with Reader(DEMO / 'tour') as reader:
        odometry = [c for c in reader.connections if c.topic == '/odom']
        for connection, _, raw in reader.messages(odometry):
            message = store.deserialize_cdr(raw, connection.msgtype)
            point = message.pose.pose.position
            room = rooms.at(point.x, point.y, message.header.frame_id)
            assert room == house.rooms[house.room_at(point.x, -point.y)]
            entered.add(room)
    assert entered == set(house.rooms)


def test_a_place_off_the_plan_has_no_room(tmp_path):
    rooms = read_rooms(DEMO / 'rooms.json')
    assert rooms.at(7.0, -2.0, 'odom') == 'kitchen'
    assert rooms.at(7.0, -2.0, 'map') is None
    assert rooms.at(7.0, 2.0, 'odom') is None
    assert read_rooms(tmp_path / 'rooms.json') is None


@pytest.mark.parametrize('text', ['', '[]', '{"frame_id": "odom"}', '\xff', '{"rooms": 1}'])
def test_a_broken_plan_is_refused(tmp_path, text):
    (tmp_path / 'rooms.json').write_text(text, encoding='latin-1')
    with pytest.raises(SourceError, match=r'rooms\.json is not a plan'):
        read_rooms(tmp_path / 'rooms.json')


@pytest.mark.parametrize(('seconds', 'shows'), [
    (7.5, False), (8.0, True), (9.0, True), (9.5, False)])
def test_the_best_moment_is_held_against_the_truth(seconds, shows):
    # Only the first counts: it is what the answer rests on most.
    found = shown(evidence(seconds), evidence(8.5))
    assert found.shows_it is shows


def test_what_never_is_in_view_is_not_counted():
    nothing, unseen = shown(evidence(1), intervals=()), shown()
    assert nothing.shows_it is None
    assert unseen.best is None and unseen.shows_it is False
    assert counts([nothing, unseen, shown(evidence(8))]) == (1, 2)


def test_the_place_comes_from_the_pose():
    rooms = read_rooms(DEMO / 'rooms.json')
    place = shown(evidence(8, 12.0, -1.0, math.pi / 3), rooms=rooms).best.place
    assert (place.x, place.y, place.room) == (12.0, -1.0, 'garage')
    assert place.heading == pytest.approx(math.pi / 3)
    without = evidence(8)
    without.has_pose = False
    assert shown(without, rooms=rooms).best.place is None


def test_text_from_outside_is_never_markup():
    found = evidence(8)
    found.pose.header.frame_id = EVIL
    page = Text(report(
        shown(found, question=EVIL, said=EVIL, answer=EVIL),
        shown(question=EVIL, said=EVIL + '\x1b[2J', answer=EVIL, success=False)).page())
    assert 'script' not in page.tags
    assert {source.partition(',')[0] for source in page.sources} == {
        'data:', 'data:image/jpeg;base64'}
    assert sum(EVIL in words for words in page.words) >= 5
    assert not any('\x1b' in words for words in page.words)


def test_the_page_tells_what_is_missing():
    gone = evidence(9)
    gone.thumbnail.data, gone.has_pose = b'', False
    page = report(shown(gone), shown(success=False, said='the node is busy')).page()
    for words in ('no longer held', 'there was no pose', 'refused: the node is busy',
                  'The answer names no moment'):
        assert words in page
    assert '<img' not in page and '<svg' not in page


def test_only_jpegs_become_pictures():
    found = evidence(8)
    found.thumbnail.data = b'<svg onload="alert(1)">'
    assert '<img' not in report(shown(found)).page()


def test_the_page_overwrites_and_says_where_it_cannot(tmp_path):
    (tmp_path / 'page.html').write_text('old' * 100_000)
    report(shown(evidence(8))).write(tmp_path / 'page.html')
    assert (tmp_path / 'page.html').read_text().endswith('</html>\n')
    with pytest.raises(ConfigurationError, match='another --report'):
        report(shown(evidence(8))).write(tmp_path / 'none' / 'page.html')


@pytest.mark.parametrize('width', [400, 1280])
def test_the_page_fits_its_window_and_loads_nothing(tmp_path, width):
    rooms = read_rooms(DEMO / 'rooms.json')
    asked = [
        shown(evidence(8), *(evidence(second, 12.0) for second in range(4)), rooms=rooms),
        shown(evidence(8), question='long ' * 100, said='word' * 100, rooms=rooms),
        shown(success=False, said='busy')]
    path = tmp_path / 'page.html'
    report(*asked, rooms=rooms).write(path)
    with launch_chromium() as browser, open_page(browser, path, width) as page:
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate(
            '[...document.images].every(image => image.complete && image.naturalWidth == 168)')
        assert page.locator('svg.plan').count() == 2
