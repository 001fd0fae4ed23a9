# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the worker's thread builds when the node is configured: the memory, its dialogues.

The imports are inside: they bring torch, which takes seconds, and the thread has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import StorageError
from infinipot_ros.node import parameters
from infinipot_ros.node.logs import Log
from infinipot_ros.node.storage_path import OLD_DEFAULT_NAME, memory_name, saved_path
from infinipot_ros.visual_memory.sessions import Sessions

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.visual_memory import VisualMemory


def build_memory(values: Mapping[str, Any], node: str, log: Log) -> VisualMemory:
    """
    Load the model, allocate the memory, and load a saved one where that is configured.

    :param values: every parameter.
    :param node: the node's fully qualified name.
    :raises ConfigurationError: it cannot be done, and why.
    """
    from infinipot_ros.visual_memory.shared_model import use_few_threads
    from infinipot_ros.visual_memory.visual_memory import VisualMemory
    memory = VisualMemory(parameters.memory_config(values))
    use_few_threads(memory.plan.weights, memory.settings.device)
    for warning in memory.warnings:
        log.warn(warning, warning)
    if values['storage.load_at_configure']:
        _load(memory, values, node, log)
    if values['storage.autosave_period']:
        _check_autosave(memory, values, node, log)
    return memory


def build_sessions(values: Mapping[str, Any]) -> Sessions:
    """Make the dialogues."""
    return Sessions(
        max_sessions=values['session.max_sessions'], max_turns=values['session.max_turns'],
        expiry_s=values['session.expiry'])


def _load(memory: VisualMemory, values: Mapping[str, Any], node: str, log: Log) -> None:
    """Load what was saved, if that can be; a bad file never keeps the node from starting."""
    from infinipot_ros.visual_memory.storage import load, load_at_start, was_cut_off
    directory, name = values['storage.directory'], values['storage.name']
    try:
        path = saved_path(directory, memory_name(name, node))
        if was_cut_off(path):
            log.warn('cut_off', f'the last save to {path} was cut off: what was remembered then '
                     'is lost, the file is the one before it')
        loaded = load_at_start(memory, path)
        if loaded is None and not name.strip():
            # Other nodes may come for it, too: it is read and left as it is.
            old = saved_path(directory, OLD_DEFAULT_NAME)
            if old.exists():
                loaded = load(memory, old)
                log.info(f'there is no {path.name} yet, so {old.name} was loaded, the file of '
                         f'every node before; saves go to {path.name} from now on')
    except StorageError as error:
        loaded = error
    if loaded is None:
        log.info('nothing was saved before: the memory starts empty')
    elif isinstance(loaded, StorageError):
        log.error(f'the saved memory is not taken, the memory starts empty: {loaded}')
    else:
        log.info(loaded.describe())


def _check_autosave(
    memory: VisualMemory, values: Mapping[str, Any], node: str, log: Log,
) -> None:
    """Warn of what every autosave would be refused for, before there is something to lose."""
    from infinipot_ros.visual_memory.storage import check_replaceable
    try:
        check_replaceable(memory, saved_path(
            values['storage.directory'], memory_name(values['storage.name'], node)), False)
    except StorageError as error:
        log.warn('storage', f'nothing will be saved by itself: {error}. With '
                 'storage.load_at_configure the node goes on with what is there')
