# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The tools over the Model Context Protocol, by its SDK: on stdio, or over HTTP on loopback.

The SDK is the extra ``mcp``; nothing of it is imported before a server is made.
"""

from __future__ import annotations

import base64
import hmac
import importlib.util
import ipaddress
import json
import socket
from typing import Any

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.integrations.memory_tools import NOTICE, TOOLS, MemoryTools

PATH = '/mcp'
LEAST_TOKEN = 16
LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')


def require_mcp() -> None:
    """:raises ConfigurationError: the SDK is not installed."""
    if importlib.util.find_spec('mcp') is None or importlib.util.find_spec('mcp_types') is None:
        raise ConfigurationError(
            "infinipot mcp needs the MCP SDK, of version 2: pip install '.[mcp]' in a clone, or "
            "pip install 'mcp>=2'")


def make_server(tools: MemoryTools) -> Any:
    """Return the SDK's server with the tools, for any of its transports."""
    import anyio
    import mcp_types as types
    from mcp.server.lowlevel import Server

    # Hints by which clients decide whether to ask a person first.
    hints = types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, open_world_hint=False)

    async def list_tools(context: Any, parameters: Any) -> Any:
        return types.ListToolsResult(tools=[
            types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema,
                       annotations=hints) for tool in TOOLS.values()])

    async def call_tool(context: Any, parameters: Any) -> Any:
        # Abandoned if the client cancels; the answer then goes nowhere.
        result = await anyio.to_thread.run_sync(
            tools.call, parameters.name, parameters.arguments or {}, abandon_on_cancel=True)
        text = json.dumps(result.content, ensure_ascii=False)
        return types.CallToolResult(
            content=[types.TextContent(type='text', text=text), *(
                types.ImageContent(type='image', mime_type='image/jpeg',
                                   data=base64.b64encode(jpeg).decode())
                for jpeg in result.pictures)],
            structured_content=result.content, is_error=result.failed)

    return Server(
        'infinipot', title="A robot's visual memory",
        instructions=f'Tools to ask what a robot has seen. {NOTICE}',
        on_list_tools=list_tools, on_call_tool=call_tool)


def serve_stdio(tools: MemoryTools) -> None:
    """Serve one client on stdin and stdout until it leaves."""
    import anyio
    from mcp.server.stdio import stdio_server

    server = make_server(tools)

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


def check_address(host: str, token: str) -> None:
    """
    Check that nobody can ask who should not.

    :param token: what clients must send; empty: nothing.
    :raises ConfigurationError: another address than loopback without a token, or one too short.
    """
    if token and len(token) < LEAST_TOKEN:
        raise ConfigurationError(
            f'the token has {len(token)} characters, it must have at least {LEAST_TOKEN}: make '
            'one with `openssl rand -hex 32`')
    if not token and not _is_loopback(host):
        raise ConfigurationError(
            f'--host {host} lets other machines ask what the camera saw; give INFINIPOT_TOKEN or '
            '--token, which clients must send then, or leave out --host')


def bind(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens.

    :raises ConfigurationError: it cannot.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f'{host}:{port} cannot be listened on ({error.strerror or error}); give another '
            '--port, 0 for any') from error


def http_address(listening: socket.socket, host: str) -> str:
    """Return the URL a client is given."""
    name = f'[{host}]' if ':' in host else host
    return f'http://{name}:{listening.getsockname()[1]}{PATH}'


def http_server(tools: MemoryTools, host: str, token: str) -> Any:
    """
    Return uvicorn's server of the tools; ``run([listening])`` serves until interrupted.

    :param host: as for :func:`bind`; ``token`` as for :func:`check_address`.
    """
    import uvicorn
    from mcp.server.auth.provider import AccessToken
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.transport_security import TransportSecuritySettings

    class Verifier:
        async def verify_token(self, given: str) -> Any:
            if not hmac.compare_digest(given.encode(), token.encode()):
                return None
            return AccessToken(token=given, client_id='infinipot', scopes=[])

    names = (*LOOPBACK, f'[{host}]' if ':' in host else host)
    app = make_server(tools).streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=True, host=host,
        transport_security=TransportSecuritySettings(
            # Of an address that stands for all of the machine's the names are not known; there
            # the token keeps other sites out.
            enable_dns_rebinding_protection=not _is_unspecified(host),
            allowed_hosts=[f'{name}:*' for name in names],
            allowed_origins=[f'http://{name}:*' for name in names]),
        **({'auth': AuthSettings(
            issuer_url=f'http://{names[-1]}', resource_server_url=None, required_scopes=[]),
            'token_verifier': Verifier()} if token else {}))
    return uvicorn.Server(uvicorn.Config(app, log_level='warning', access_log=False))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
