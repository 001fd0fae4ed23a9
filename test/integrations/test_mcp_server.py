# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tools over MCP, asked by the SDK's own client: over stdio, and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import threading
from contextlib import asynccontextmanager

import pytest
from saved_memories import OLD as SAVED
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.integrations.mcp_server import bind, check_address, http_address, http_server
from infinipot_ros.integrations.memory_tools import NOTICE, TOOLS, MemoryTools, openai_schemas
from infinipot_ros.integrations.question_limit import QuestionLimit

mcp = pytest.importorskip('mcp', reason='the MCP SDK is an extra')
httpx2 = pytest.importorskip('httpx2', reason='the MCP SDK brings it')

QUESTION = 'Which room is the box in?'
TOKEN = '0123456789abcdef0123456789abcdef'
LIST = {'jsonrpc': '2.0', 'id': 1, 'method': 'tools/list', 'params': {}}


@pytest.fixture(scope='module')
def tools(source):
    made = MemoryTools(source, QuestionLimit(1000))
    yield made
    made.close()


@pytest.fixture(scope='module', params=['', TOKEN], ids=['open', 'token'])
def address(request, tools):
    """A server on loopback: its URL, and the token that it wants."""
    server = http_server(tools, '127.0.0.1', request.param)
    with bind('127.0.0.1', 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield http_address(listening, '127.0.0.1'), request.param
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def connected(url, token):
    from mcp.client.streamable_http import streamable_http_client

    headers = {'Authorization': f'Bearer {token}'} if token else {}
    async with (
            httpx2.AsyncClient(headers=headers) as http,
            mcp.Client(streamable_http_client(url, http_client=http)) as client):
        yield client


async def talk(client):
    """List the tools, call each; return what came."""
    listed = (await client.list_tools()).tools
    called = {
        'status': await client.call_tool('status', {}),
        'ask': await client.call_tool('ask', {'question': QUESTION}),
        'recall': await client.call_tool('recall', {'question': QUESTION, 'most': 8}),
        'watch': await client.call_tool('watch', {'question': QUESTION})}
    return listed, called


def check(talked, tools):
    """A client gets what the tools return, with the pictures, and is told what it is."""
    listed, called = talked
    assert {each.name: each.input_schema for each in listed} == {
        name: tool.schema for name, tool in TOOLS.items()}
    for each in listed:
        assert NOTICE in each.description
        assert each.annotations.read_only_hint and not each.annotations.destructive_hint
    for name, result in called.items():
        same = tools.call(name, {} if name == 'status' else {'question': QUESTION} | (
            {'most': 8} if name == 'recall' else {}))
        given = result.structured_content
        assert result.is_error == same.failed == (name == 'watch')
        if name != 'watch':
            for each in (given, same.content):
                each.pop('source', None)
            assert given == same.content
        assert given['untrusted'] is True
        text, *pictures = result.content
        assert NOTICE in text.text
        assert [base64.b64decode(each.data) for each in pictures] == list(same.pictures)
    assert called['recall'].content[1].mime_type == 'image/jpeg'


def test_a_client_starts_it_and_talks_over_stdio(tools):
    started = mcp.StdioServerParameters(
        command=sys.executable,
        args=['-m', 'infinipot_ros.cli.main', 'mcp', str(SAVED), '--max-new-tokens', '4'],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})

    async def run():
        async with mcp.Client(started) as client:
            return await talk(client)

    check(asyncio.run(run()), tools)


def test_a_client_talks_over_http(address, tools):
    async def run():
        async with connected(*address) as client:
            return await talk(client)

    check(asyncio.run(run()), tools)


def test_two_clients_are_answered_at_the_same_time(address):
    async def run():
        async with connected(*address) as one, connected(*address) as other:
            return await asyncio.gather(*(
                each.call_tool('ask', {'question': QUESTION}) for each in (one, other)))

    one, other = asyncio.run(run())
    assert not one.is_error and one.structured_content == other.structured_content


@pytest.mark.parametrize(('headers', 'status'), [
    ({}, 200),
    ({'Origin': 'http://localhost:5173'}, 200),
    ({'Host': 'evil.example'}, 421),
    ({'Host': 'evil.example:80'}, 421),
    ({'Host': '127.0.0.1.evil.example:80'}, 421),
    ({'Origin': 'http://evil.example'}, 403),
    ({'Origin': 'http://localhost.evil.example'}, 403),
    ({'Origin': 'null'}, 403),
    ({'Content-Type': 'text/plain'}, 400),
])
def test_other_sites_in_a_browser_get_nothing(address, headers, status):
    url, token = address
    sent = {'Accept': 'application/json, text/event-stream'} | headers
    if token:
        sent['Authorization'] = f'Bearer {token}'
    assert httpx2.post(url, json=LIST, headers=sent).status_code == status


@pytest.mark.parametrize('given', [None, 'Bearer', 'Bearer wrong', f'Bearer {TOKEN}x',
                                   f'Basic {TOKEN}', f'Bearer {TOKEN[:-1]}'])
def test_without_the_token_nobody_asks(address, given):
    url, token = address
    sent = {'Accept': 'application/json, text/event-stream'}
    if given is not None:
        sent['Authorization'] = given
    response = httpx2.post(url, json=LIST, headers=sent)
    assert response.status_code == (401 if token else 200)
    assert not token or 'tools' not in response.text


@pytest.mark.parametrize(('host', 'token', 'why'), [
    ('127.0.0.1', '', ''), ('::1', '', ''), ('localhost', '', ''), ('127.1.2.3', '', ''),
    ('0.0.0.0', TOKEN, ''), ('robot.local', TOKEN, ''),
    ('0.0.0.0', '', '--host 0.0.0.0 lets other machines ask'), ('::', '', 'lets other machines'),
    ('192.168.1.7', '', 'lets other machines'), ('robot.local', '', 'lets other machines'),
    ('localhost.evil.example', '', 'lets other machines'),
    ('127.0.0.1', 'short', 'has 5 characters'), ('0.0.0.0', 'short', 'at least 16'),
])
def test_other_machines_are_let_in_with_a_token_only(host, token, why):
    if not why:
        check_address(host, token)
        return
    with pytest.raises(ConfigurationError, match=why):
        check_address(host, token)


@pytest.mark.parametrize(('arguments', 'why'), [
    ([], 'give either a recording'),
    ([str(SAVED), '--node', '/infinipot'], 'give either a recording'),
    (['nowhere.mcap'], 'does not exist'),
    (['nowhere.safetensors'], 'No such file'),
    ([str(SAVED), '--http', '--host', '0.0.0.0'], 'lets other machines ask'),
    ([str(SAVED), '--http', '--token', 'short'], 'at least 16'),
    ([str(SAVED), '--questions-per-minute', '0'], 'must be at least 1'),
])
def test_a_server_that_cannot_be_is_refused_in_words(arguments, why):
    result = CliRunner().invoke(app, ['mcp', *arguments])
    assert result.exit_code == 2 and why in result.stderr


def test_a_port_that_is_taken_is_named():
    with bind('127.0.0.1', 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f'127.0.0.1:{port} cannot be listened on'):
            bind('127.0.0.1', port)


def test_without_the_sdk_the_extra_is_named(monkeypatch):
    # Python then finds no such module.
    monkeypatch.setitem(sys.modules, 'mcp', None)
    result = CliRunner().invoke(app, ['mcp', str(SAVED)])
    assert result.exit_code == 2 and "pip install '.[mcp]'" in result.stderr


def test_tools_are_printed_as_function_schemas_without_the_sdk(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mcp', None)
    result = CliRunner().invoke(app, ['tools', '--json'])
    assert result.exit_code == 0 and json.loads(result.stdout) == openai_schemas()
    assert CliRunner().invoke(app, ['tools']).stdout.startswith('ask     Ask the robot')
