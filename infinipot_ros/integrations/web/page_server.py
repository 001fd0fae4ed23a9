# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page's server: one address, until it is stopped."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from infinipot_ros.errors import ConfigurationError

#: Seconds that open answers get when the server ends.
END_S = 2


class PageServer:
    """
    A server that listens once it is made.

    :param app: the ASGI application.
    :param port: 0: a free one.
    :ivar address: where a browser finds it, without a token.
    :raises ConfigurationError: the address cannot be listened on.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        try:
            family, _, _, _, place = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self._socket = socket.create_server(
                (str(place[0]), port), family=socket.AddressFamily(family), backlog=128)
        except OSError as error:
            raise ConfigurationError(
                f'{host} port {port} cannot be listened on: {error.strerror or error}; --port 0 '
                'takes a free one') from error
        shown = 'localhost' if host in ('127.0.0.1', 'localhost') else (
            f'[{host}]' if ':' in host else host)
        self.address = f'http://{shown}:{self._socket.getsockname()[1]}/'
        self._server = uvicorn.Server(uvicorn.Config(
            app, log_level='warning', access_log=False, lifespan='off',
            timeout_graceful_shutdown=END_S, limit_concurrency=200, server_header=False))

    def run(self) -> None:
        """Serve until Ctrl-C or ``stop``."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Have ``run`` return; from any thread."""
        self._server.should_exit = True
