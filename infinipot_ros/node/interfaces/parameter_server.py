# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Parameters that change while the node runs.

Each change is checked against the table first, then, where it is about the memory, asked of the
observer: only that knows whether its buffers allow it. Whoever sets a parameter waits for that,
because what is refused must not be set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult

from infinipot_ros.errors import InfinipotError
from infinipot_ros.node import parameters
from infinipot_ros.node.interfaces.replies import unexpected

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode

#: Overrides that rclpy itself understands.
FOREIGN_PARAMETERS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


class ParameterServer:
    """
    Declares every parameter of the table and takes changes.

    :param node: the node they belong to.
    :raises Exception: whatever rclpy says about overrides of a wrong type or value.
    """

    def __init__(self, node: InfinipotNode) -> None:
        self._node = node
        node.add_on_set_parameters_callback(self._on_set)
        for row in parameters.TABLE:
            node.declare_parameter(row.name, row.default, parameters.descriptor(row))
        # rclpy ignores overrides nobody declared, so a typing error would pass unseen.
        for name in getattr(node, '_parameter_overrides', {}):
            if name not in parameters.BY_NAME and not name.startswith(FOREIGN_PARAMETERS):
                node.get_logger().warning(f"parameter '{name}' is unknown and ignored")

    def values(self) -> dict[str, Any]:
        """Return all values by name."""
        return {row.name: self._node.value(row.name) for row in parameters.TABLE
                if self._node.has_parameter(row.name)}

    def _on_set(self, changed: list[Any]) -> SetParametersResult:
        try:
            wanted = {each.name: _plain(each.value) for each in changed}
            reason = self._take(wanted, self.values())
        except Exception as error:
            reason = unexpected(self._node, error)
        return SetParametersResult(successful=not reason, reason=reason)

    def _take(self, wanted: dict[str, Any], known: dict[str, Any]) -> str:
        """Make the changes; return why not, and what to do instead, if they are refused."""
        worker = self._node.worker
        reason = parameters.refusal(wanted, known, worker is not None)
        if reason or worker is None:
            return reason
        values = {**known, **wanted}
        if any(values[name] != known[name] for name in parameters.LIVE_SETTINGS):
            settings = parameters.observer_settings(values)
            try:
                self._node.controls.run('change', lambda observer: observer.change(settings))
            except InfinipotError as error:
                return (f"{error} (bring the node to 'unconfigured' by the transitions deactivate "
                        'and cleanup, set it there, configure and activate)')
        worker.set_policy(parameters.ingest_policy(values))
        self._node.poses.max_gap_ns = parameters.pose_gap_ns(values)
        return ''


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
