# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/reset``, ``~/pause``, ``~/save``, ``~/load`` and ``~/end_session``.

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
from infinipot_ros.node.topics import SERVICE_PROFILE
from infinipot_ros.srv import EndSession, LoadMemory, SaveMemory


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
                (SaveMemory, 'save', self._on_save), (LoadMemory, 'load', self._on_load),
                (EndSession, 'end_session', self._on_end_session)):
            node.create_service(
                kind, f'~/{name}', callback, qos_profile=SERVICE_PROFILE, callback_group=group)

    def _on_reset(self, _request: Any, response: Any) -> Any:
        def reset() -> str:
            self._host.run('reset', self._host.worker_for('reset').reset)
            return 'reset: nothing is remembered any more'

        return self._reply(response, reset)

    def _on_pause(self, request: Any, response: Any) -> Any:
        def pause() -> str:
            self._host.worker_for('pause').queue.pause(request.data)
            return 'paused: frames are dropped' if request.data else 'frames are remembered again'

        return self._reply(response, pause)

    def _on_save(self, request: Any, response: Any) -> Any:
        def save() -> str:
            saved = self._saver.save(request.path)
            response.path, response.bytes = str(saved.path), saved.size
            return str(saved.describe())

        return self._reply(response, save)

    def _on_load(self, request: Any, response: Any) -> Any:
        def load() -> str:
            loaded = self._saver.load(request.path)
            response.memory_tokens = loaded.tokens
            return str(loaded.describe())

        return self._reply(response, load)

    def _on_end_session(self, request: Any, response: Any) -> Any:
        def end() -> str:
            self._host.run('session', self._host.worker_for('end').end_session(request.session))
            return f'session {request.session!r} was ended'

        return self._reply(response, end)

    def _reply(self, response: Any, act: Callable[[], str]) -> Any:
        return reply(self._host, response, act, self._after)
