# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is used of transformers' models, imported in one place.

Importing them imports torchvision where that is installed, although nothing here uses it; one that
was built for another torch makes the import fail, and the error does not say so.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

import torch

from infinipot_ros.errors import ConfigurationError


def _explain(error: Exception) -> Exception:
    """Return what to raise for an import that failed: the reason, if it is torchvision."""
    try:
        importlib.import_module('torchvision')
    except ModuleNotFoundError as missing:
        if missing.name == 'torchvision':
            return error
        reason: Exception = missing
    except Exception as broken:
        reason = broken
    else:
        return error
    try:
        found = version('torchvision')
    except PackageNotFoundError:
        found = 'of unknown version'
    text = ' '.join(str(reason).split())
    return ConfigurationError(
        f'torchvision {found} does not work with torch {torch.__version__} '
        f'({type(reason).__name__}: {text:.200}), and transformers imports it wherever it is '
        'installed; it is not needed here: pip uninstall torchvision, or install the torchvision '
        'that was built for this torch')


try:
    from transformers import AttentionInterface as AttentionInterface
    from transformers import AttentionMaskInterface as AttentionMaskInterface
    from transformers import AutoModelForImageTextToText as AutoModelForImageTextToText
    from transformers import AutoTokenizer as AutoTokenizer
    from transformers import GenerationConfig as GenerationConfig
    from transformers.masking_utils import (
        ALL_MASK_ATTENTION_FUNCTIONS as ALL_MASK_ATTENTION_FUNCTIONS,
    )
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as ALL_ATTENTION_FUNCTIONS
except Exception as failed:
    raise _explain(failed) from failed
