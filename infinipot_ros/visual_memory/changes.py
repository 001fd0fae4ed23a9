# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which settings of a living memory can change, and how far."""

from __future__ import annotations

import sys
from typing import Any

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import check_grid

# Model, buffers and plan follow from these.
FIXED = (
    'model', 'device', 'dtype', 'weights', 'attn_implementation', 'local_files_only', 'block_size',
    'max_batch',
    'max_pixels', 'cameras', 'cuda_graph')


def check_change(
    configured: MemoryConfig, new: MemoryConfig, config: Any, cache: BoundedCache,
) -> None:
    """
    Refuse what takes a new memory.

    :param configured: the settings the memory was made with.
    :param config: the model's configuration.
    :raises ConfigurationError: with the value, the limit and the way out.
    """
    for name in FIXED:
        before, after = getattr(configured, name), getattr(new, name)
        if after != before:
            raise ConfigurationError(
                f'{name} cannot change from {before!r} to {after!r} while there is a memory; '
                'configure anew, which forgets what was seen unless it is saved and loaded')
    for name, value, most in (
            ('budget', new.budget, cache.allocated_tokens),
            ('the room for questions (max_question_chars, max_new_tokens and session_tokens '
             'together)', new.tail_room, cache.tail_room),
            ('thumbnail_bytes', new.thumbnail_bytes, configured.thumbnail_bytes),
            ('max_evidence', new.max_evidence, sys.maxsize if configured.max_evidence else 0)):
        if value > most:
            raise ConfigurationError(
                f'{name} cannot rise to {value}, memory was set aside for {most}; configure anew')
    check_grid(config, new)
