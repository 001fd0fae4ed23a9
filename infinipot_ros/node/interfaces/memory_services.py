# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/reset``, ``~/pause``, ``~/save`` and ``~/load``.

They work on a configured node, active or not. All but a pause, which holds at once, are tasks for
the worker, in turn with the questions, so a question asked before a reset is answered from what
was remembered then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.memory_saver import MemorySaver
from infinipot_ros.node.messages import reply
from infinipot_ros.srv import LoadMemory, SaveMemory


class MemoryServices:
    """
    What clients do to the memory besides asking it.

    :param after: called after each request: what it changed is to be published.
    """

    def __init__(self, node: Node, host: MemoryHost, saver: MemorySaver,
                 after: Callable[[], None]) -> None:
        self._host = host
        self._saver = saver
        self._after = after
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
                (Trigger, 'reset', self._on_reset), (SetBool, 'pause', self._on_pause),
                (SaveMemory, 'save', self._on_save), (LoadMemory, 'load', self._on_load)):
            node.create_service(kind, f'~/{name}', callback, callback_group=group)

    def _on_reset(self, _request: Any, response: Any) -> Any:
        return self._reply(response, lambda: self._host.run(
            'reset', self._host.worker_for('reset').reset))

    def _on_pause(self, request: Any, response: Any) -> Any:
        return self._reply(
            response, lambda: self._host.worker_for('pause').queue.pause(request.data))

    def _on_save(self, request: Any, response: Any) -> Any:
        def save() -> None:
            saved = self._saver.save(request.path)
            response.path, response.bytes = str(saved.path), saved.size

        return self._reply(response, save)

    def _on_load(self, request: Any, response: Any) -> Any:
        def load() -> None:
            response.memory_tokens = self._saver.load(request.path)

        return self._reply(response, load)

    def _reply(self, response: Any, act: Callable[[], object]) -> Any:
        return reply(self._host, response, act, self._after)
