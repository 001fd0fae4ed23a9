# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/reset``, ``~/pause``, ``~/save``, ``~/load``, and the autosave.

They work on a configured node, active or not. All but a pause, which holds at once, are tasks for
the worker, in turn with the questions, so a question asked before a reset is answered from what
was remembered then.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.errors import InfinipotError, MemoryInUseError, StorageError
from infinipot_ros.node.interfaces.replies import reply
from infinipot_ros.node.storage_path import memory_name, saved_path
from infinipot_ros.srv import LoadMemory, SaveMemory
from infinipot_ros.visual_memory.autosave import Autosave
from infinipot_ros.visual_memory.file_lock import MemoryLock

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.worker import MemoryWorker
    from infinipot_ros.visual_memory.answer import MemoryStatus
    from infinipot_ros.visual_memory.storage import Saved
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds a request waits for the worker; large memories on slow disks take their time.
TASK_S = 120.0
#: Seconds the last save may take before the memory is dropped without it;
#: ``launch/infinipot.launch.py`` waits a little longer.
SAVE_S = 60.0
#: Seconds between two looks how it goes.
LOOK_S = 0.1
AUTOSAVE, SAVE = 'autosave', 'save'


class MemoryServices:
    """
    What people and programs do to the memory besides asking it.

    :param node: the node that serves it.
    """

    def __init__(self, node: InfinipotNode) -> None:
        self._node = node
        self._autosave = Autosave(0.0)
        self._saving: Future[Any] | None = None
        self._lock: MemoryLock | None = None
        #: When the memory was last saved, by the node's clock.
        self.last_save = Time()
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
                (Trigger, 'reset', self._on_reset), (SetBool, 'pause', self._on_pause),
                (SaveMemory, 'save', self._on_save), (LoadMemory, 'load', self._on_load)):
            node.create_service(kind, f'~/{name}', callback, callback_group=group)

    def run(self, name: str, function: Callable[[VisualMemory], Any]) -> Any:
        """
        Have the worker do something, and wait.

        :raises InfinipotError: it cannot be done now, or ``function`` raised it.
        """
        future = self._worker(name).run(name, function)
        try:
            return future.result(TASK_S)
        except FutureTimeoutError:
            state = 'it is given up' if future.cancel() else 'it is still under way'
            raise InfinipotError(
                f'the worker did not come to {name} within {TASK_S:.0f} s; {state}') from None

    # -- the node's own file ------------------------------------------------------------------

    def hold_file(self) -> None:
        """
        Keep others from the file that this node saves to by itself or begins with.

        Where no file can be locked at all the node goes on without: every save says what is wrong.

        :raises MemoryInUseError: another node keeps its memory in it.
        """
        self.release_file()
        if not (self._node.value('storage.autosave_period')
                or self._node.value('storage.load_at_configure')):
            return
        try:
            self._lock = MemoryLock(
                saved_path(self._node.value('storage.directory'), self._file_name()))
        except MemoryInUseError:
            raise
        except StorageError as error:
            self._node.log.warn('storage', f'no file is held for this memory: {error}')

    def release_file(self) -> None:
        """Let others have the file: nothing will be saved to it any more."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _file_name(self) -> str:
        return memory_name(
            self._node.value('storage.name'), self._node.get_fully_qualified_name())

    # -- autosave -----------------------------------------------------------------------------

    def configured(self) -> None:
        """Begin the autosave's period; the memory is as it was loaded, or empty."""
        self._autosave = Autosave(float(self._node.value('storage.autosave_period')))
        memory = self._memory()
        if memory is not None:
            self._autosave.start(time.monotonic_ns(), memory)

    def autosave(self) -> None:
        """Save if it is time; returns at once."""
        memory = self._memory()
        if (memory is None or not self._autosave.due(time.monotonic_ns(), memory)
                or (self._saving is not None and not self._saving.done())):
            return
        try:
            self._saving = self._begin_autosave()
        except InfinipotError as error:
            self._put_off(self._autosave, error)
        else:
            self._saving.add_done_callback(
                functools.partial(self._autosaved, self._autosave, memory))

    def save_before_end(self, begin_s: float, last: bool) -> None:
        """
        Save what the autosave has not yet, before the memory is dropped.

        :param begin_s: seconds the worker gets to come to it; saving may take ``SAVE_S``.
        :param last: nothing else is wanted of the worker any more.
        """
        memory = self._memory()
        if memory is None or not self._autosave.period_ns or not self._autosave.changed(memory):
            return
        name = self._file_name()
        self._node.log.info(
            f'saving what was remembered since the last save as {name}, for up to {SAVE_S:.0f} s; '
            'if the process is killed before, that file stays as it is')
        try:
            worker = self._worker(SAVE)
            run = worker.run_last if last else worker.run
            saved = _last_saved(worker, run(AUTOSAVE, self._save_task(name)), begin_s)
        except Exception as error:
            self._node.log.error(
                f'what was remembered since the last save may not be in {name}, which is whole '
                f'either way: {type(error).__name__}: {error}')
        else:
            self._autosave.start(time.monotonic_ns(), memory)
            self._node.log.info(saved.describe())

    def _memory(self) -> MemoryStatus | None:
        worker = self._node.worker
        return worker.snapshot().memory if worker is not None else None

    def _begin_autosave(self) -> Future[Any]:
        return self._worker(SAVE).run(AUTOSAVE, self._save_task(self._file_name()))

    def _autosaved(self, autosave: Autosave, memory: MemoryStatus, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            autosave.start(time.monotonic_ns(), memory)
        else:
            self._put_off(autosave, error)

    def _put_off(self, autosave: Autosave, error: BaseException) -> None:
        # Only what was written is saved: until then the end of the memory tries once more.
        autosave.put_off(time.monotonic_ns())
        self._node.log.warn('autosave', f'autosave failed: {type(error).__name__}: {error}')

    def _save_task(self, name: str) -> Callable[[VisualMemory], Saved]:
        directory = self._node.value('storage.directory')

        def save(observer: VisualMemory) -> Saved:
            from infinipot_ros.visual_memory import storage
            saved = storage.save(observer, saved_path(directory, name), self._lock)
            self.last_save = self._node.get_clock().now().to_msg()
            return saved

        return save

    # -- services -----------------------------------------------------------------------------

    def _worker(self, name: str) -> MemoryWorker:
        worker = self._node.worker
        if worker is None or self._node.phase in ('unconfigured', 'configuring'):
            raise InfinipotError(
                f'the node is {self._node.phase}: there is no memory to {name} (lifecycle '
                'transition configure makes one)')
        return worker

    def _on_reset(self, _request: Any, response: Any) -> Any:
        def wait() -> None:
            worker = self._worker('reset')

            def reset(observer: VisualMemory) -> None:
                observer.reset()
                worker.forget_sessions()
                worker.start_over()
                worker.latest = None

            self.run('reset', reset)

        return reply(self._node, response, wait)

    def _on_pause(self, request: Any, response: Any) -> Any:
        return reply(self._node, response, lambda: self._worker('pause').pause(request.data))

    def _on_save(self, request: Any, response: Any) -> Any:
        def save() -> None:
            name = request.path or self._file_name()
            saved = self.run(SAVE, self._save_task(name))
            response.path, response.bytes = str(saved.path), saved.size

        return reply(self._node, response, save)

    def _on_load(self, request: Any, response: Any) -> Any:
        directory = self._node.value('storage.directory')

        def load(observer: VisualMemory) -> int:
            from infinipot_ros.visual_memory import storage
            name = request.path or self._file_name()
            loaded = storage.load(observer, saved_path(directory, name))
            self._node.log.info(loaded.describe())
            return int(loaded.tokens)

        def wait() -> None:
            response.memory_tokens = self.run('load', load)

        return reply(self._node, response, wait)


def _last_saved(worker: MemoryWorker, future: Future[Saved], begin_s: float) -> Saved:
    """
    Wait for a save, longer if others are under way before it.

    :raises InfinipotError: it takes too long.
    :raises StorageError: it failed.
    """
    now = time.monotonic()
    begin, end = now + begin_s, now + begin_s + SAVE_S
    while not wait_for([future], LOOK_S).done:
        now = time.monotonic()
        if worker.snapshot().job in (AUTOSAVE, SAVE):
            begin = now + begin_s
        if now > min(begin, end):
            future.cancel()
            raise InfinipotError(
                f'it was not done within {SAVE_S:.0f} s' if now > end else
                f'the model was busy for {begin_s:.0f} s with what cannot be interrupted')
    return future.result()
