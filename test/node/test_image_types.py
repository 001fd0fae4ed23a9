# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message types of images: which topics they have, and what is said of one that is missing."""

from __future__ import annotations

import sys

import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 here')
pytestmark = pytest.mark.ros

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.node.image_types import BY_KIND, choose_type, message_class

VIDEO_PACKAGES = ('ffmpeg_image_transport_msgs', 'foxglove_msgs')


@pytest.fixture
def without_video(monkeypatch):
    for package in VIDEO_PACKAGES:
        monkeypatch.setitem(sys.modules, f'{package}.msg', None)


@pytest.fixture
def with_video(monkeypatch):
    """Stand in for both packages; nothing is subscribed."""
    for kind in BY_KIND:
        package, _, name = kind.split('/')
        if package in VIDEO_PACKAGES:
            module = type(sys)(f'{package}.msg')
            setattr(module, name, type(name, (), {}))
            monkeypatch.setitem(sys.modules, package, type(sys)(package))
            monkeypatch.setitem(sys.modules, f'{package}.msg', module)


@pytest.mark.parametrize(('transport', 'topic'), [
    ('raw', '/cam'), ('compressed', '/cam/compressed'), ('ffmpeg', '/cam/ffmpeg'),
    ('foxglove', '/cam/foxglove'), ('video', '/cam/ffmpeg')])
def test_topics_are_named_as_image_transport_names_them(transport, topic, with_video) -> None:
    chosen = choose_type(transport)
    assert chosen.topic('/cam') == topic
    assert chosen.base(topic) == '/cam'
    assert chosen.base('/cam/raw') == '/cam/raw'


def test_video_is_what_is_published_else_what_is_installed(with_video, monkeypatch) -> None:
    assert choose_type('video', lambda each: each.transport == 'foxglove').transport == 'foxglove'
    assert choose_type('ffmpeg', lambda each: False).transport == 'ffmpeg'
    monkeypatch.setitem(sys.modules, 'ffmpeg_image_transport_msgs.msg', None)
    assert choose_type('video').transport == 'foxglove'


def test_a_package_that_is_missing_is_named_with_the_way_to_it(without_video) -> None:
    for transport in ('video', 'ffmpeg', 'foxglove'):
        with pytest.raises(ConfigurationError, match=r'apt install ros-\$ROS_DISTRO-f[-a-z]+msgs'):
            choose_type(transport)
    with pytest.raises(ConfigurationError, match='foxglove_msgs/msg/CompressedVideo is not inst'):
        message_class('foxglove_msgs/msg/CompressedVideo')


def test_a_node_for_video_without_its_messages_cannot_be_configured(without_video, capfd) -> None:
    import threading

    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.shutdown import leave_ros
    rclpy.init(args=['--ros-args', '-p', 'autostart:=false', '-p', 'image_transport:=video'])
    node = InfinipotNode(threading.Event())
    try:
        node.trigger_configure()
        assert node.host.phase == 'unconfigured'
    finally:
        leave_ros(node)
    logged = capfd.readouterr().err
    assert 'cannot configure: image_transport is video' in logged
    assert 'ros-$ROS_DISTRO-foxglove-msgs' in logged
