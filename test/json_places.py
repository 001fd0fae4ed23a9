# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything inside a JSON value, and that value with one thing in it replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any


def paths_into(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of the value itself, and of everything inside it."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_into(inner, (*path, key))


def replaced(value: Any, path: Sequence[Any], new: object) -> Any:
    """Return a copy with what is at a path replaced."""
    if not path:
        return new
    value = copy.deepcopy(value)
    *outer, last = path
    inner = value
    for key in outer:
        inner = inner[key]
    inner[last] = new
    return value
