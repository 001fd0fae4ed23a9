# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From the parameters ``storage.*``, the node's name and a client's path to a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.paths import MAX_NAME_BYTES, resolve_inside

#: What the file of every node was called before it had the node's name in it.
OLD_DEFAULT_NAME = 'memory.safetensors'
#: Endings of what is written beside a saved memory, under its name with a dot before.
OWN_ENDINGS = ('.lock', '.part')
DIGEST_CHARACTERS = 16


def memory_name(name: str, node: str) -> str:
    """
    Name the file that a node keeps its memory in; two nodes never get the same by default.

    :param name: the parameter ``storage.name``; empty for the default.
    :param node: the node's fully qualified name, ``/robot1/infinipot``, of which the default is
        ``robot1.infinipot.memory.safetensors``: names in ROS have no dots and no dashes.
    """
    if name.strip():
        return name
    stem = node.strip('/').replace('/', '.')
    room = MAX_NAME_BYTES - len(f'.{OLD_DEFAULT_NAME}')
    if len(stem) > room:
        digest = hashlib.sha256(node.encode()).hexdigest()[:DIGEST_CHARACTERS]
        stem = f'{stem[:room - len(digest) - 1]}-{digest}'
    return f'{stem}.{OLD_DEFAULT_NAME}'


def saved_path(directory: str, name: str) -> Path:
    """
    Find the file a name means, in the directory memories are kept in, which is made if need be.

    :raises StorageError: the name leads out of it, or cannot be used.
    """
    try:
        root = Path(directory).expanduser()
        # What is saved shows what the camera saw; a directory that exists stays as it is.
        root.mkdir(0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        # RuntimeError: the home directory of nobody.
        raise StorageError(
            f'the directory {directory} cannot be made '
            f'({getattr(error, "strerror", None) or error}); set the parameter '
            'storage.directory to one that can be written to') from error
    path = resolve_inside(root, name)
    if path.name.startswith('.') and path.suffix in OWN_ENDINGS:
        raise StorageError(
            f'the name {path.name} is of those that are used while a memory is kept or saved; '
            'leave out the dot before it')
    return path
