# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Connect to Ray: join a cluster where an address is given, else start one for one run.

A cluster that is started listens on this machine's loopback only, requires a token, has no
dashboard, reports no usage and leaves no files. Ray is imported here, and only when it is used.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

from infinipot_ros.errors import ConfigurationError

LOCAL = 'local'
"""The address that starts a cluster on this machine."""
CLIENT = 'ray://'
CLIENT_PORT = 10001
LOOPBACK = '127.0.0.1'
CONNECT_S = 5.0
# What is passed between processes is small: settings, outcomes, samples.
STORE_BYTES = 2 ** 27
# Ray's workers may outlive its shutdown by a moment.
REMOVE_S = 10.0
# A socket path has at most 107 characters, of which Ray and the folder's name take 83.
MAX_ROOT_CHARS = 24
SERVER = re.compile(r'(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d+')
ADDRESS = re.compile(rf'{LOCAL}|auto|{CLIENT}\S+|{SERVER.pattern}')


@contextmanager
def ray_session(address: str) -> Iterator[Any]:
    """
    Connect to a Ray cluster; one that was started ends with the session.

    An existing connection of this process is used and left as it is.

    :param address: ``local`` starts a cluster; ``auto``, ``HOST:PORT`` and ``ray://HOST:PORT``
        join one.
    :return: the module ``ray``.
    :raises ConfigurationError: Ray is not installed, or there is no cluster.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(RAY_USAGE_STATS_ENABLED='0'))
        options: dict[str, Any] = {}
        if address == 'auto':
            address = os.environ.get('RAY_ADDRESS') or address
        if address == LOCAL:
            # The first, meant for systems whose firewall would ask, keeps Ray on the loopback. Ray
            # itself sets the mode to token where it is not chosen.
            stack.enter_context(_environment(
                RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER='0', RAY_AUTH_TOKEN=_token(),
                RAY_AUTH_MODE=os.environ.get('RAY_AUTH_MODE')))
            root = tempfile.gettempdir()
            folder = tempfile.mkdtemp(
                prefix='infinipot-', dir=root if len(root) <= MAX_ROOT_CHARS else '/tmp')
            stack.callback(_remove, folder)
            options = {
                'num_cpus': len(os.sched_getaffinity(0)), '_temp_dir': folder,
                'include_dashboard': False, 'object_store_memory': STORE_BYTES}
        ray = _import_ray()
        if address != LOCAL:
            _reach(address)
        if not ray.is_initialized():
            _connect(ray, address, options)
            stack.callback(ray.shutdown)
        yield ray


@lru_cache(maxsize=1)
def _token() -> str:
    """Return a random token; Ray reads it once per process."""
    return secrets.token_hex(32)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            f"--ray needs Ray ({error}): pip install '.[ray]' in a clone") from error
    return ray


def _remove(folder: str) -> None:
    """Remove a folder that processes which are about to end may still write to."""
    deadline = time.monotonic() + REMOVE_S
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _connect(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level='ERROR', **options)
    except (OSError, ValueError, RuntimeError, ImportError, ray.exceptions.RayError) as error:
        what = 'started' if address == LOCAL else f'joined at {address}'
        raise ConfigurationError(f'no Ray cluster could be {what}: {error}') from error
    if address == LOCAL and ray.util.get_node_ip_address() != LOOPBACK:
        found = ray.util.get_node_ip_address()
        ray.shutdown()
        raise ConfigurationError(
            f'Ray listens at {found}, where other machines reach it, because it was imported '
            'before; start a cluster with `ray start --head` and give its address')


def _reach(address: str) -> None:
    """Check that something listens there; Ray itself would wait for minutes."""
    server = address.removeprefix(CLIENT).partition('/')[0]
    if address.startswith(CLIENT) and not SERVER.fullmatch(server):
        server += f':{CLIENT_PORT}'
    if not SERVER.fullmatch(server):
        return
    host, _, port = server.rpartition(':')
    try:
        socket.create_connection((host.strip('[]'), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f'no Ray cluster answers at {address} ({error}); start one with `ray start --head`, '
            'or give --ray alone') from error


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Set the variables that are not None, and restore all of them."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        for name in before:
            os.environ.pop(name, None)
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    os.environ.update({name: value for name, value in values.items() if value is not None})
