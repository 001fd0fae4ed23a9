# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Lock the file of a saved memory, for as long as a process uses it.

A saved memory is replaced, never written to, so the lock is a separate file beside it, named
``.NAME.lock``. It says who holds it and is removed on release. The kernel releases the lock with
the process; the file that a crash leaves behind locks nothing and is reused.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
from pathlib import Path

from infinipot_ros.errors import MemoryInUseError, StorageError

# Each failed one means that another process came and went in between.
ATTEMPTS = 10
HOLDER = re.compile(rb'process \d{1,10} on [\w.-]{1,255}', re.ASCII)


def lock_of(path: Path) -> Path:
    """Return the lock file of a file."""
    return path.with_name(f'.{path.name}.lock')


def open_locked(path: Path, mode: int = 0o666) -> int:
    """
    Open a file, created if missing, for the exclusive use of this process.

    :param mode: of a file that is created, less the umask.
    :return: its descriptor; closing it, or the end of the process, releases the file.
    :raises BlockingIOError: another process uses it.
    :raises OSError: it cannot be opened or locked.
    :raises StorageError: it is not a regular file.
    """
    for _ in range(ATTEMPTS):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StorageError(f'{path} is in the way and not a regular file; remove it')
            # The former holder may have renamed or removed it after it was opened here.
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise BlockingIOError


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


class MemoryLock:
    """
    The exclusive use of a file that a memory is saved to, until it is released.

    :param path: the file, existing or not; links are followed.
    :raises MemoryInUseError: another memory uses it; the message names its process.
    :raises StorageError: it cannot be locked there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.realpath(path))
        lock = lock_of(self.path)
        try:
            self._handle: int | None = open_locked(lock)
        except BlockingIOError as error:
            raise MemoryInUseError(
                f'{self.path} is in use by {_holder(lock)}; give this memory another file (the '
                'parameter storage.name, or another path), or end the other') from error
        except OSError as error:
            raise StorageError(
                f'{self.path} cannot be locked ({error.strerror or error}); give a directory '
                'that can be written to') from error
        try:
            os.truncate(self._handle, 0)
            os.write(self._handle, f'process {os.getpid()} on {socket.gethostname()}\n'.encode())
        except OSError:
            pass  # on a full disk the lock holds, without the name of its process

    def __enter__(self) -> MemoryLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def covers(self, path: Path | str) -> bool:
        """Return whether the lock is held and of this file."""
        return self._handle is not None and self.path == Path(os.path.realpath(path))

    def release(self) -> None:
        """Release the file; may be repeated."""
        handle, self._handle = self._handle, None
        if handle is not None:
            lock = lock_of(self.path)
            try:
                if _is_at(handle, lock):
                    lock.unlink()
            except OSError:
                pass  # left behind, it locks nothing
            os.close(handle)


def _holder(lock: Path) -> str:
    try:
        with open(lock, 'rb') as file:
            found = HOLDER.match(file.read(300))
    except OSError:
        found = None
    return found[0].decode() if found else 'another process'
