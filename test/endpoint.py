# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on this machine that speaks as a language model's does."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint; each reply is a status and a body, the last one repeated."""

    replies: list[tuple[int, str]]
    requests: list[tuple[str, dict[str, str], dict]] = field(default_factory=list)
    url: str = ''


def said(content):
    """A chat completion with this content."""
    return 200, json.dumps({'choices': [{'message': {'role': 'assistant', 'content': content}}]})


@contextmanager
def serving(monkeypatch):
    """Serve one on this machine, proxies of the environment put aside."""
    for name in ('HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    state = Endpoint([said('4')])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            index = min(len(state.requests), len(state.replies) - 1)
            headers = {name.title(): value for name, value in self.headers.items()}
            state.requests.append((self.path, headers, json.loads(body)))
            status, text = state.replies[index]
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(text.encode())))
            if status == 302:
                self.send_header('Location', '/elsewhere')
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    state.url = f'http://127.0.0.1:{server.server_port}/v1'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
