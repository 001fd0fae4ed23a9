# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Who may use the page: this machine, or whoever has the token; never another page.

A page of somebody else's in the same browser can reach loopback too. It is told apart by what
browsers send and pages cannot change: ``Origin``, ``Sec-Fetch-Site``, and the name in ``Host``,
which after DNS rebinding is the other page's.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from infinipot_ros.errors import ConfigurationError

COOKIE = 'infinipot_token'
LEAST_TOKEN_CHARS = 16
HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
}


def check_address(host: str, token: str) -> None:
    """
    Refuse an address that others reach without a token.

    :raises ConfigurationError: so it is, or the token is too short.
    """
    if not token and not is_loopback(host):
        raise ConfigurationError(
            f'{host} can be reached from other machines, and whoever reaches the page sees what '
            'the camera saw: add --token "$(openssl rand -hex 16)", or leave out --host')
    if token and (len(token) < LEAST_TOKEN_CHARS or not token.isascii()
                  or not token.isalnum()):
        raise ConfigurationError(
            f'the token has {len(token)} characters, it must have at least {LEAST_TOKEN_CHARS}, '
            'all of them ASCII letters or digits: `openssl rand -hex 16` makes one')


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


class AccessRules:
    """
    An ASGI application around another that refuses what is not allowed, in plain words.

    :param token: empty: none is needed.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token
        name = socket.gethostname().lower()
        self._names = {'localhost', name, f'{name}.local'}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass an allowed request on."""
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = parse_qs(scope['query_string'].decode('latin-1')).get('token', [''])[0]
        refused = self._foreign(scope, headers) or self._unknown(scope, headers, asked)

        async def send_with_headers(message: Any) -> None:
            if message['type'] == 'http.response.start':
                answered = MutableHeaders(scope=message)
                answered.update(HEADERS)
                if asked and refused is None:
                    answered.append('Set-Cookie', f'{COOKIE}={asked}; HttpOnly; '
                                    'SameSite=Strict; Path=/')
            await send(message)

        await (refused or self._app)(scope, receive, send_with_headers)

    def _foreign(self, scope: Any, headers: Headers) -> PlainTextResponse | None:
        """Refuse another page's requests."""
        host = headers.get('host', '').lower()
        if not self._is_ours(host):
            return _refusal(403, f'This page is not served under the name {host!r}: open it '
                            'by the address that infinipot serve printed, or by an IP address.')
        origin = headers.get('origin')
        opened = (scope['method'] == 'GET' and scope['path'] == '/'
                  and headers.get('sec-fetch-mode', 'navigate') == 'navigate')
        site = headers.get('sec-fetch-site', 'none')
        if (origin is not None and urlsplit(origin).netloc.lower() != host) or (
                site not in ('same-origin', 'none') and not opened):
            return _refusal(403, f'Refused: the request comes from another page '
                            f'({origin or site}), not from this one.')
        return None

    def _is_ours(self, host: str) -> bool:
        # An address written as a number cannot be rebound by a name server.
        try:
            name = urlsplit(f'//{host}').hostname or ''
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _unknown(self, scope: Any, headers: Headers, asked: str) -> PlainTextResponse | None:
        """Refuse who has no token, or another one."""
        if not self._token:
            return None
        scheme, _, bearer = headers.get('authorization', '').partition(' ')
        given = asked if asked and scope['path'] == '/' else (
            bearer if scheme.lower() == 'bearer' else _cookie(headers.get('cookie', '')))
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return _refusal(401, ("This token is not the page's." if given else
                              'This page needs its token.') +
                        ' Open the address that infinipot serve printed, which ends in '
                        '?token=..., or send the header Authorization: Bearer TOKEN.')


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ''
    return found.value if found is not None else ''


def _refusal(status: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(
        text + '\n', status, {'WWW-Authenticate': 'Bearer'} if status == 401 else None)
