# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keys or values in 8 bits a number, which read as a tensor of the model's dtype.

Each vector is cut into blocks of channels with a scale each: keys have channels far larger than
the others, which would take all precision from the rest of a head if it had one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from infinipot_ros.errors import ConfigurationError

#: Formats by their name in settings.
FORMATS = {'int8': torch.int8, 'fp8': torch.float8_e4m3fn}
NAMES = {dtype: name for name, dtype in FORMATS.items()}
# The largest number of each; int8 is used symmetrically.
LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
# Channels that share a scale; a head of another width has a single one.
BLOCK = 32
# With 8 bits of precision a scale times the largest code is exact in float32. So quantising again
# what was dequantised changes nothing, and a scale has the same value in every compute dtype but
# for the smallest in float16.
SCALE_DTYPE = torch.bfloat16

_aten = torch.ops.aten
# Operations on the leading dimensions alone that move codes and scales alike. The number is where
# the dimension stands among the arguments; None: there is none.
_ALIKE: dict[Any, int | None] = {
    _aten.alias.default: None, _aten.chunk.default: 2, _aten.index.Tensor: None,
    _aten.select.int: 1, _aten.slice.Tensor: 1, _aten.split.Tensor: 2,
    _aten.unsqueeze.default: 1}


def scales_of(head_dim: int) -> int:
    """Return the scales of a vector."""
    return head_dim // BLOCK if head_dim % BLOCK == 0 else 1


def bytes_of(head_dim: int) -> int:
    """Return the bytes of a vector, its scales included."""
    return head_dim + scales_of(head_dim) * SCALE_DTYPE.itemsize


def check_format(kv_dtype: torch.dtype, device: torch.device) -> None:
    """:raises ConfigurationError: a device does not convert to this format and back."""
    try:
        torch.ones(1, device=device).to(kv_dtype).float()
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f'kv_dtype is {NAMES.get(kv_dtype, kv_dtype)}, which torch {torch.__version__} cannot '
            f'convert to on {device} ({reason:.120}); use int8, or leave it empty') from error


def quantise(vectors: Tensor, kv_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """
    Quantise vectors: each block's largest number becomes the largest of the format.

    A block with a number that is not finite becomes NaN as a whole.

    :param vectors: ``[..., D]``, any floating type.
    :return: codes ``[..., D]`` and scales ``[..., blocks]``.
    """
    blocks = vectors.float().unflatten(-1, (scales_of(vectors.shape[-1]), -1))
    largest = torch.linalg.vector_norm(blocks, torch.inf, dim=-1)
    largest = largest.masked_fill_(~largest.isfinite(), torch.nan)
    scales = largest.div_(LARGEST[kv_dtype]).to(SCALE_DTYPE)
    divisors = scales.float().clamp_min_(torch.finfo(torch.float32).tiny).unsqueeze(-1)
    codes = blocks / divisors
    if kv_dtype == torch.int8:
        codes.round_()
    return codes.to(kv_dtype).flatten(-2), scales


class QuantizedVectors(Tensor):
    """
    Vectors ``[..., D]`` that are stored as codes and scales.

    Selecting vectors selects codes and scales, as views where a tensor's would be. Writing
    vectors quantises them; writing ``QuantizedVectors`` copies what they store. Any other
    operation reads a dequantised copy: what cuts through vectors is no view, so write whole ones.

    :param codes: int8 or float8_e4m3fn ``[..., D]``; ``scales``, bfloat16 ``[..., blocks]``.
    :param dtype: what they read as.
    """

    codes: Tensor
    scales: Tensor
    # Operations arrive below, in ``__torch_dispatch__``.
    __torch_function__: Any = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(  # noqa: D102
        cls: Any, codes: Tensor, scales: Tensor, dtype: torch.dtype,
    ) -> QuantizedVectors:
        # Buffers are written in inference mode, by the model, and outside, by a compression; a
        # view of a buffer made in that mode must not be a tensor of that mode alone.
        with torch.inference_mode(False):
            vectors: QuantizedVectors = Tensor._make_wrapper_subclass(
                cls, codes.shape, strides=codes.stride(), dtype=dtype, device=codes.device)
        vectors.codes, vectors.scales = codes, scales
        return vectors

    @classmethod
    def zeros(
        cls, shape: Sequence[int], kv_dtype: torch.dtype, dtype: torch.dtype,
        device: torch.device,
    ) -> QuantizedVectors:
        """Allocate vectors, all zero."""
        return cls(
            torch.zeros(shape, dtype=torch.uint8, device=device).view(kv_dtype),
            torch.zeros(*shape[:-1], scales_of(shape[-1]), dtype=SCALE_DTYPE, device=device),
            dtype)

    def write(self, first: int, vectors: Tensor) -> None:
        """Quantise vectors ``[..., n, D]`` into the ``n`` places from ``first`` on."""
        codes, scales = quantise(vectors, self.codes.dtype)
        self.codes.narrow(-2, first, codes.shape[-2]).copy_(codes)
        self.scales.narrow(-2, first, codes.shape[-2]).copy_(scales)

    def dequantise(self, out: Tensor) -> Tensor:
        """
        Write the first vectors, as many as it holds, to ``out``: without a copy of their size.

        :return: ``out``.
        """
        count = out.shape[-2]
        out.copy_(self.codes.narrow(-2, 0, count))
        scales = self.scales.narrow(-2, 0, count).to(out.dtype).unsqueeze(-1)
        out.unflatten(-1, (scales.shape[-2], -1)).mul_(scales)
        return out

    def parts(self) -> tuple[Tensor, Tensor]:
        """Return what is stored, as bytes and scales, without a copy."""
        return self.codes.view(torch.uint8), self.scales

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Return what they are; reading one is for who asks for it."""
        return f'QuantizedVectors({[*self.shape]}, {self.codes.dtype}, reads as {self.dtype})'

    def _read(self, dtype: torch.dtype | None = None) -> Tensor:
        with torch.inference_mode(False):
            copy = torch.empty(self.codes.shape, dtype=dtype or self.dtype, device=self.device)
        return self.dequantise(copy)

    def _quantised(self, vectors: Tensor) -> QuantizedVectors:
        if isinstance(vectors, QuantizedVectors) and vectors.codes.dtype == self.codes.dtype:
            return vectors
        return QuantizedVectors(*quantise(vectors, self.codes.dtype), self.dtype)

    def _keeps_blocks(self, function: Any, args: Sequence[Any]) -> bool:
        """Return whether an operation leaves every vector whole, and more than a single one."""
        if function is _aten.select.int and self.ndim == 2:
            return False
        if function is _aten.index.Tensor:
            # A mask takes as many dimensions as it has.
            taken = sum(1 if each is None or each.dtype != torch.bool else each.ndim
                        for each in args[1])
            return taken < self.ndim
        place = _ALIKE[function]
        dim: int = args[place] if place is not None and len(args) > place else 0
        return place is None or 0 <= dim < self.ndim - 1

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None,
    ) -> Any:
        """Run an operation of torch on what is stored or, by default, on dequantised copies."""
        kwargs = kwargs or {}
        own = args[0]
        if isinstance(own, cls):
            if function in _ALIKE and own._keeps_blocks(function, args):
                return own._alike(lambda stored: function(stored, *args[1:], **kwargs))
            if function in _WRITES:
                _WRITES[function](own, *args[1:])
                return own
            if function is _aten._to_copy.default and set(kwargs) <= {'dtype'}:
                return own._read(kwargs.get('dtype'))
            if function._schema.is_mutable:
                raise TypeError(f'{function} cannot change quantised vectors')
        args, kwargs = tree_map_only(cls, cls._read, (args, kwargs))
        return function(*args, **kwargs)

    def _alike(self, function: Callable[[Tensor], Any]) -> Any:
        def made_of(stored: Tensor, scales: Tensor) -> QuantizedVectors:
            return QuantizedVectors(stored.view(self.codes.dtype), scales, self.dtype)

        stored, scales = map(function, self.parts())
        if isinstance(stored, Tensor):
            return made_of(stored, scales)
        return [made_of(*each) for each in zip(stored, scales, strict=True)]

    def _copy(self, vectors: Tensor, *_: Any) -> None:
        for own, other in zip(self.parts(), self._quantised(vectors).parts(), strict=True):
            own.copy_(other)

    def _copy_at(self, dim: int, index: Tensor, vectors: Tensor) -> None:
        for own, other in zip(self.parts(), self._quantised(vectors).parts(), strict=True):
            own.index_copy_(dim, index, other)

    def _zero(self) -> None:
        for own in self.parts():
            own.zero_()


_WRITES: dict[Any, Callable[..., None]] = {
    _aten.copy_.default: QuantizedVectors._copy, _aten.zero_.default: QuantizedVectors._zero,
    _aten.index_copy_.default: QuantizedVectors._copy_at}
