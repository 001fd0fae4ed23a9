# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real annotation files of public benchmarks, where they lie beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def annotation(name: str) -> Path:
    """Find an annotation file in ``../shared/data`` (or ``$INFINIPOT_SHARED_DATA``), or skip."""
    root = os.environ.get('INFINIPOT_SHARED_DATA')
    folder = Path(root) if root else Path(__file__).resolve().parents[2] / 'shared' / 'data'
    path = folder / 'annotations' / name
    if not path.is_file():
        pytest.skip(f'no shared/data/annotations/{name} beside the checkout')
    return path
