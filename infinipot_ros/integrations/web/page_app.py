# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page and what it reads and sends, as an ASGI application."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from infinipot_ros.errors import BusyError, InfinipotError, NodeError, QuestionCode, QuestionError
from infinipot_ros.integrations.web.access_rules import AccessRules
from infinipot_ros.integrations.web.page_source import (
    MAX_QUESTION_CHARS,
    PageAnswer,
    PageQuestion,
    PageSource,
    PageWatch,
    as_plain,
)
from infinipot_ros.visual_memory.answer_text import printable

HERE = Path(__file__).parent
#: Bytes of a request.
MAX_BODY = 32 * 1024
#: Questions of all open pages that may wait or be answered at once.
MAX_ASKING = 8

Model = TypeVar('Model', bound=BaseModel)


class PageApp:
    """
    The handlers.

    :param source: what is shown and asked.
    :param plan: rooms to draw under the places, as ``demo/rooms.json`` has them; may be empty.
    """

    def __init__(self, source: PageSource, plan: Mapping[str, Any]) -> None:
        self._source, self._plan = source, plan
        self._threads = ThreadPoolExecutor(MAX_ASKING, 'infinipot_page')
        self._asking = 0

    def routes(self) -> list[Route]:
        """Return what is served where."""
        return [
            Route('/', self._file('page.html')),
            Route('/page.css', self._file('page.css')),
            Route('/page.js', self._file('page.js')),
            Route('/api/status', self._status),
            Route('/api/plan', self._get_plan),
            Route('/api/moments', self._moments),
            Route('/api/moments/{key:int}.jpg', self._thumbnail),
            Route('/api/pictures/{name}.jpg', self._picture),
            Route('/api/ask', self._ask, methods=['POST']),
            Route('/api/watches', self._watches),
            Route('/api/watches', self._begin_watch, methods=['POST']),
            Route('/api/watches/{number:int}', self._end_watch, methods=['DELETE'])]

    @staticmethod
    def _file(name: str) -> Any:
        async def serve(_request: Request) -> Response:
            return FileResponse(HERE / name, headers={'Cache-Control': 'no-cache'})

        return serve

    async def _status(self, _request: Request) -> Response:
        status = await run_in_threadpool(self._source.status)
        return _fresh(asdict(status))

    async def _get_plan(self, _request: Request) -> Response:
        return _fresh(self._plan)

    async def _moments(self, _request: Request) -> Response:
        return _fresh([as_plain(each) for each in await run_in_threadpool(self._source.moments)])

    async def _thumbnail(self, request: Request) -> Response:
        return _jpeg(self._source.thumbnail(request.path_params['key']))

    async def _picture(self, request: Request) -> Response:
        return _jpeg(await run_in_threadpool(self._source.picture, request.path_params['name']))

    async def _watches(self, _request: Request) -> Response:
        found = await run_in_threadpool(self._source.watches)
        return _fresh({'note': self._source.watches_note,
                       'watches': [each.model_dump() for each in found]})

    async def _begin_watch(self, request: Request) -> Response:
        watch = await _read(request, PageWatch)
        _check_length(watch.question)
        await run_in_threadpool(self._source.begin_watch, watch)
        return _fresh({})

    async def _end_watch(self, request: Request) -> Response:
        await run_in_threadpool(self._source.end_watch, request.path_params['number'])
        return _fresh({})

    async def _ask(self, request: Request) -> Response:
        question = await _read(request, PageQuestion)
        _check_length(question.question)
        if self._asking >= MAX_ASKING:
            raise BusyError(f'{MAX_ASKING} questions of this page wait already: ask again when '
                            'one of them is answered')
        loop, gone = asyncio.get_running_loop(), threading.Event()
        events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

        def send(name: str, data: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, (name, data))

        def ask() -> None:
            try:
                answer = self._source.ask(
                    question, lambda text: send('text', printable(text)), gone.is_set)
                send('answer', _plain_answer(answer))
            except Exception as error:
                send('refused', _error(error)[1])

        self._asking += 1
        loop.run_in_executor(self._threads, ask).add_done_callback(self._answered)
        return StreamingResponse(
            _stream(events, gone), media_type='text/event-stream',
            headers={'Cache-Control': 'no-store'})

    def _answered(self, _done: Any) -> None:
        self._asking -= 1


async def _stream(events: asyncio.Queue[tuple[str, Any]],
                  gone: threading.Event) -> AsyncIterator[str]:
    """
    Yield server-sent events: ``text`` as it is made, then ``answer`` or ``refused``.

    :param gone: set when the browser does not listen any more.
    """
    name = ''
    try:
        while name not in ('answer', 'refused'):
            name, data = await events.get()
            yield f'event: {name}\ndata: {json.dumps(data)}\n\n'
    finally:
        gone.set()


def build_app(source: PageSource, token: str = '', plan: Mapping[str, Any] | None = None) -> Any:
    """
    Build the application.

    :param token: what every request must carry; empty: nothing.
    :param plan: as in ``PageApp``.
    """
    app = Starlette(routes=PageApp(source, plan or {}).routes(),
                    exception_handlers={InfinipotError: _refuse})
    return AccessRules(app, token)


async def _refuse(_request: Request, error: Exception) -> Response:
    status, text = _error(error)
    return JSONResponse(text, status)


def _error(error: Exception) -> tuple[int, dict[str, str]]:
    """Return the status and what is said; a fault of ours is said to be one."""
    code = error.code.name if isinstance(error, QuestionError) else ''
    if not isinstance(error, InfinipotError):
        return 500, {'code': 'INTERNAL', 'error': f'{type(error).__name__}: {error}'}
    status = 422
    if isinstance(error, _RequestError):
        status = error.status
    elif isinstance(error, BusyError) or code == 'BUSY':
        status, code = 429, 'BUSY'
    elif isinstance(error, NodeError):
        status = 503
    elif code == 'QUESTION_TOO_LONG':
        status = 413
    return status, {'code': code, 'error': printable(str(error))}


class _RequestError(InfinipotError):
    """A request that cannot be read."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _read(request: Request, kind: type[Model]) -> Model:
    """
    Read a request's body.

    :raises InfinipotError: it is too long, or not what it should be.
    """
    if request.headers.get('content-type', '').partition(';')[0] != 'application/json':
        # What a form of another page cannot send.
        raise _RequestError(415, 'send JSON: Content-Type: application/json')
    body = b''
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise _RequestError(
                    413, f'the request has more than {MAX_BODY:,} bytes, the most there may be')
        return kind.model_validate_json(body)
    except ClientDisconnect as error:
        raise _RequestError(400, 'the request broke off') from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = '.'.join(map(str, first['loc'])) or 'the body'
        raise _RequestError(400, f'{where}: {first["msg"]}') from error


def _check_length(question: str) -> None:
    if len(question) > MAX_QUESTION_CHARS:
        raise QuestionError(
            QuestionCode.QUESTION_TOO_LONG, f'the question has {len(question):,} characters, the '
            f'limit of this page is {MAX_QUESTION_CHARS:,}: shorten it')


def _plain_answer(answer: PageAnswer) -> dict[str, Any]:
    return {
        'text': printable(answer.text), 'note': printable(answer.note), 'span': answer.span,
        'latency_s': answer.latency_s, 'truncated': answer.truncated,
        'evidence': [
            {**as_plain(each), 'picture': '' if each.picture is None else
             f'data:image/jpeg;base64,{base64.b64encode(each.picture).decode()}'}
            for each in answer.evidence]}


def _fresh(data: Any) -> Response:
    return JSONResponse(data, headers={'Cache-Control': 'no-store'})


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        return JSONResponse({'error': 'this picture is not held any more'}, 404)
    return Response(data, media_type='image/jpeg', headers={'Cache-Control': 'no-store'})
