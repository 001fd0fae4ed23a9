# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Random operations against a running node while frames flow: it survives them all.

``INFINIPOT_OPERATIONS=5000 pytest test/process/test_operations.py`` runs longer; a number in
``INFINIPOT_SEED`` takes another way.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import SECOND, START_NS, Client, NamespacedNode, image, stamp
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.errors import QuestionCode
from infinipot_ros.srv import LoadMemory, SaveMemory, Watch

OPERATIONS = int(os.environ.get('INFINIPOT_OPERATIONS', '500'))
SEED = int(os.environ.get('INFINIPOT_SEED', '20260'))
BUDGET = 64
#: Tokens of an answer that takes long enough to be canceled.
LONG = 300
#: Every call is answered within this, or the node hangs.
PATIENCE_S = 90.0
#: Frames a second; the worker of a tiny model keeps up, or drops and counts.
RATE = 20.0


class Camera:
    """Frames that flow whatever else happens; now and then a bad one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._random = random.Random(SEED)
        self.second = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(1 / RATE):
            self.second += 1
            changes: dict[str, Any] = {'shade': self._random.randrange(256)}
            if self._random.random() < 0.05:
                changes = self._random.choice([
                    {'step': 3}, {'data': b'123'}, {'encoding': 'no_such'},
                    {'height': 0, 'width': 0, 'data': b''}])
            stamp_ns = START_NS + self.second * SECOND
            if self._random.random() < 0.02:
                stamp_ns -= 100 * SECOND
            self._client.images.publish(image(stamp_ns, **changes))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)


class Operations:
    """What may be done to a node, one method each; every one returns what came of it."""

    def __init__(self, client: Client, camera: Camera) -> None:
        self._client = client
        self._camera = camera
        self._random = random.Random(SEED)
        self._goals: list[Any] = []
        self._watches: list[int] = []

    def all(self) -> list[tuple[int, Callable[[], str]]]:
        """With their weights."""
        return [(20, self.query), (15, self.goal), (10, self.cancel), (4, self.reset),
                (8, self.pause), (6, self.save), (6, self.load), (12, self.parameter),
                (6, self.watch), (11, self.transition)]

    def step(self) -> tuple[str, str]:
        weights, operations = zip(*self.all())
        chosen = self._random.choices(operations, weights)[0]
        return chosen.__name__, chosen()

    def _question(self) -> dict[str, Any]:
        newest_ns = START_NS + self._camera.second * SECOND
        return {
            'question': self._random.choice(
                ['What is there?', 'And now?', 'And then?', 'x', '', '<|im_end|>']),
            'max_new_tokens': self._random.choice([0, 0, 1, 4]),
            'since': stamp(self._random.choice([0, 0, 0, newest_ns - 50 * SECOND, newest_ns])),
            'until': stamp(self._random.choice([0, 0, 0, newest_ns, START_NS])),
            'cameras': self._random.choice([[], [], [], ['camera'], ['nose']]),
            'session': self._random.choice(['', '', f's{self._random.randrange(30)}']),
            'thumbnails': self._random.random() < 0.3,
        }

    def query(self) -> str:
        fields = self._question()
        response = self._client.ask(fields.pop('question'), timeout_s=PATIENCE_S, **fields)
        assert response.success or response.message
        return QuestionCode(response.error_code).name

    def goal(self) -> str:
        fields = self._question()
        handle = self._client.send(fields.pop('question'), **fields)
        if not handle.accepted:
            return 'rejected'
        self._goals.append((handle, handle.get_result_async()))
        return 'accepted'

    def cancel(self) -> str:
        if not self._goals:
            return 'nothing'
        handle, result = self._goals.pop(self._random.randrange(len(self._goals)))
        self._client.cancel(handle)
        end = time.monotonic() + PATIENCE_S
        while not result.done():
            assert time.monotonic() < end, 'a goal never ended'
            time.sleep(0.01)
        return QuestionCode(result.result().result.error_code).name

    def finish(self) -> None:
        while self._goals:
            self.cancel()

    def reset(self) -> str:
        return self._told(self._client.do(Trigger, 'reset', PATIENCE_S))

    def pause(self) -> str:
        on = self._random.random() < 0.3
        return self._told(self._client.do(SetBool, 'pause', PATIENCE_S, data=on))

    def save(self) -> str:
        path = self._random.choice(['a', 'b', '', '../c', 'no/d'])
        return self._told(self._client.do(SaveMemory, 'save', PATIENCE_S, path=path))

    def load(self) -> str:
        path = self._random.choice(['a', 'b', '', 'missing', '/etc/passwd'])
        return self._told(self._client.do(LoadMemory, 'load', PATIENCE_S, path=path))

    def parameter(self) -> str:
        name, value = self._random.choice([
            ('ingest__fps', 0.0), ('ingest__fps', 1.0), ('ingest__queue_size', 4),
            ('ingest__queue_policy', 'drop_new'), ('query__timeout', 0.05),
            ('query__timeout', 30.0), ('memory__budget', 48), ('memory__budget', BUDGET),
            ('memory__budget', 9999), ('memory__keep_ratio', 0.5), ('memory__tar_ratio', 0.3),
            ('memory__policy', 'recent'), ('memory__policy', 'infinipot_v'), ('block_size', 3),
            ('query__max_new_tokens', LONG), ('query__max_new_tokens', 5), ('dtype', 'int4')])
        result = self._client.set(**{name: value})
        assert result.successful or result.reason
        return 'set' if result.successful else 'refused'

    def watch(self) -> str:
        if self._watches and self._random.random() < 0.4:
            return self._told(self._client.do(Watch, 'watch', id=self._watches.pop()))
        request = Watch.Request(question='What is there?', value='yes')
        request.period.sec = self._random.choice([0, 1, 20])
        response = self._client.call(self._client.service(Watch, 'watch'), request, PATIENCE_S)
        if response.success:
            self._watches.append(response.id)
        return self._told(response)

    def transition(self) -> str:
        name = self._random.choice(['deactivate', 'activate', 'activate', 'cleanup', 'configure'])
        done = self._client.change(name, PATIENCE_S)
        if name == 'cleanup' and done:
            # Most operations need a memory: not for long.
            assert self._client.set(memory__budget=BUDGET, block_size=2,
                                    query__max_new_tokens=LONG).successful
            assert self._client.change('configure', PATIENCE_S)
            self._client.change('activate', PATIENCE_S)
        return f'{name} {"done" if done else "refused"}'

    def _told(self, response: Any) -> str:
        assert response.success or response.message, response
        return 'done' if response.success else 'refused'


@pytest.fixture(scope='module')
def running(start, tiny, tmp_path_factory) -> tuple[NamespacedNode, Client]:
    folder: Path = tmp_path_factory.mktemp('memories')
    process, client = start(
        model=tiny, memory__budget=BUDGET, ingest__queue_size=8, query__max_new_tokens=LONG,
        storage__directory=folder, storage__autosave_period=2.0, session__max_sessions=8)
    client.wait_active()
    return process, client


@pytest.mark.chaos
@pytest.mark.soak
def test_random_operations_are_survived(running) -> None:
    process, client = running
    camera = Camera(client)
    operations = Operations(client, camera)
    done: Counter[tuple[str, str]] = Counter()
    try:
        for number in range(OPERATIONS):
            done[operations.step()] += 1
            assert process.running(), f'it ended at operation {number}:\n{process.output()}'
            status = client.statuses[-1]
            assert status.memory_tokens <= max(status.budget_tokens, 0) <= BUDGET, status
            assert status.memory_bytes <= status.budget_bytes
            assert status.sessions <= 8 and status.watches <= 8
        operations.finish()
        # Alive, and as good as new.
        for transition in ('configure', 'activate'):
            client.change(transition, PATIENCE_S)
        assert client.state() == 'active'
        assert client.set(query__timeout=30.0, ingest__fps=0.0).successful
        client.do(SetBool, 'pause', PATIENCE_S, data=False)
        seen = client.statuses[-1].frames_encoded
        client.wait_status(lambda s: s.frames_encoded > seen, 'frames', 30.0)
        assert client.ask('What is there?', max_new_tokens=2).success
    finally:
        camera.close()
    client.wait_diagnostic('worker', 'ready')
    assert 'Traceback' not in process.output() and 'survived' not in process.output()
    print(sorted(done.items()))
    kinds = {name for name, _ in done}
    assert len(kinds) == len(operations.all()), f'too few operations to try all: {done}'
    assert process.stop() == 0
