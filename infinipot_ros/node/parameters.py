# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is derived from the table of parameters.

Descriptors, validation, the memory's configuration and the documented table come from ``TABLE``.
Importing this module needs no ROS, so the documentation can be checked anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from infinipot_ros.node.frame_queue import IngestPolicy
from infinipot_ros.node.parameter_table import (
    AT_ONCE,
    AT_START,
    BY_NAME,
    TABLE,
    UNCONFIGURED,
    Parameter,
    Value,
    plain,
)

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor

    from infinipot_ros.visual_memory.memory_config import MemoryConfig


def camera_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the cameras; none where there is one without a name."""
    return tuple(name for name in values['cameras'] if name)


def defaults() -> dict[str, Value]:
    """Return every parameter's default by its name."""
    return {row.name: row.default for row in TABLE}


def problems(values: Mapping[str, object]) -> list[str]:
    """
    Check values against the table, one by one.

    :param values: any number of parameters by name; names that are not in the table pass.
    :return: one sentence per value that is not allowed.
    """
    found = (BY_NAME[name].problem(value) for name, value in values.items() if name in BY_NAME)
    return [sentence for sentence in found if sentence]


def refusal(values: Mapping[str, object], current: Mapping[str, object],
            configured: bool) -> str:
    """
    Decide whether a running node takes new values; nothing is changed here.

    :param values: what somebody wants to set.
    :param current: what is set now; a name that is missing here is just being declared.
    :param configured: whether the node holds a model.
    :return: why not, and what to do instead; the empty string when it may be set.
    """
    wrong = problems(values)
    if wrong:
        return '; '.join(wrong)
    for name, value in values.items():
        row = BY_NAME.get(name)
        if row is None or name not in current or value == current[name]:
            continue
        if row.changes == AT_START:
            return f"'{name}' is read at the start only: start the node again with {name}:={value}"
        if row.changes == UNCONFIGURED and configured:
            return (f"'{name}' cannot change while a model is loaded: bring the node to "
                    "'unconfigured' (lifecycle transitions deactivate, cleanup), set it, then "
                    'configure and activate again; the memory starts empty')
    return ''


def memory_config(values: Mapping[str, Any]) -> MemoryConfig:
    """Build the memory's configuration from the values of every parameter."""
    from infinipot_ros.visual_memory.memory_config import MemoryConfig
    settings = {row.setting: values[row.name] for row in TABLE if row.setting}
    settings['cameras'] = camera_names(values)
    shares = tuple(values['memory.camera_shares'])
    settings['camera_shares'] = shares if len(shares) > 1 else ()
    for ratio in ('tar_ratio', 'recent_ratio'):
        if settings[ratio] < 0:
            settings[ratio] = None
    # Stamps that reach the memory have passed the queue's rules: one that lies back is a jump.
    return MemoryConfig(**settings, max_backward_jump_s=0.0)


#: Settings a loaded model takes while it runs (``VisualMemory.change``), by parameter.
LIVE_SETTINGS = tuple(row.name for row in TABLE if row.setting and row.changes == AT_ONCE)


def ingest_policy(values: Mapping[str, Any]) -> IngestPolicy:
    """Build the rules of the frame queue from the values of every parameter."""
    return IngestPolicy(
        fps=values['ingest.fps'],
        queue_size=values['ingest.queue_size'],
        keep_last=values['ingest.queue_policy'] == 'keep_last',
        max_backward_jump_ns=round(values['ingest.max_backward_jump'] * 1e9),
    )


def descriptor(row: Parameter) -> ParameterDescriptor:
    """Build a row's ROS descriptor (needs ROS)."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    built = ParameterDescriptor(
        name=row.name,
        description=row.description.replace('`', ''),
        additional_constraints=f'{row.limits()}; changes are taken {row.changes}'.lstrip('; '),
        read_only=row.changes == AT_START,
        # rclpy takes an empty list for one of bytes.
        dynamic_typing=isinstance(row.default, list),
    )
    if row.low is not None and row.high is not None:
        if isinstance(row.default, float):
            built.floating_point_range = [
                FloatingPointRange(from_value=float(row.low), to_value=float(row.high))]
        else:
            built.integer_range = [
                IntegerRange(from_value=int(row.low), to_value=int(row.high), step=1)]
    return built


def help_text() -> str:
    """Return what ``infinipot_node --help`` prints, in 80 columns."""
    lines = [
        'usage: infinipot_node [--help] [--ros-args -p NAME:=VALUE ... -r OLD:=NEW ...',
        '                      --params-file FILE]', '',
        'Remember what a camera sees in a memory of fixed size, and answer questions.',
        'Images come on the topic image (-r image:=/camera/image_raw), questions on the',
        'service ~/query. ros2 launch infinipot_ros infinipot.launch.py starts it, too.',
        '', 'parameters, with their defaults:']
    for row in TABLE:
        lines.append(f'  {row.name}:={plain(row.default)}')
        lines += wrap(row.description.replace('`', ''), 80, initial_indent='      ',
                      subsequent_indent='      ')
    return '\n'.join(lines) + '\n'


def markdown_table() -> str:
    """Return the table as Markdown, for ``docs/reference/parameters.md``."""
    lines = ['| Parameter | Type | Default | Allowed | Changes | What it does |',
             '|---|---|---|---|---|---|']
    for row in TABLE:
        allowed = ', '.join(f'`{plain(c)}`' for c in row.choices) or row.limits()
        lines.append(f'| `{row.name}` | {row.type_name} | `{plain(row.default)}` | {allowed} '
                     f'| {row.changes} | {row.description} |')
    return '\n'.join(lines) + '\n'
