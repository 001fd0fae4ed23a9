# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model hub on this machine's loopback, which knows what was taken from it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = 'c' * 40


class LoopbackHub:
    """What a hub serves, and which of its files were taken; ``folders`` by ``owner/name``."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.taken: set[str] = set()
        self.url = ''

    def answer(self, path: str) -> dict | list | Path | None:
        """Find what a request's path asks for: JSON, a file, or nothing."""
        for name, folder in self.folders.items():
            names = sorted(str(each.relative_to(folder)) for each in folder.rglob('*')
                           if each.is_file())
            api, files = f'/api/models/{name}', f'/{name}/resolve/{COMMIT}/'
            if path in (api, f'{api}/revision/main'):
                return {'id': name, 'sha': COMMIT,
                        'siblings': [{'rfilename': each} for each in names]}
            if path == f'{api}/tree/{COMMIT}':
                return [{'type': 'file', 'path': each, 'oid': etag(folder / each),
                         'size': (folder / each).stat().st_size} for each in names]
            if path.startswith(files) and path.removeprefix(files) in names:
                return folder / path.removeprefix(files)
        return None


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def serve() -> Iterator[LoopbackHub]:
    """Serve until the block ends."""
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            found = hub.answer(self.path.partition('?')[0])
            if found is None:
                self.send_error(404)
                return
            body = found.read_bytes() if isinstance(found, Path) else json.dumps(found).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            if isinstance(found, Path):
                self.send_header('ETag', f'"{etag(found)}"')
                self.send_header('X-Repo-Commit', COMMIT)
            self.end_headers()
            if self.command == 'GET':
                if isinstance(found, Path):
                    hub.taken.add(found.name)
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        hub.url = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
