# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The parameters of the node, in one table.

Descriptors, validation, the observer's settings and the README's table all come from ``TABLE``.
Importing this module needs no ROS, so the documentation can be checked anywhere:
``python -m infinipot_ros.node.parameters`` prints the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infinipot_ros.node.ingest import IngestPolicy

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor

    from infinipot_ros.observer.settings import ObserverSettings

Value = bool | int | float | str

#: When a change of a parameter is taken: while the node runs, only while it is unconfigured
#: (the model or its memory has to be built anew), or never after the start.
AT_ONCE = 'at once'
UNCONFIGURED = 'unconfigured'
AT_START = 'at start'


@dataclass(frozen=True)
class Parameter:
    """One row: its name, default (which gives the type), limits, and when a change is taken."""

    name: str
    default: Value
    description: str
    changes: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    setting: str = ''

    @property
    def type_name(self) -> str:
        """The type as ROS writes it."""
        names = {bool: 'bool', int: 'integer', float: 'double', str: 'string'}
        return names[type(self.default)]

    def limits(self) -> str:
        """Return the allowed values in words, empty when every value of the type is allowed."""
        if self.choices:
            return ', '.join(self.choices)
        if self.low is not None and self.high is not None:
            return f'{_plain(self.low)} to {_plain(self.high)}'
        return ''

    def problem(self, value: object) -> str:
        """Say what is wrong with a value, or return the empty string."""
        if type(value) is not type(self.default):
            return (f"'{self.name}' is a {self.type_name}, not {value!r}; "
                    f'write it like {_plain(self.default)}')
        if self.choices and value not in self.choices:
            return f"'{self.name}' is {value!r}, but must be one of: {self.limits()}"
        if self.low is not None and self.high is not None:
            assert isinstance(value, int | float)
            if not self.low <= value <= self.high:
                return f"'{self.name}' is {value}, but must be within {self.limits()}"
        if isinstance(value, str) and not value.strip():
            return f"'{self.name}' is empty"
        return ''


#: ``memory.policies.registry.POLICY_NAMES``, written out so that reading the table needs no torch.
POLICIES = ('full', 'recent', 'uniform', 'swa', 'random', 'rarity', 'infinipot_v', 'tar',
            'van', 'infinipot_v/paper', 'infinipot_v/official', 'infinipot_v/true_coordinates')

TABLE = (
    Parameter('model', 'infinipot-tiny',
              'The Qwen2-VL or Qwen2.5-VL to load: a directory, a hub id that is already on this '
              'machine, or `infinipot-tiny`, the bundled one.', UNCONFIGURED, setting='model'),
    Parameter('device', 'cpu', 'Where the model runs: `cpu`, `cuda`, `cuda:0`, ...',
              UNCONFIGURED, setting='device'),
    Parameter('dtype', 'float32', 'The number format of weights and memory.',
              UNCONFIGURED, choices=('float32', 'float16', 'bfloat16'), setting='dtype'),
    Parameter('attn_implementation', 'sdpa', 'The attention kernel transformers uses.',
              UNCONFIGURED, choices=('sdpa', 'eager', 'flash_attention_2'),
              setting='attn_implementation'),
    Parameter('local_files_only', True,
              'Never download a model. `false` lets transformers fetch it from the hub.',
              UNCONFIGURED, setting='local_files_only'),
    Parameter('image_transport', 'raw',
              '`raw` subscribes sensor_msgs/Image on `image`, `compressed` '
              'sensor_msgs/CompressedImage on `image/compressed`.', UNCONFIGURED,
              choices=('raw', 'compressed')),
    Parameter('autostart', True,
              'Configure and activate without a lifecycle manager; if that fails, the process '
              'ends with status 1.', AT_START),
    Parameter('memory.policy', 'rarity', 'What decides which tokens stay.',
              UNCONFIGURED, choices=POLICIES, setting='policy'),
    Parameter('memory.budget', 4096,
              'The most visual tokens a layer and KV head ever holds; at least those of one grid, '
              '128 at the default `ingest.max_pixels`.',
              UNCONFIGURED, 8, 1_000_000_000, setting='budget'),
    Parameter('memory.keep_ratio', 0.75,
              'The share of the budget left after a compression.',
              UNCONFIGURED, 0.05, 0.99, setting='keep_ratio'),
    Parameter('memory.tar_ratio', -1.0,
              'The share of what is kept that temporal redundancy (TaR) chooses; value norms '
              '(VaN) choose the rest. Negative: as the policy has it.',
              UNCONFIGURED, -1.0, 1.0, setting='tar_ratio'),
    Parameter('memory.recent_ratio', -1.0,
              'The share of the grids that counts as recent and stays whole. Negative: as the '
              'policy has it.', UNCONFIGURED, -1.0, 0.9, setting='recent_ratio'),
    Parameter('block_size', 2, 'Frames encoded in one forward pass.',
              UNCONFIGURED, 2, 64, setting='block_size'),
    Parameter('ingest.fps', 2.0,
              'Frames a second of header time that are remembered, the rest is dropped as '
              '`rate`; 0 takes every frame.', AT_ONCE, 0.0, 240.0),
    Parameter('ingest.queue_size', 8, 'Frames that may wait for the model.', AT_ONCE, 1, 1024),
    Parameter('ingest.queue_policy', 'keep_last',
              'Which frame a full queue drops (as `queue`): the oldest, or the new one.',
              AT_ONCE, choices=('keep_last', 'drop_new')),
    Parameter('ingest.max_pixels', 128 * 28 * 28,
              'Frames are resized to at most this many pixels; 784 pixels make a token.',
              UNCONFIGURED, 784, 16_777_216, setting='max_pixels'),
    Parameter('ingest.max_backward_jump', 1.0,
              'Seconds a stamp may lie before the last one and be dropped as `stale_stamp`; a '
              'larger jump (a bag that loops) starts a new segment.', AT_ONCE, 0.0, 86_400.0),
    Parameter('ingest.starvation_timeout', 5.0,
              'Seconds without any image after which /diagnostics warns.',
              AT_ONCE, 0.1, 86_400.0),
    Parameter('query.max_new_tokens', 64,
              'The longest answer in tokens; a request may ask for less, 0 asks for this.',
              UNCONFIGURED, 1, 4096, setting='max_new_tokens'),
    Parameter('query.max_question_chars', 1000, 'The longest question in characters.',
              UNCONFIGURED, 1, 100_000, setting='max_question_chars'),
    Parameter('query.timeout', 30.0,
              'Seconds from the request to its answer, waiting included.',
              AT_ONCE, 0.01, 86_400.0),
    Parameter('status.period', 1.0, 'Seconds between two messages on `~/status`.',
              AT_START, 0.05, 3600.0),
)
BY_NAME = {row.name: row for row in TABLE}


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


def observer_settings(values: Mapping[str, Any]) -> ObserverSettings:
    """Build the observer's settings from the values of every parameter."""
    from infinipot_ros.observer.settings import ObserverSettings
    settings = {row.setting: values[row.name] for row in TABLE if row.setting}
    for ratio in ('tar_ratio', 'recent_ratio'):
        if settings[ratio] < 0:
            settings[ratio] = None
    # Stamps that reach the observer have passed the queue's rules: one that lies back is a jump.
    return ObserverSettings(**settings, max_backward_jump_s=0.0)


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
    )
    if row.low is not None and row.high is not None:
        if isinstance(row.default, float):
            built.floating_point_range = [
                FloatingPointRange(from_value=float(row.low), to_value=float(row.high))]
        else:
            built.integer_range = [
                IntegerRange(from_value=int(row.low), to_value=int(row.high), step=1)]
    return built


def markdown_table() -> str:
    """Return the table as Markdown; the README holds it between its ``parameters`` marks."""
    lines = ['| Parameter | Type | Default | Allowed | Changes | What it does |',
             '|---|---|---|---|---|---|']
    for row in TABLE:
        allowed = ', '.join(f'`{c}`' for c in row.choices) or row.limits()
        lines.append(f'| `{row.name}` | {row.type_name} | `{_plain(row.default)}` | {allowed} '
                     f'| {row.changes} | {row.description} |')
    return '\n'.join(lines) + '\n'


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value)


if __name__ == '__main__':
    print(markdown_table(), end='')
