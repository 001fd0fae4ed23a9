# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The states of all linear-attention layers of a cache, and which of them can be put back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache.recurrent_layer import RecurrentLayer

# The copies: one for a checkpoint, one for the forward pass that may fail.
CHECKPOINT, PASS = 0, 1
LOST = -1


class RecurrentStates:
    """
    The states under version numbers: every change gives a new one, which never comes again.

    Equal versions are equal states, so a copy is made only of a version that no copy holds, and
    a version without a copy is refused instead of mistaken. Without such layers there is one
    version, 0.
    """

    def __init__(self, layers: Sequence[RecurrentLayer]) -> None:
        self._layers = layers
        self._version = self._newest = 0
        self._saved = [LOST, LOST]

    @property
    def nbytes(self) -> int:
        """Bytes of the states and their copies."""
        return sum(layer.nbytes for layer in self._layers)

    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """Return the states of each layer, see ``RecurrentLayer.states``; not copies."""
        return [layer.states for layer in self._layers]

    def checkpoint(self) -> int:
        """
        Keep the states for a ``load`` of the version returned; an earlier checkpoint is lost.

        :raises MemoryFullError: the states are lost.
        """
        self._check()
        self._save(CHECKPOINT)
        return self._version

    def change(self, *, keep: bool) -> int:
        """
        Announce a forward pass, which changes the states.

        :param keep: make a copy for ``undo``, unless there is one.
        :return: the version before.
        :raises MemoryFullError: the states are lost.
        """
        self._check()
        before = self._version
        if keep and before not in self._saved:
            self._save(PASS)
        self._advance()
        return before

    def undo(self, before: int) -> None:
        """
        Go back to before a forward pass that failed.

        Without a copy the states are lost until a version that has one is loaded.
        """
        if self.can_load(before):
            self.load(before)
        else:
            self._version = LOST

    def can_load(self, version: int) -> bool:
        """Return whether these are the states of a version, or a copy holds it."""
        return version != LOST and version in (self._version, *self._saved)

    def load(self, version: int) -> None:
        """Put back the states of a version that ``can_load`` knows, to the bit."""
        if version != self._version:
            copy = self._saved.index(version)
            for layer in self._layers:
                layer.load(copy)
            self._version = version

    def replace(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Go on from other states, one pair a layer; copies are lost."""
        for layer, (convolution, state) in zip(self._layers, states, strict=True):
            layer.replace(convolution, state)
        self._forget()

    def clear(self) -> None:
        """Start without a state; copies are lost."""
        for layer in self._layers:
            layer.reset()
        self._forget()

    def _forget(self) -> None:
        self._saved = [LOST, LOST]
        self._advance()

    def _advance(self) -> None:
        if self._layers:
            self._newest += 1
            self._version = self._newest

    def _save(self, copy: int) -> None:
        if self._saved[copy] != self._version:
            for layer in self._layers:
                layer.save(copy)
            self._saved[copy] = self._version

    def _check(self) -> None:
        if self._version == LOST:
            raise MemoryFullError(
                'a forward pass of a question failed, and the states of linear attention cannot '
                'lose tokens: roll the cache back to a checkpoint, or clear it')
