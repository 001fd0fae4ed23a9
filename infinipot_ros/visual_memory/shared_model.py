# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Load a model once, for several memories; identify it by its weights."""

from __future__ import annotations

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.vlm.cpu_units import use_few_threads
from infinipot_ros.vlm.families.model_family import ModelFamily
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.knowledge import caveat_of
from infinipot_ros.vlm.loading import load_config, load_model, weights_digest
from infinipot_ros.vlm.model import VisionLanguageModel

__all__ = [
    'load_shared_model', 'model_caveat', 'model_family', 'use_few_threads', 'weights_digest']


def load_shared_model(settings: MemoryConfig) -> VisionLanguageModel:
    """
    Load the model for memories with these settings.

    :raises ConfigurationError: it cannot be loaded or used, with the way out.
    """
    return load_model(
        settings.model, device=settings.device, dtype=settings.dtype,
        attn_implementation=settings.attn_implementation, weights=settings.weights,
        local_files_only=settings.local_files_only)


def model_family(model: str, *, local_files_only: bool = True) -> ModelFamily:
    """
    Return the family of a model, from its configuration alone.

    :raises ConfigurationError: its configuration cannot be read, or no family knows it.
    """
    return make_family(load_config(model, local_files_only=local_files_only))


def model_caveat(model: str, *, local_files_only: bool = True) -> str:
    """
    Return what to know before a model's answers are believed; empty: nothing.

    :param model: a folder, a bundled name, or a hub id.
    :raises ConfigurationError: its configuration cannot be read.
    """
    return caveat_of(load_config(model, local_files_only=local_files_only))
