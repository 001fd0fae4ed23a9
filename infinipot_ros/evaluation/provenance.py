# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Identify what figures depend on: code, packages, machine, and the files that were read."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from infinipot_ros.recordings.sources import IMAGE_SUFFIXES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    'infinipot_ros', 'torch', 'transformers', 'numpy', 'pillow', 'av', 'rosbags', 'miniworld')
CODE = ('kv_cache', 'visual_memory', 'vlm')
JUDGES = (
    'choice_parsing', 'encodings', 'outcome', 'question', 'scoring', 'stream', 'stream_runner',
    'variants')
_PART = 2 ** 20


def code_digest() -> str:
    """Identify the source code that answers and their outcomes depend on."""
    paths = [path for room in CODE for path in (ROOT / room).rglob('*.py')]
    return digest_of([*paths, *(ROOT / 'evaluation' / f'{name}.py' for name in JUDGES)], ROOT)


def digest_of(paths: Iterable[Path], root: Path) -> str:
    """Identify source files by their paths below ``root`` and their contents."""
    seen = hashlib.blake2b(digest_size=6)
    for path in sorted(paths):
        seen.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return seen.hexdigest()


@lru_cache(maxsize=1)
def versions() -> dict[str, str | None]:
    """Return the versions of Python and packages, None for those not installed."""
    return {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def host() -> dict[str, Any]:
    """Return ``processor``, ``cores``, ``memory`` in bytes, and ``os`` of this machine."""
    return {
        'processor': processor(), 'cores': len(os.sched_getaffinity(0)),
        'memory': psutil.virtual_memory().total, 'os': platform.platform()}


@lru_cache(maxsize=1)
def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Return what this process runs on: ``versions``, ``processor`` and ``host``."""
    return {'versions': versions(), 'processor': processor(), 'host': host()}


def described(path: Path) -> list[dict[str, Any]]:
    """
    Identify a recording or a file of questions.

    :return: ``path``, ``sha256`` and ``bytes``: one item per file of a bag; one for a folder of
        images, whose digest covers names and contents in order.
    """
    if path.is_file():
        return [_file(path)]
    files = sorted(each for each in path.iterdir() if each.is_file())
    if any(each.suffix in ('.mcap', '.db3') or each.name == 'metadata.yaml' for each in files):
        return [_file(each) for each in files
                if each.suffix in ('.mcap', '.db3', '.zstd') or each.name == 'metadata.yaml']
    # Other files there, questions for example, are not the recording.
    images = [each for each in files
              if each.suffix.lower() in IMAGE_SUFFIXES and not each.name.startswith('.')]
    seen, size = hashlib.sha256(), 0
    for each in images:
        found = _file(each)
        seen.update(f'{each.name}\0{found["sha256"]}\n'.encode('utf-8', 'surrogateescape'))
        size += found['bytes']
    return [{'path': str(path), 'sha256': seen.hexdigest(), 'bytes': size}]


def _file(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {
        'path': str(path), 'sha256': _sha256(path, stat.st_size, stat.st_mtime_ns),
        'bytes': stat.st_size}


@lru_cache(maxsize=100_000)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    seen = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(_PART):
            seen.update(part)
    return seen.hexdigest()
