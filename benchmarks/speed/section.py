# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One part of the figures: what was measured, as tables and curves, and which targets it met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.speed.floor import Rates


@dataclass(frozen=True)
class SpeedOptions:
    """
    How to measure.

    :param quick: less of everything, for a machine of two cores and a minute or two.
    :param repeats: how often each figure is taken.
    """

    device: str = 'cpu'
    dtype: str = 'float32'
    quick: bool = False
    repeats: int = 5


@dataclass(frozen=True)
class Table:
    """A title, the heads of its columns, and rows of text or numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True)
class Curves:
    """A plot: named series of (x, y)."""

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Target:
    """
    A figure that was aimed at.

    :param wanted: as people read it, such as 'at least 95 %'.
    :param measured: likewise.
    """

    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Section:
    """
    A part of the figures.

    :param name: one word, by which the command line chooses it.
    :param about: what was compared with what, and how, in a few sentences.
    :param rates: of the machine, which the section's floors come from; None: it has none.
    """

    name: str
    title: str
    about: str
    tables: Sequence[Table] = ()
    curves: Sequence[Curves] = ()
    targets: Sequence[Target] = field(default=())
    rates: Rates | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it in plain types."""
        return asdict(self)
