# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Find a model's folder by name, and check that it is complete and holds data only.

Bundled names, folders and hub ids resolve to a folder on this machine. Its contents are checked so
that transformers reads only safetensors and never runs code that came with a model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import disable_progress_bars
from safetensors import safe_open

from infinipot_ros.errors import ConfigurationError

CONFIG = 'config.json'
WEIGHTS = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
ADAPTERS = ('adapter_config.json', 'adapter_model.safetensors', 'adapter_model.bin')
PICKLED = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.pkl')
#: Files of a hub repository that are read besides weights: configurations and tokenizers.
DESCRIPTION = ('*.json', '*.txt', '*.model', '*.jinja')


def bundled_model_folders() -> list[Path]:
    """Return the folders of bundled models: source tree, colcon share, pip share."""
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    shares = [Path(p) / 'share' / 'infinipot_ros' / 'models' for p in prefixes if p]
    return [Path(__file__).resolve().parents[2] / 'models', *shares]


def resolve_model(name: str) -> str:
    """
    Turn a bare bundled name like ``infinipot-tiny`` into its folder.

    A path, whose ``~`` is expanded, or a hub id is returned as it is.
    """
    path = os.path.expanduser(name)
    if path and not Path(path).is_dir() and Path(path).name == path:
        for folder in bundled_model_folders():
            if (folder / path / CONFIG).is_file():
                return str(folder / path)
    return path


def find_config(name: str, *, local_files_only: bool = True) -> Path:
    """
    Return the folder that holds a model's ``config.json``; weights may be missing.

    :param local_files_only: False fetches the file from the hub if it is missing or outdated.
    :raises ConfigurationError: there is none; the message says how to get it.
    """
    path = resolve_model(name)
    if not path:
        raise ConfigurationError(
            "no model is set; give a folder, a hub id, or 'infinipot-tiny' for the bundled one")
    folder = Path(path)
    if folder.is_dir():
        _refuse_adapter(folder)
        if not (folder / CONFIG).is_file():
            raise ConfigurationError(
                f'{folder} has no {CONFIG}, so it is not a model folder; check the model '
                'parameter, or fetch the model again')
        return folder
    if folder.is_absolute():
        raise ConfigurationError(
            f'there is no model folder {path}; check the model parameter, or give a hub id')
    try:
        if not local_files_only:
            _fetch(path, (CONFIG, ADAPTERS[0]))
        found = try_to_load_from_cache(path, CONFIG)
        for each in (ADAPTERS[0], CONFIG):
            if isinstance(place := try_to_load_from_cache(path, each), str):
                _refuse_adapter(Path(place).parent)
    except HFValidationError as error:
        raise ConfigurationError(
            f'there is no model folder {path}, and it is not a hub id (owner/name) either; check '
            'the model parameter') from error
    if not isinstance(found, str):
        raise ConfigurationError(
            f'model {path!r} is not on this machine: there is no such folder, and no {CONFIG} of '
            f'it in {constants.HF_HUB_CACHE}; fetch it with `hf download {path}`, or let it be '
            'downloaded at start: parameter local_files_only false, or --allow-download on the '
            'command line')
    return Path(found).parent


def find_model(name: str, *, local_files_only: bool = True) -> Path:
    """
    Return the folder of a complete model: configuration and all weights files of its index.

    :param local_files_only: False fetches from the hub what is missing; safetensors only.
    :raises ConfigurationError: files are missing, cut short, pickled, or outside the folder;
        the message names them and the way out.
    """
    folder = find_config(name, local_files_only=local_files_only)
    path = resolve_model(name)
    on_hub = not Path(path).is_dir()
    if on_hub and not local_files_only:
        _fetch(path, DESCRIPTION)
        _fetch(path, weight_files(folder) or [WEIGHTS])
    _refuse_other_weights(folder)
    way_out = 'copy or fetch the model again'
    if on_hub:
        way_out = (
            f'fetch the rest with `hf download {path}`, or let it be downloaded at start: '
            'parameter local_files_only false, or --allow-download on the command line'
        ) if local_files_only else 'the hub does not have them either: take another model'
    files = weight_files(folder)
    if not files:
        raise ConfigurationError(_without_weights(path, folder, way_out))
    missing = [each for each in files if not (folder / each).is_file()]
    if missing:
        raise ConfigurationError(
            f'model {path!r} lacks {len(missing)} of its {len(files)} weights files, {missing[0]} '
            f'first; {way_out}')
    for each in files:
        try:
            # Reads the header and compares it with the file's size.
            with safe_open(folder / each, framework='pt'):
                pass
        except Exception as error:
            again = (
                f'fetch it again: `hf download {path} {each} --force-download`' if on_hub
                else 'copy or fetch it again')
            raise ConfigurationError(
                f'weights file {folder / each} of model {path!r} is cut short or damaged '
                f'({reason_of(error)}); {again}') from error
    return folder


def read_json(file: Path) -> dict[str, Any]:
    """
    Read a model's JSON file.

    :raises ConfigurationError: not readable, or not a JSON object.
    """
    try:
        read = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f'{file} cannot be loaded ({reason_of(error)}); delete it and fetch the model again',
        ) from error
    if not isinstance(read, dict):
        raise ConfigurationError(
            f'{file} cannot be loaded (it is not a JSON object); delete it and fetch the '
            'model again')
    return read


def weight_files(folder: Path) -> list[str]:
    """
    Return the safetensors files of a model's weights, as transformers chooses them.

    :return: all that the index names, even if missing; empty: there are no weights.
    :raises ConfigurationError: the index names anything but safetensors files beside it.
    """
    named: dict[str, None] = {}
    if (folder / INDEX).is_file():
        places = read_json(folder / INDEX).get('weight_map')
        if not isinstance(places, dict) or not places:
            raise ConfigurationError(
                f'{folder / INDEX} has no weight_map, so it names no weights; delete it and '
                'fetch the model again')
        for weight, place in places.items():
            if not _lies_beside(place):
                raise ConfigurationError(
                    f'{folder / INDEX} names {place!r} for the weight {weight!r}; only '
                    '*.safetensors files beside the index are read. Fetch the model from where '
                    'you trust it, or save it again with save_pretrained')
            named[place] = None
    return [WEIGHTS] if (folder / WEIGHTS).is_file() else list(named)


def reason_of(error: BaseException) -> str:
    """Return an error's message in one line of at most 500 characters."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else f'{text[:497]}...'


def _lies_beside(place: object) -> bool:
    # A backslash separates paths on other systems, and a NUL ends a name early.
    return (
        isinstance(place, str) and place.endswith('.safetensors')
        and not any(sign in place for sign in '/\\\0'))


def _refuse_other_weights(folder: Path) -> None:
    explicit = read_json(folder / CONFIG).get('transformers_weights')
    if explicit is not None:
        raise ConfigurationError(
            f'{folder / CONFIG} sets transformers_weights to {explicit!r}; weights are read from '
            f'{WEIGHTS} or {INDEX} only: remove the entry, or save the model again with '
            'save_pretrained')


def merge_advice(base: str) -> str:
    """Return how an adapter becomes part of its model, as text."""
    return (
        f'merge it into {base} first, in Python with peft: '
        'PeftModel.from_pretrained(base_model, adapter_folder).merge_and_unload()'
        ".save_pretrained(new_folder), then copy the base model's tokenizer there")


def _refuse_adapter(folder: Path) -> None:
    """:raises ConfigurationError: a folder holds an adapter (LoRA), alone or beside weights."""
    there = [each for each in ADAPTERS if (folder / each).is_file()]
    if not there:
        return
    base = None
    if there[0] == ADAPTERS[0]:
        base = read_json(folder / ADAPTERS[0]).get('base_model_name_or_path')
    named = isinstance(base, str) and base
    alone = '' if weight_files(folder) else ' and no weights of a model'
    raise ConfigurationError(
        f'{folder} holds an adapter ({there[0]}) of '
        f'{f"the base model {base!r}" if named else "a base model that it does not name"}{alone}; '
        f'{merge_advice(repr(base) if named else "its base model")}; where that is done, move the '
        'adapter files away')


def _without_weights(path: str, folder: Path, way_out: str) -> str:
    pickled = sorted(file.name for pattern in PICKLED for file in folder.glob(pattern))
    if pickled:
        return (
            f'model {path!r} has pickled weights only ({pickled[0]}); reading them can run code, '
            'so they are never opened. Take a version of it in safetensors; or, where you trust '
            'its source, convert it in Python: AutoModelForImageTextToText.from_pretrained'
            '(folder).save_pretrained(new_folder), and copy the tokenizer')
    return f'model {path!r} has no weights ({WEIGHTS} or {INDEX}) in {folder}; {way_out}'


def _fetch(path: str, patterns: tuple[str, ...] | list[str]) -> None:
    # Progress bars do not belong in a node's log.
    disable_progress_bars()
    try:
        # Top level only: no model reads from subfolders.
        snapshot_download(path, allow_patterns=list(patterns), ignore_patterns='*/*')
    except HFValidationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f'model {path!r} cannot be fetched from the hub: {reason_of(error)}') from error
