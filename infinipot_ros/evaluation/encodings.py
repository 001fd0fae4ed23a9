# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Reuse visual tokens for memories that watch the same stream: in memory, or in files of a dump.

What the vision tower makes of frames depends only on their pixels and on which frames share the
call, not on policy or budget. So the tower runs once per distinct call, and every later memory
that makes the same call gets the very same tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infinipot_ros.errors import ConfigurationError, SourceError

DIGEST_BYTES = 16
MAX_BYTES = 2 ** 30
"""Beyond this a stream's tokens are not kept in memory but encoded again."""
SHARD_BYTES = 2 ** 28
"""Size from which tokens of a dump are written to a file."""

Call = tuple[bytes, ...]
"""The digests of the frames that share a call of the vision tower."""
Pixels = npt.NDArray[np.uint8]
Place = tuple[str, int, int, int]
"""Of a block in a dump: name, number of its file, rows and columns."""


@dataclass(frozen=True)
class Block:
    """
    What the vision tower made of a call: ``[grids, rows * columns, hidden]``.

    :param deep: more features of the same tokens, see ``VisualBlock``.
    """

    tokens: Tensor
    rows: int
    columns: int
    deep: tuple[Tensor, ...] = ()


def frame_digest(pixels: Pixels) -> bytes:
    """Identify a frame as it is encoded: uint8 ``[h, w, 3]``; its shape counts too."""
    seen = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=DIGEST_BYTES)
    seen.update(np.ascontiguousarray(pixels).data)
    return seen.digest()


class TokenStore(Protocol):
    """Keeps blocks of visual tokens, by call."""

    def get(self, call: Call) -> Any | None:
        """Return the block of a call, None where it is not kept."""

    def put(self, call: Call, block: Any) -> None:
        """Keep a block, or not."""


class RememberedEncodings:
    """
    A loaded model whose ``encode`` runs once per distinct call; all else is the model's own.

    Whole calls are kept, not grids, because only then are the results equal to the bit on every
    device: a tower may sum in another order when other grids share the call. Memories with equal
    block sizes make the same calls, except one so small that a compression frees less than a
    block.

    The tokens live as long as the object: make one per stream.

    :param model: a loaded model, as a ``VisualMemory`` takes it.
    :param store: where blocks are kept; in memory by default.
    :param digest: identifies a frame as it is encoded.
    """

    def __init__(
        self, model: Any, store: TokenStore | None = None,
        digest: Callable[[Pixels], bytes] = frame_digest,
    ) -> None:
        self._model = model
        self._digest = digest
        self._store = InMemoryTokens() if store is None else store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, frames: Tensor) -> Any:
        """
        Turn frames into visual tokens, unless that was done before.

        :param frames: uint8 ``[T, h, w, 3]``.
        :return: the model's own block; shared between calls, so do not write to it.
        """
        call = tuple(self._digest(pixels) for pixels in frames.contiguous().cpu().numpy())
        block = self._store.get(call)
        if block is None:
            block = self._model.encode(frames)
            self._store.put(call, block)
        return block


class InMemoryTokens:
    """Keep blocks in this process's memory, up to ``max_bytes``; what comes beyond is not kept."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._left = max_bytes
        self._known: dict[Call, Any] = {}

    def get(self, call: Call) -> Any | None:
        """Return the block of a call, None where it is not kept."""
        return self._known.get(call)

    def put(self, call: Call, block: Any) -> None:
        """Keep a block if there is room."""
        self._left -= _bytes_of(block)
        if self._left >= 0:
            self._known[call] = block


class DumpedTokens:
    """
    Write blocks to ``tokens-*.safetensors`` as they arrive, and read them back.

    :param folder: of the dump; files of an older one are removed.
    :raises ConfigurationError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Call, Place] = {}
        self._fresh: dict[str, Block] = {}
        self._fresh_bytes = self._count = 0
        self._files = _TokenFiles(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob('tokens-*.safetensors'):
                old.unlink()
        except OSError as error:
            raise unwritable(folder, error) from error

    def get(self, call: Call) -> Block | None:
        """Return the block of a call, None where it is not kept."""
        if call not in self._places:
            return None
        name, *_ = place = self._places[call]
        if name in self._fresh:
            return self._fresh[name]
        return self._files.block(place)

    def put(self, call: Call, block: Any) -> None:
        """
        Keep a block.

        :raises ConfigurationError: the folder cannot be written.
        """
        name = f'{len(self._places):09d}'
        self._places[call] = (name, self._count, block.rows, block.columns)
        self._fresh[name] = Block(block.tokens, block.rows, block.columns, block.deep)
        self._fresh_bytes += _bytes_of(block)
        if self._fresh_bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """
        Write what is not on disk yet.

        :raises ConfigurationError: the folder cannot be written.
        """
        if not self._fresh:
            return
        try:
            save_file({
                key: tensor.contiguous() for name, block in self._fresh.items()
                for key, tensor in [(name, block.tokens), *(
                    (_deep_name(name, depth), each) for depth, each in enumerate(block.deep))]},
                shard_path(self._folder, self._count))
        except (OSError, SafetensorError) as error:
            raise unwritable(self._folder, error) from error
        self._fresh, self._fresh_bytes = {}, 0
        self._count += 1

    def calls(self, digests: Pixels) -> list[tuple[str, int, int, int, list[int]]]:
        """List the calls: the place of the block, and the numbers of its frames."""
        numbers = _frame_numbers(digests)
        return [(*place, [numbers[digest] for digest in call])
                for call, place in self._places.items()]


class LoadedTokens:
    """
    Read blocks of a dump, whole or joined from grids of other calls.

    :param calls: as ``DumpedTokens.calls`` lists them.
    :param digests: uint8 ``[frames, DIGEST_BYTES]``.
    """

    def __init__(
        self, folder: Path, calls: Sequence[tuple[str, int, int, int, list[int]]], digests: Pixels,
    ) -> None:
        self._folder = folder
        self._numbers = _frame_numbers(digests)
        self._files = _TokenFiles(folder)
        self._calls: dict[tuple[int, ...], Place] = {
            tuple(frames): (name, shard, rows, columns)
            for name, shard, rows, columns, frames in calls}
        self._grids: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {}

    def use(self, device: torch.device, frames_per_grid: int) -> LoadedTokens:
        """
        Get ready for a model.

        :param device: where blocks are loaded to.
        """
        self._device, self._per_grid = device, frames_per_grid
        for key in self._calls:
            for number, grid in enumerate(self._by_grid(key)):
                self._grids.setdefault(grid, (key, number))
        return self

    def _by_grid(self, key: tuple[int, ...]) -> list[tuple[int, ...]]:
        per_grid = self._per_grid
        return [key[first:first + per_grid] for first in range(0, len(key), per_grid)]

    def get(self, call: Call) -> Block:
        """
        Return the block of a call.

        :raises SourceError: the dump lacks tokens of a frame, or is damaged.
        """
        try:
            key = tuple(self._numbers[digest] for digest in call)
            if key in self._calls:
                return self._block(key)
            found = [self._grids[grid] for grid in self._by_grid(key)]
        except KeyError as error:
            raise SourceError(
                f'{self._folder} lacks the tokens of frame {error.args[0]!r}, as a question at '
                'that time needs them; make the dump again with --dump') from error
        blocks = [(self._block(whole), grid) for whole, grid in found]
        first = blocks[0][0]
        return replace(
            first, tokens=torch.cat([block.tokens[grid:grid + 1] for block, grid in blocks]),
            deep=tuple(
                torch.cat([block.deep[depth][grid:grid + 1] for block, grid in blocks])
                for depth in range(len(first.deep))))

    def put(self, call: Call, block: Any) -> None:
        """Keep nothing: all blocks come from the dump."""

    def _block(self, key: tuple[int, ...]) -> Block:
        block = self._files.block(self._calls[key])
        return replace(
            block, tokens=block.tokens.to(self._device),
            deep=tuple(each.to(self._device) for each in block.deep))


class _TokenFiles:
    """Read blocks from the files of a dump, each opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, Any] = {}

    def block(self, place: Place) -> Block:
        name, shard, rows, columns = place
        path = shard_path(self._folder, shard)
        try:
            if shard not in self._open:
                self._open[shard] = safe_open(path, 'pt')
            file = self._open[shard]
            names = takewhile(
                set(file.keys()).__contains__, (_deep_name(name, depth) for depth in count()))
            return Block(
                file.get_tensor(name), rows, columns, tuple(map(file.get_tensor, names)))
        except (OSError, SafetensorError) as error:
            raise SourceError(
                f'{path} is damaged ({error}); make the dump again with --dump') from error


def _deep_name(name: str, depth: int) -> str:
    return f'{name}.{depth}'


def _bytes_of(block: Any) -> int:
    return sum(each.numel() * each.element_size() for each in (block.tokens, *block.deep))


def _frame_numbers(digests: Pixels) -> dict[bytes, int]:
    """Number frames by the first one of equal pixels."""
    numbers: dict[bytes, int] = {}
    for number, digest in enumerate(digests):
        numbers.setdefault(digest.tobytes(), number)
    return numbers


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of one of the files of tokens."""
    return folder / f'tokens-{number:05d}.safetensors'


def unwritable(folder: Path, error: Exception) -> ConfigurationError:
    """Return an error that says why a folder cannot be written."""
    # safetensors reports a full disk in words only.
    reason = str(getattr(error, 'strerror', None) or error)
    space = 'free some space, or ' if 'space left' in reason or 'quota' in reason.lower() else ''
    return ConfigurationError(f'{folder} cannot be written: {reason}; {space}give another folder')
