# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From the parameters ``storage.*`` and a client's path to a file."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.paths import resolve_inside


def saved_path(directory: str, name: str) -> Path:
    """
    Find the file a name means, in the directory memories are kept in, which is made if need be.

    :raises StorageError: the name leads out of it, or cannot be used.
    """
    try:
        root = Path(directory).expanduser()
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        # RuntimeError: the home directory of nobody.
        raise StorageError(
            f'the directory {directory} cannot be made '
            f'({getattr(error, "strerror", None) or error}); set the parameter '
            'storage.directory to one that can be written to') from error
    return resolve_inside(root, name)
