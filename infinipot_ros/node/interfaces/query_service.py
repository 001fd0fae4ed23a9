# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/query``: a question as a service."""

from __future__ import annotations

import time
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.question_handler import QuestionHandler
from infinipot_ros.node.topics import SERVICE_PROFILE
from infinipot_ros.srv import Query


class QueryService:
    """The service; each request waits for its answer in a thread of the executor."""

    def __init__(self, node: Node, host: MemoryHost, handler: QuestionHandler) -> None:
        self._host = host
        self._handler = handler
        node.create_service(Query, '~/query', self._on_query,
                            qos_profile=SERVICE_PROFILE, callback_group=ReentrantCallbackGroup())

    def _on_query(self, request: Any, response: Any) -> Any:
        handler = self._handler
        return handler.respond(
            response, lambda: handler.result(self._host.ask(handler.question(request))),
            time.monotonic())
