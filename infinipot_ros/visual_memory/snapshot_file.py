# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The file of a saved memory: safetensors with JSON metadata and a checksum of every byte.

It is written under another name and renamed, so that its path always has the old file or the new
one, whole. Any safetensors reader reads it. It is written here and not by the library, which needs
all tensors in host memory at once; here they leave the device one at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.file_lock import open_locked

FORMAT = 'infinipot_ros.memory'
VERSION = 2
# Also read: these lack something that the reader can work out.
OLDER_VERSIONS = (1,)
DTYPES = {
    torch.float32: 'F32', torch.float16: 'F16', torch.bfloat16: 'BF16', torch.float64: 'F64',
    torch.int64: 'I64', torch.int32: 'I32', torch.uint8: 'U8', torch.int8: 'I8',
    torch.float8_e4m3fn: 'F8_E4M3'}
MAX_HEADER_BYTES = 100_000_000  # what the library reads at most
NO_DIGEST = '0' * hashlib.sha256().digest_size * 2
LENGTH_BYTES = 8
#: The mode of a new file: it shows what the camera saw.
PRIVATE = 0o600


@dataclass(frozen=True)
class SnapshotFile:
    """
    A saved memory with valid checksums.

    :param facts: the JSON part.
    :param tensors: on the host, mapped, not copied.
    :param settings: of the memory that was saved; empty in files of earlier releases.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    size: int
    settings: dict[str, Any] = field(default_factory=dict)


def write_snapshot(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor],
                   settings: Mapping[str, Any] | None = None) -> int:
    """
    Write or replace a file in one step.

    :param facts: must be serialisable as JSON, as must ``settings``.
    :param tensors: may be views; they are copied to the host one at a time.
    :param settings: beside the facts, so that earlier releases, which have none, read the file.
    :return: bytes written.
    :raises StorageError: it could not be written; the old file, if any, is as it was.
    """
    path = Path(os.path.realpath(path))
    # Widest numbers first, so that all are aligned when the file is mapped.
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])))
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f'{path} is not a regular file; give another name')
        with _beside(path) as file:
            file.write(_header(
                facts, ordered, dict.fromkeys(ordered, NO_DIGEST), settings or {}))
            digests = {name: _write_tensor(file, tensor) for name, tensor in ordered.items()}
            size = file.tell()
            file.seek(0)
            file.write(_header(facts, ordered, digests, settings or {}))
        return size
    except OSError as error:
        needed = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
        raise StorageError(
            f'{path} cannot be written ({error.strerror or error}): about {needed} bytes are '
            'needed; free the space, or save in another directory. What was saved there before '
            'is as it was') from error


def _header(
    facts: Mapping[str, Any], tensors: Mapping[str, Tensor], digests: Mapping[str, str],
    settings: Mapping[str, Any],
) -> bytes:
    """Return the header; its length does not depend on the digests."""
    entries: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.itemsize
        entries[name] = {
            'dtype': DTYPES[tensor.dtype], 'shape': list(tensor.shape),
            'data_offsets': [offset, end]}
        offset = end
    metadata = {
        'format': FORMAT, 'version': str(VERSION), 'sha256': NO_DIGEST,
        'tensors_sha256': json.dumps(digests), 'facts': json.dumps(facts, allow_nan=False)}
    if settings:
        metadata['settings'] = json.dumps(settings, allow_nan=False)
    text = json.dumps({'__metadata__': metadata, **entries}).encode()
    text += b' ' * (-len(text) % LENGTH_BYTES)
    if len(text) > MAX_HEADER_BYTES:
        raise StorageError(
            f'the facts of this memory take {len(text)} bytes of JSON, the limit is '
            f'{MAX_HEADER_BYTES}; lower the budget')
    raw = len(text).to_bytes(LENGTH_BYTES, 'little') + text
    return raw.replace(NO_DIGEST.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)


def _as_bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _write_tensor(file: BinaryIO, tensor: Tensor) -> str:
    data = _as_bytes(tensor)
    file.write(data)
    return hashlib.sha256(data).hexdigest()


def part_of(path: Path) -> Path:
    """Return the temporary file of ``path``; one that exists was cut off."""
    return path.with_name(f'.{path.name}.part')


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """
    Open a temporary file that replaces ``path`` once it is on the disk, or is removed.

    Its name is always the same, so that leftovers of a crash are overwritten. Only the owner may
    read it, or who might read what it replaces.
    """
    part = part_of(path)
    try:
        handle = open_locked(part, PRIVATE)
    except BlockingIOError as error:
        raise StorageError(
            f'another process is saving to this file ({part}); wait for it, or give another '
            'name') from error
    with open(handle, 'wb') as file:
        try:
            file.truncate(0)
            with suppress(PermissionError):  # a file system without modes
                os.fchmod(handle, path.stat().st_mode & 0o777 if path.exists() else PRIVATE)
            yield file
            file.flush()
            os.fsync(handle)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_snapshot(path: Path) -> bool:
    """Return whether a file has the header of a saved memory; its contents are not checked."""
    try:
        with safe_open(path, framework='pt') as file:
            return bool((file.metadata() or {}).get('format') == FORMAT)
    except (OSError, SafetensorError):
        return False


@contextmanager
def read_snapshot(path: Path) -> Iterator[SnapshotFile]:
    """
    Open a saved memory after checking all of it.

    Checksums detect damage and naive edits; they are not a signature.

    :raises StorageError: missing, of another format, newer, cut off or changed.
    """
    with ExitStack() as stack:
        # Exceptions of the caller, inside the with block, are not faults of the file.
        try:
            snapshot = _open_snapshot(path, stack)
        except OSError as error:
            raise StorageError(
                f'{path} cannot be read ({error.strerror or error}); give a file that save '
                'wrote') from error
        except SafetensorError as error:
            raise _damaged(path, str(error)) from error
        yield snapshot


def _open_snapshot(path: Path, stack: ExitStack) -> SnapshotFile:
    # Reading anything but a regular file could block or never end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StorageError(f'{path} is not a regular file; give one that save wrote')
    with open(path, 'rb') as file:
        raw = _read_header(file, path)
    opened = stack.enter_context(safe_open(path, framework='pt'))
    metadata = opened.metadata() or {}
    _check_header(raw, metadata, path)
    tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    facts, settings = _check_contents(metadata, tensors, path)
    return SnapshotFile(facts, tensors, os.stat(path).st_size, settings)


def _read_header(file: BinaryIO, path: Path) -> bytes:
    length = file.read(LENGTH_BYTES)
    size = int.from_bytes(length, 'little')
    if len(length) < LENGTH_BYTES or not 2 <= size <= MAX_HEADER_BYTES:
        raise _foreign(path)
    text = file.read(size)
    if len(text) < size:
        raise _damaged(path, f'it ends within its header of {size} bytes')
    return length + text


def _check_header(raw: bytes, metadata: Mapping[str, str], path: Path) -> None:
    if metadata.get('format') != FORMAT:
        raise _foreign(path)
    version = metadata.get('version', '')
    if version not in map(str, (VERSION, *OLDER_VERSIONS)):
        raise StorageError(
            f'{path} was written in version {version!r} of the format, this release reads up to '
            f'version {VERSION}; load it with the release that wrote it, or a newer one than this')
    digest = metadata.get('sha256', '').encode()
    if len(digest) != len(NO_DIGEST) or raw.count(digest) != 1 or hashlib.sha256(
            raw.replace(digest, NO_DIGEST.encode())).hexdigest().encode() != digest:
        raise _damaged(path, 'the checksum of its header is wrong')


def _check_contents(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts and the settings."""
    try:
        digests = json.loads(metadata['tensors_sha256'])
        facts = json.loads(metadata['facts'])
        settings = json.loads(metadata.get('settings', '{}'))
    except (KeyError, ValueError, RecursionError) as error:
        raise _damaged(path, 'its metadata is not JSON') from error
    if not all(isinstance(each, dict) for each in (digests, facts, settings)) or (
            digests.keys() != tensors.keys()):
        raise _damaged(path, 'its metadata does not match its tensors')
    for name, tensor in tensors.items():
        if hashlib.sha256(_as_bytes(tensor)).hexdigest() != digests[name]:
            raise _damaged(path, f'the checksum of {name} is wrong')
    return facts, settings


def _foreign(path: Path) -> StorageError:
    return StorageError(f'{path} is not a saved memory; give a file that save wrote')


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f'{path} is damaged or was changed: {why}; use an earlier copy, or start with an empty '
        'memory')
