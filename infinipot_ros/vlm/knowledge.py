# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The limits of a model's knowledge, from its config.json; needs no torch.

The mark is in the folder, so that a copy under another name or path is recognised.
"""

from __future__ import annotations

from typing import Any

#: In config.json, true for a model that was trained on this package's simulated houses alone.
SIMULATED_ONLY = 'simulated_houses_only'
CAVEAT = (
    'the bundled model knows its simulated houses only; what it says of real pictures means '
    'nothing. For those load a published one: model:=Qwen/Qwen2.5-VL-3B-Instruct, or --model on '
    'the command line')


def caveat_of(config: Any) -> str:
    """
    Return what to know before a model's answers are believed; empty: nothing.

    :param config: the model's configuration, as transformers read it.
    """
    return CAVEAT if getattr(config, SIMULATED_ONLY, False) is True else ''
