# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Resolve the name of a file within one declared directory."""

from __future__ import annotations

import os
from pathlib import Path

from infinipot_ros.errors import StorageError

# File systems allow 255; temporary and refused files have longer names than the file.
MAX_NAME_BYTES = 200
# Of the whole path; longer ones are not repeated in messages.
MAX_PATH_CHARS = 4096


def resolve_inside(directory: Path | str, name: str) -> Path:
    """
    Return the file that ``name`` stands for in ``directory``; symbolic links are followed.

    :param directory: an existing directory; it may itself be reached through a link.
    :param name: relative to the directory, or absolute and within it.
    :return: the real path, without links or ``..``; its parent exists.
    :raises StorageError: the name is empty, too long, not printable, not a path, names a
        directory, leads out of the declared one, or lies in a folder that does not exist.
    """
    if not str(directory):
        raise StorageError(
            'no directory is set for saved memories; set the parameter storage.directory')
    if not name.strip():
        raise StorageError(f'the path is empty; give the name of a file in {directory}')
    if len(name) > MAX_PATH_CHARS:
        raise StorageError(
            f'the path of {len(name)} characters is too long, the limit is {MAX_PATH_CHARS}; '
            'shorten it')
    if not name.isprintable():
        raise StorageError(
            f'the path {name!r} has characters in it that cannot be printed; leave them out')
    try:
        root = Path(directory).resolve(strict=True)
        path = (root / name).resolve()
        length = len(os.fsencode(path.name))
        is_folder, parent_exists = path.is_dir(), path.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        # Missing, too long, a loop of links (RuntimeError before Python 3.13), not UTF-8.
        raise StorageError(
            f'the path {name!r} in {directory} cannot be used ({_reason(error)}); give the name '
            'of a file in an existing directory') from error
    if not path.is_relative_to(root):
        raise StorageError(
            f'the path {name!r} leads out of {root}, where memories are kept; give a name within')
    if is_folder or name.endswith(('/', '/.')):
        raise StorageError(f'the path {name!r} names a directory; give the name of a file')
    if length > MAX_NAME_BYTES:
        raise StorageError(
            f'the name of {length} bytes is too long, the limit is {MAX_NAME_BYTES}; shorten it')
    if not parent_exists:
        raise StorageError(f'there is no folder {path.parent}; make it first')
    return path


def _reason(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
