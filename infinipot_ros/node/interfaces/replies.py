# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a service says of how it went: never an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import InfinipotError

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode


def unexpected(node: InfinipotNode, error: Exception) -> str:
    """Count and report a fault, and return what whoever asked for it is told."""
    node.report_fault(error)
    return f"{type(error).__name__}: {error}; see the node's log"


def reply(node: InfinipotNode, response: Any, act: Callable[[], object]) -> Any:
    """
    Act, and say how it went in the response's ``success`` and ``message``, and on ``~/status``.

    :param act: may set other fields of the response; whatever it raises becomes the message.
    """
    try:
        act()
        response.success = True
    except InfinipotError as error:
        response.success, response.message = False, str(error)
    except Exception as error:
        response.success, response.message = False, unexpected(node, error)
    node.publish_status()
    return response
