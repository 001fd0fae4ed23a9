# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot serve``: a page to look at and to ask, in a browser."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.ros_required import require_ros
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from infinipot_ros.integrations.web.page_source import PageSource
    from infinipot_ros.visual_memory.memory_config import MemoryConfig

PORT = 8420
DEMO = 'demo'
#: As config/demo.yaml: a budget several times smaller than the tour, and every frame.
DEMO_SETTINGS = {'budget': 1024, 'fps': 0.0}


def serve(
    context: typer.Context,
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar='[VIDEO_OR_BAG_OR_CAMERA]',
            help='A video, a ROS 2 bag, a folder of images, a camera (/dev/video0, rtsp://...), '
                 'or the word demo: the bundled tour.')
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(help='Show this running node instead, in the ROS domain of the environment: '
                          '/infinipot is what the launch file starts (ROS 2).')] = None,
    host: Annotated[
        str, typer.Option(help='Address to listen on; one that others reach takes a token.')
    ] = '127.0.0.1',
    port: Annotated[int, typer.Option(help='0 takes a free one.', min=0, max=65535)] = PORT,
    token: Annotated[
        str,
        typer.Option(help='Show the page only to who has this: 16 letters and digits or more.',
                     envvar='INFINIPOT_TOKEN', show_envvar=True)] = '',
    speed: Annotated[
        float, typer.Option(help='How much faster than recorded it is played.')] = 1.0,
    pose_topic: Annotated[
        str | None,
        typer.Option(help='Poses of a bag that has several topics of them.',
                     show_default='the only one')] = None,
    model: options.Model = 'infinipot-tiny',
    policy: Annotated[str, typer.Option(help='What decides which tokens stay.')] = DEFAULT_POLICY,
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds; of demo 1024.')
    ] = 4096,
    block_size: Annotated[int, typer.Option(help=options.BLOCK_SIZE)] = 2,
    fps: Annotated[float, typer.Option(help=options.FPS + ' Of demo 0.')] = 2.0,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'float32',
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    duplicate_similarity: options.DuplicateSimilarity = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    topic: options.Topic = None,
    allow_download: options.AllowDownload = False,
) -> None:
    """Open a live page over a recording or a camera, without ROS, or over a running node."""
    for library in ('starlette', 'uvicorn'):
        if importlib.util.find_spec(library) is None:
            raise ConfigurationError(
                f"the page needs {library}: pip install 'infinipot_ros[web]' "
                "(in a clone: pip install '.[web]')")
    from infinipot_ros.integrations.web.access_rules import check_address
    from infinipot_ros.integrations.web.page_app import build_app
    from infinipot_ros.integrations.web.page_server import PageServer

    given = {name for name in context.params
             if getattr(context.get_parameter_source(name), 'name', '') == 'COMMANDLINE'}
    _check_choice(recording, node, given)
    check_address(host, token)
    plan: Mapping[str, Any] = {}
    source: PageSource
    if node is not None:
        source = _node_source(node)
    else:
        assert recording is not None
        if recording == DEMO:
            budget = budget if 'budget' in given else int(DEMO_SETTINGS['budget'])
            fps = fps if 'fps' in given else DEMO_SETTINGS['fps']
            plan = _demo_plan()
        from infinipot_ros.visual_memory.memory_config import MemoryConfig

        source = _recording_source(recording, MemoryConfig(
            model=model, device=device, dtype=dtype, local_files_only=not allow_download,
            policy=policy, budget=budget, block_size=block_size, max_pixels=max_pixels,
            duplicate_similarity=duplicate_similarity, max_new_tokens=max_new_tokens),
            fps, speed, topic, pose_topic)
    with closing(source):
        server = PageServer(build_app(source, token, plan), host, port)
        typer.echo(f'{server.address}{f"?token={token}" if token else ""}')
        typer.echo('open it in a browser; Ctrl-C ends it', err=True)
        try:
            server.run()
        except KeyboardInterrupt:
            # The way to end it.
            typer.echo(err=True)


#: Options that say how the page is served; all others are about a recording.
OF_PAGE = ('node', 'host', 'port', 'token')
#: Options that no camera has.
OF_RECORDINGS = ('speed', 'topic', 'pose_topic')


def _check_choice(recording: str | None, node: str | None, given: set[str]) -> None:
    """:raises ConfigurationError: not one of recording and node, or options of the other."""
    if (recording is None) == (node is None):
        raise ConfigurationError(
            'give one: a recording (infinipot serve kitchen.mp4, or demo for the bundled tour) or '
            'a running node (infinipot serve --node /infinipot)')
    from infinipot_ros.recordings.cameras import is_camera

    for name in OF_RECORDINGS if recording is not None and is_camera(recording) else ():
        if name in given:
            raise ConfigurationError(
                f'--{name.replace("_", "-")} is for recordings, not for a camera: leave it out')
    for name in sorted(given.difference(OF_PAGE)) if node is not None else ():
        raise ConfigurationError(
            f'--{name.replace("_", "-")} is for recordings; {node} runs already, with parameters '
            'of its own: `ros2 param set`, or leave out --node')


def _node_source(node: str) -> PageSource:
    require_ros('a running node', '`make build` in a clone and `source scripts/environment.bash`')
    try:
        from infinipot_ros.integrations.web.node_source import NodeSource
    except ImportError as error:
        raise ConfigurationError(
            f'a running node needs all of ROS 2: {error}; install it') from error
    return NodeSource(node)


def _recording_source(
    recording: str, settings: MemoryConfig, fps: float, speed: float, topic: str | None,
    pose_topic: str | None,
) -> PageSource:
    from infinipot_ros.integrations.web.recorded_poses import read_bag_poses
    from infinipot_ros.integrations.web.recording_source import RecordingSource
    from infinipot_ros.node.logs import NodeLog
    from infinipot_ros.recordings.cameras import CameraSource, is_camera
    from infinipot_ros.recordings.sources import open_source
    from infinipot_ros.share import find_share

    path = find_share() / 'demo' / 'tour' if recording == DEMO else Path(recording)
    frames = (CameraSource(recording, fps=fps or None) if is_camera(recording)
              else open_source(path, fps=fps or None, topic=topic))
    settings.validate()
    if pose_topic is not None and frames.kind != 'bag':
        raise ConfigurationError(f'{path} is not a bag, so it has no poses: omit --pose-topic')
    poses = read_bag_poses(frames.path, pose_topic) if frames.kind == 'bag' else None
    source = RecordingSource(
        frames, settings, NodeLog(logging.getLogger('infinipot')), speed=speed, poses=poses)
    typer.echo(f'loading {settings.model}', err=True)
    source.start()
    return source


def _demo_plan() -> Mapping[str, Any]:
    from infinipot_ros.cli.demo_evidence import read_rooms
    from infinipot_ros.share import find_share

    rooms = read_rooms(find_share() / 'demo' / 'rooms.json')
    return rooms.model_dump() if rooms is not None else {}
