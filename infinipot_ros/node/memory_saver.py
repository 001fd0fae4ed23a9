# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Saving and loading the node's memory: on request, by a period, and before it is dropped."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING

from infinipot_ros.errors import InfinipotError, MemoryInUseError, StorageError
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.storage_path import memory_name, saved_path
from infinipot_ros.node.worker import MemoryWorker
from infinipot_ros.visual_memory.autosave import Autosave
from infinipot_ros.visual_memory.file_lock import MemoryLock

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import MemoryStatus
    from infinipot_ros.visual_memory.storage import Loaded, Saved
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds the last save may take before the memory is dropped without it;
#: ``launch/infinipot.launch.py`` waits a little longer.
SAVE_S = 60.0
#: Seconds between two checks of a save that is waited for.
LOOK_S = 0.1
AUTOSAVE, SAVE = 'autosave', 'save'


class MemorySaver:
    """
    Saves and loads the memory in the worker's thread, by the parameters ``storage.*``.

    :param now_ns: returns the node's time.
    """

    def __init__(self, host: MemoryHost, now_ns: Callable[[], int]) -> None:
        self._host = host
        self._now_ns = now_ns
        self._autosave = Autosave(0.0)
        self._saving: Future[Saved] | None = None
        self._lock: MemoryLock | None = None
        self._last_save_ns = 0
        #: Why the node's own file lacks what is remembered; empty: nothing known.
        self.problem = ''

    def last_save_ns(self) -> int:
        """Return when the memory was last saved, by the node's time; 0: never."""
        return self._last_save_ns

    # -- the node's own file ------------------------------------------------------------------

    def hold_file(self) -> None:
        """
        Lock the file that this node saves to by itself or starts with.

        Where no file can be locked at all the node goes on without: every save reports the reason.

        :raises MemoryInUseError: another node keeps its memory in it.
        """
        self.release_file()
        value = self._host.value
        if not (value('storage.autosave_period') or value('storage.load_at_configure')):
            return
        try:
            self._lock = MemoryLock(saved_path(value('storage.directory'), self._file_name()))
        except MemoryInUseError:
            raise
        except StorageError as error:
            self._host.log.warn('storage', f'no file is held for this memory: {error}')

    def release_file(self) -> None:
        """Unlock the file: nothing will be saved to it any more."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    # -- on request ---------------------------------------------------------------------------

    def save(self, name: str = '') -> Saved:
        """
        Save the memory and wait for it.

        :param name: a file in ``storage.directory``; empty: the node's own.
        :raises InfinipotError: it cannot be saved now, or there.
        """
        saved: Saved = self._host.run(SAVE, self._save_task(name or self._file_name()))
        return saved

    def load(self, name: str = '') -> Loaded:
        """
        Replace the memory by a saved one and wait for it.

        :param name: a file in ``storage.directory``; empty: the node's own.
        :raises InfinipotError: it cannot be loaded; the memory stays as it was.
        """
        directory = self._host.value('storage.directory')

        def load(memory: VisualMemory) -> Loaded:
            from infinipot_ros.visual_memory import storage
            return storage.load(memory, saved_path(directory, name or self._file_name()))

        loaded: Loaded = self._host.run('load', load)
        return loaded

    # -- by itself ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the autosave's period; the memory is as it was loaded, or empty."""
        self.problem = ''
        self._autosave = Autosave(float(self._host.value('storage.autosave_period')))
        memory = self._memory()
        if memory is not None:
            self._autosave.start(time.monotonic_ns(), memory)

    def autosave(self) -> None:
        """Save if it is time; return at once."""
        memory = self._memory()
        if (memory is None or not self._autosave.due(time.monotonic_ns(), memory)
                or (self._saving is not None and not self._saving.done())):
            return
        try:
            self._saving = self._host.worker_for(SAVE).queue.run(
                AUTOSAVE, self._save_task(self._file_name()))
        except InfinipotError as error:
            self._put_off(self._autosave, error)
        else:
            self._saving.add_done_callback(
                functools.partial(self._autosaved, self._autosave, memory))

    def save_before_end(self, begin_s: float, last: bool) -> None:
        """
        Save what the autosave has not yet, before the memory is dropped.

        :param begin_s: seconds the worker gets to start it; saving may take ``SAVE_S``.
        :param last: the worker gets no other task after it.
        """
        memory = self._memory()
        if memory is None or not self._autosave.period_ns or not self._autosave.changed(memory):
            return
        name, log = self._file_name(), self._host.log
        log.info(
            f'saving what was remembered since the last save as {name}, for up to {SAVE_S:.0f} s; '
            'if the process is killed before, that file stays as it is')
        try:
            worker = self._host.worker_for(SAVE)
            run = worker.queue.run_last if last else worker.queue.run
            saved = _last_saved(worker, run(AUTOSAVE, self._save_task(name)), begin_s)
        except Exception as error:
            self.problem = (
                f'what was remembered since the last save may not be in {name}, which is whole '
                f'either way: {type(error).__name__}: {error}')
            log.error(self.problem)
        else:
            self._autosave.start(time.monotonic_ns(), memory)
            log.info(saved.describe())

    def _file_name(self) -> str:
        return memory_name(self._host.value('storage.name'), self._host.name)

    def _memory(self) -> MemoryStatus | None:
        snapshot = self._host.snapshot()
        return snapshot.memory if snapshot is not None else None

    def _autosaved(self, autosave: Autosave, memory: MemoryStatus, future: Future[Saved]) -> None:
        error = future.exception()
        if error is None:
            autosave.start(time.monotonic_ns(), memory)
        else:
            self._put_off(autosave, error)

    def _put_off(self, autosave: Autosave, error: BaseException) -> None:
        # What was not written stays unsaved, so the end of the memory tries once more.
        autosave.put_off(time.monotonic_ns())
        self.problem = f'autosave failed: {type(error).__name__}: {error}'
        self._host.log.warn('autosave', self.problem)

    def _save_task(self, name: str) -> Callable[[VisualMemory], Saved]:
        directory = self._host.value('storage.directory')

        def save(memory: VisualMemory) -> Saved:
            from infinipot_ros.visual_memory import storage
            saved = storage.save(memory, saved_path(directory, name), self._lock, replace=False)
            self._last_save_ns = self._now_ns()
            if name == self._file_name():
                self.problem = ''
            return saved

        return save


def _last_saved(worker: MemoryWorker, future: Future[Saved], begin_s: float) -> Saved:
    """
    Wait for a save, longer if others run before it.

    :raises InfinipotError: it takes too long.
    :raises StorageError: it failed.
    """
    now = time.monotonic()
    begin, end = now + begin_s, now + begin_s + SAVE_S
    while not wait_for([future], LOOK_S).done:
        now = time.monotonic()
        if worker.queue.activity in (AUTOSAVE, SAVE):
            begin = now + begin_s
        if now > min(begin, end):
            future.cancel()
            raise InfinipotError(
                f'it was not done within {SAVE_S:.0f} s' if now > end else
                f'the model was busy for {begin_s:.0f} s with what cannot be interrupted')
    return future.result()
