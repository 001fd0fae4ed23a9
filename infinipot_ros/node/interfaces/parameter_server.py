# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node's parameters, and their changes while it runs.

Each change is checked against the table first, then, where it is about the memory, by the memory
itself: only it knows whether its buffers allow it. Whoever sets a parameter waits for that,
because what is refused must not be set.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.node import parameters
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.parameter_table import RENAMED

#: Overrides that rclpy itself understands.
FOREIGN_PARAMETERS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


class ParameterServer:
    """
    Declares every parameter of the table and accepts changes.

    :raises Exception: whatever rclpy raises about overrides of a wrong type or value.
    """

    def __init__(self, node: Node, host: MemoryHost) -> None:
        self._node = node
        self._host = host
        #: Held while parameters are set, and while a configuration reads them.
        self.lock = threading.Lock()
        node.add_on_set_parameters_callback(self._on_set)
        # By their present names; of two names for one parameter the new one wins.
        overrides = getattr(node, '_parameter_overrides', {})
        given = {each.name: _plain(each.value) for each in self.adapt(
            sorted(overrides.values(), key=lambda each: each.name not in RENAMED))
            if each.value is not None}
        for row in parameters.TABLE:
            node.declare_parameter(
                row.name, given.get(row.name, row.default), parameters.descriptor(row),
                ignore_override=row.name in given)
        # rclpy ignores overrides nobody declared, so a typing error would pass unseen.
        for name in overrides:
            if (name not in parameters.BY_NAME and name not in RENAMED
                    and not name.startswith(FOREIGN_PARAMETERS)):
                node.get_logger().warning(f"parameter '{name}' is unknown and ignored")

    def adapt(self, changed: Sequence[Parameter]) -> list[Parameter]:
        """
        Return parameters by their present names, and integers as doubles where these are meant.

        It warns about old names.
        """
        for each in changed:
            if each.name in RENAMED:
                self._node.get_logger().warning(
                    f"parameter '{each.name}' is now '{RENAMED[each.name]}': use that, "
                    'the old name works in this release only')
        return [_as_declared(Parameter(RENAMED.get(each.name, each.name), each.type_, each.value))
                for each in changed]

    def values(self) -> dict[str, Any]:
        """Return all values by name."""
        return {row.name: self._node.get_parameter(row.name).value for row in parameters.TABLE
                if self._node.has_parameter(row.name)}

    def _on_set(self, changed: list[Any]) -> SetParametersResult:
        try:
            wanted = {each.name: _plain(each.value) for each in changed}
            reason = self._apply(wanted, self.values())
        except Exception as error:
            reason = self._host.report_fault(error)
        return SetParametersResult(successful=not reason, reason=reason)

    def _apply(self, wanted: dict[str, Any], known: dict[str, Any]) -> str:
        """Make the changes; return why not, and what to do instead, if they are refused."""
        configured = self._host.configured
        reason = parameters.refusal(wanted, known, configured)
        if reason or not configured:
            return reason
        if self._host.phase == 'configuring':
            return 'the node is loading its model: set it again when it is inactive or active'
        values = {**known, **wanted}
        if any(values[name] != known[name] for name in parameters.LIVE_SETTINGS):
            config = parameters.memory_config(values)
            try:
                self._host.run('change', lambda memory: memory.change(config))
            except ConfigurationError as error:
                return (f"{error} (bring the node to 'unconfigured' by the transitions deactivate "
                        'and cleanup, set it there, configure and activate)')
            except InfinipotError as error:
                return str(error)
        self._host.set_ingest_policy(parameters.ingest_policy(values))
        return ''


def _as_declared(given: Parameter) -> Parameter:
    """Return ``fps: 2`` as the double it is declared as."""
    row = parameters.BY_NAME.get(given.name)
    if row is not None and row.type_name == 'double' and type(given.value) is int:
        return Parameter(given.name, Parameter.Type.DOUBLE, float(given.value))
    if row is not None and row.type_name == 'double[]' and (
            given.type_ == Parameter.Type.INTEGER_ARRAY):
        return Parameter(given.name, Parameter.Type.DOUBLE_ARRAY, list(map(float, given.value)))
    return given


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | array) else value
