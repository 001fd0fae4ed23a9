# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Commands for programs that call tools: mcp serves them, tools prints their schemas.

Nothing but what a source needs is imported: ROS for a node, torch for a recording or a memory.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.ros_required import require_ros
from infinipot_ros.cli.saved_memory import is_saved_memory, load_saved, read_summary
from infinipot_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from infinipot_ros.integrations.memory_source import MemorySource
    from infinipot_ros.visual_memory.memory_config import MemoryConfig

TOKEN = 'INFINIPOT_TOKEN'


def mcp(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(metavar='[VIDEO_OR_BAG_OR_MEMORY]',
                       help='A recording or a saved memory to ask, where no --node is given.'),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(help='Ask this running node, in the ROS domain of the environment (ROS 2); '
                          'it need not be there yet.'),
    ] = None,
    http: Annotated[
        bool, typer.Option('--http', help='Serve over HTTP instead of stdin and stdout.')] = False,
    port: Annotated[int, typer.Option(help='With --http: 0 for any.', min=0, max=65535)] = 8321,
    host: Annotated[
        str, typer.Option(help='With --http: the address to listen on; another than loopback '
                               'takes a token.')] = '127.0.0.1',
    token: Annotated[
        str, typer.Option(envvar=TOKEN, help='With --http: what clients must send as bearer '
                          'token. The environment variable is not seen by other users.')] = '',
    questions_per_minute: Annotated[
        int, typer.Option(help='Most questions in any minute, of all clients together.')] = 30,
    model: options.Model = 'infinipot-tiny',
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds.')] = 4096,
    fps: Annotated[float, typer.Option(help=options.FPS)] = 2.0,
    topic: options.Topic = None,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'float32',
    weights: options.Weights = '',
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    allow_download: options.AllowDownload = False,
) -> None:
    """Serve a memory to programs that call tools, by the Model Context Protocol (MCP)."""
    from infinipot_ros.integrations.mcp_server import (
        bind,
        check_address,
        http_address,
        http_server,
        require_mcp,
        serve_stdio,
    )
    from infinipot_ros.integrations.memory_tools import MemoryTools
    from infinipot_ros.integrations.question_limit import QuestionLimit

    require_mcp()
    limit = QuestionLimit(questions_per_minute)
    if (source is None) == (node is None):
        raise ConfigurationError(
            'give either a recording, a saved memory, or --node /infinipot for a running node')
    if http:
        check_address(host, token)
    found: MemorySource
    if node is not None:
        found = _running(node)
    else:
        from infinipot_ros.visual_memory.memory_config import MemoryConfig

        settings = MemoryConfig(
            model=model, device=device, dtype=dtype, weights=weights, budget=budget,
            local_files_only=not allow_download, max_new_tokens=max_new_tokens)
        budget_given = getattr(
            context.get_parameter_source('budget'), 'name', '') == 'COMMANDLINE'
        found = _held(source or Path(), settings, fps, topic, ['budget'] if budget_given else [])
    tools = MemoryTools(found, limit)
    try:
        if not http:
            serve_stdio(tools)
            return
        with bind(host, port) as listening:
            # stdout belongs to the protocol in the other case; stderr shows it in both.
            typer.echo(f'MCP at {http_address(listening, host)}'
                       + (' with a token' if token else '') + '; Ctrl-C ends it', err=True)
            http_server(tools, host, token).run([listening])
    finally:
        tools.close()


def tools(
    as_json: Annotated[
        bool, typer.Option('--json', help='Print them as function schemas of the OpenAI API.'),
    ] = False,
) -> None:
    """Show the tools that mcp serves."""
    from infinipot_ros.integrations.memory_tools import TOOLS, openai_schemas

    if as_json:
        typer.echo(json.dumps(openai_schemas(), indent=2))
        return
    for tool in TOOLS.values():
        typer.echo(textwrap.fill(f'{tool.name:<8}{tool.about}', 80, subsequent_indent=8 * ' '))


def _running(name: str) -> MemorySource:
    from infinipot_ros.integrations.node_memory import NodeMemory

    require_ros('a running node', '`make build` in a clone and `source scripts/environment.bash`')
    return NodeMemory(name)


def _held(
    path: Path, settings: MemoryConfig, fps: float, topic: str | None, keep: Collection[str],
) -> MemorySource:
    """Load a saved memory, or show a recording to a new one."""
    if is_saved_memory(path):
        read_summary(path)
        memory, loaded = load_saved(path, settings, keep)
        typer.echo(loaded, err=True)
    else:
        from infinipot_ros.recordings.sources import open_source

        with open_source(path, fps=fps or None, topic=topic) as recording:
            from infinipot_ros.evaluation.playback import replay
            from infinipot_ros.visual_memory.shared_model import use_few_threads
            from infinipot_ros.visual_memory.visual_memory import VisualMemory

            typer.echo(f'watching {path}', err=True)
            memory = VisualMemory(settings)
            use_few_threads(memory.plan.weights, settings.device)
            run = replay(recording, memory)
            typer.echo(f'watched {run.taken} frames', err=True)
    from infinipot_ros.integrations.held_memory import HeldMemory

    return HeldMemory(memory, str(path))
