# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Queued images to frames: the camera they are of, and their pose."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from infinipot_ros.node import diagnostics
from infinipot_ros.node.frame_decoder import FrameDecoder
from infinipot_ros.node.frame_queue import QueuedFrame
from infinipot_ros.visual_memory.frame import Pose


def test_frames_without_a_pose_are_counted() -> None:
    maker, _ = makes()
    assert maker(queued('front_optical')).pose is None and maker.without_pose == 0, 'unwanted'
    maker.use_poses(lambda stamp_ns, *_: {5: Pose(1.0, 0, 0, 0, 0, 0, 1)}.get(stamp_ns))
    assert maker(queued('front_optical')).pose.x == 1.0 and maker.without_pose == 0
    maker.use_poses(lambda *_: None)
    assert maker(queued('front_optical')).pose is None and maker.without_pose == 1
    report = diagnostics.images_status('/n', 'active', None, 5.0, None, 0,
                                       diagnostics.CallbackTimes(), without_pose=1)
    assert {'frames without pose': '1'}.items() <= {
        value.key: value.value for value in report.values}.items()


def makes(*names: str, known: tuple[str, ...] = ()) -> tuple[FrameDecoder, list[str]]:
    """A decoder whose messages are frame_ids, and the names in the memory, which it is given."""
    remembered = list(known)
    return FrameDecoder(
        lambda frame_id: (np.zeros((4, 4, 3), np.uint8), frame_id), names,
        lambda: remembered), remembered


def queued(frame_id: str, camera: str = '') -> QueuedFrame:
    return QueuedFrame(5, frame_id, camera)


def test_a_driver_that_counts_frames_in_frame_id_is_one_camera() -> None:
    maker, known = makes()
    assert maker(queued('frame_1')).camera == 'frame_1', 'refused: not remembered'
    frame = maker(queued('frame_2'))
    known.append(frame.camera)
    for index in range(3, 40):
        assert maker(queued(f'frame_{index}')).camera == 'frame_2'
    assert maker.frame_id_of('frame_2') == 'frame_39', 'of its newest image'
    known.clear()
    assert maker(queued('frame_40')).camera == 'frame_40', 'after a reset'
    asked: list[tuple[int, str, str]] = []
    maker.use_poses(lambda *wanted: asked.append(wanted))
    maker(queued('frame_41'))
    assert asked == [(5, 'frame_41', '')], "the pose is that of the image's own frame"


@pytest.mark.parametrize(('saved', 'frame_id', 'name'), [
    (['frame_9'], 'frame_1', 'frame_9'),
    ([''], 'head', ''),
    (['front', 'rear'], 'front', 'front'),
    (['front', 'rear'], 'head', 'head'),
    ([f'frame_{index}' for index in range(8)], 'frame_99', 'frame_7')])
def test_the_only_camera_goes_on_in_a_memory_that_was_saved(saved, frame_id, name) -> None:
    maker, known = makes(known=tuple(saved))
    assert maker.frame_id_of('rear') == 'rear', 'before the first image'
    for turn in range(3):
        frame = maker(queued(frame_id if not turn else f'later_{turn}'))
        known += [frame.camera] if frame.camera not in known else []
        assert frame.camera == name


def test_a_named_camera_keeps_its_name_whatever_its_frames() -> None:
    maker, _ = makes('front', 'rear', known=('frame_1',))
    assert maker.frame_id_of('front') == ''
    for index in range(3):
        assert maker(queued(f'frame_{index}', 'front')).camera == 'front'
    assert (maker.frame_id_of('front'), maker.frame_id_of('rear')) == ('frame_2', '')
