# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Find the family of a model by the ``model_type`` of its config.json.

A family is one file of this folder with a class that names its ``MODEL_TYPES``. The names are read
without running the files.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from infinipot_ros.vlm.families.model_family import ModelFamily


def _read_constants(path: Path) -> dict[str, tuple[str, str, str, str]]:
    """Return, by model type, module, class, example and first transformers of a Python file."""
    found = {}
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if not isinstance(node, ast.ClassDef):
            continue
        constants = {
            ast.unparse(each.targets[0]): each.value for each in node.body
            if isinstance(each, ast.Assign)}
        if 'MODEL_TYPES' in constants:
            example = ast.literal_eval(constants['EXAMPLE'])
            needed = constants.get('TRANSFORMERS')
            release = '' if needed is None else ast.literal_eval(needed)
            for kind in ast.literal_eval(constants['MODEL_TYPES']):
                found[kind] = path.stem, node.name, example, release
    return found


_FAMILIES = {
    kind: place for path in sorted(Path(__file__).parent.glob('*.py'))
    for kind, place in _read_constants(path).items()}

MODEL_TYPES = tuple(_FAMILIES)


def make_family(config: Any) -> ModelFamily:
    """
    Build the family of a model.

    :param config: its configuration, as transformers read it.
    """
    # From the class: an instance of 4.57.1 may have the type of its language model.
    module, name, *_ = _FAMILIES[type(config).model_type]
    family: ModelFamily = getattr(
        importlib.import_module(f'{__package__}.{module}'), name)(config)
    return family


def check_model_type(kind: object, model: str, note: str = '') -> None:
    """
    Check that a family knows a model type.

    :param kind: what config.json says, which may be anything.
    :param model: what the user called it; ``note``, more to say.
    :raises ConfigurationError: none does; the message names those there are and the nearest. Or
        it takes a later transformers.
    """
    if isinstance(kind, str) and kind in _FAMILIES:
        _check_release(kind, model)
        return
    near = difflib.get_close_matches(str(kind), MODEL_TYPES, n=1)
    example = _FAMILIES[near[0] if near else 'qwen2_5_vl'][2]
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )
    text_only = str(kind).endswith('_text') or (
        str(kind) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and str(kind) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    eyes = ', a language model without eyes (no vision tower)' if text_only else ''
    raise ConfigurationError(
        f'{model} is a {kind!r:.80} model{eyes}; this memory works with {", ".join(MODEL_TYPES)} '
        f'checkpoints, such as {example}{note}')


def _check_release(kind: str, model: str) -> None:
    needed, installed = _FAMILIES[kind][3], installed_release()
    if needed and _numbers(installed) < _numbers(needed):
        raise ConfigurationError(
            f'{model} is a {kind} model, which takes transformers {needed} or later; '
            f"{installed} is installed: pip install 'transformers>={needed},<6'")


def installed_release() -> str:
    """Return the version of transformers that is installed."""
    return version('transformers')


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split('.')[:2])
