# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A node for an hour: frames, questions, a dialogue, a watch, autosaves, and restarts.

    python test/process/soak.py --minutes 60 --restart 10

prints what its process takes as CSV, once a minute, and ends with 1 where that is not flat: where
the median of any five minutes of any process, from its age of five minutes on, is more than
``ALLOWED`` above that of the first process's minutes five to nine. `make soak` runs it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median

# The helpers beside the tests; the first isolates this process before ROS is imported.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from isolation import isolate

_domain_lock = isolate()

import psutil
from harness import Client, NamespacedNode
from segments import left_of, own_segments
from tiny_models import make_tiny

from infinipot_ros.srv import Watch

#: The age in minutes from which on a process takes what it takes, and the minutes of a median: one
#: sample may come amid a save, whose buffer and file are twice 4.6 MB.
WARM, WINDOW = 5, 5
FRAMES_S, QUESTION_S = 10.0, 2.0
#: Bytes of thumbnails: with 690 each they are full after 760 frames, and one goes for each that
#: comes. The default's 4 MiB are full after 12,100 frames, or 22 minutes, and grow until then.
THUMBNAIL_BYTES = 256 * 2 ** 10
#: What a process that does not grow may seem to grow by: free pieces of the heap, a thread that a
#: callback just needed.
ALLOWED = {'resident_mib': 5.0, 'descriptors': 4, 'threads': 3, 'shm_mib': 0.1}
MIB = 2 ** 20


@dataclass(frozen=True)
class Sample:
    """
    One line: the age of the process in minutes, what it takes, and what it has done until then.

    :param shm_mib: of its segments in /dev/shm, and of what its predecessors left there.
    """

    minute: int
    life: int
    age: int
    resident_mib: float
    descriptors: int
    threads: int
    shm_mib: float
    frames: int
    answers: int
    watches: int
    saves: int


class Life:
    """A node from its start to its end, and what is done to it."""

    def __init__(self, folder: Path, model: Path, number: int) -> None:
        self.process = NamespacedNode(
            folder / f'life_{number}', namespace='/soak', model=model, memory__budget=256,
            memory__thumbnail_bytes=THUMBNAIL_BYTES, ingest__fps=0.0, ingest__max_pixels=3136,
            query__max_new_tokens=8,
            storage__directory=folder / 'memories', storage__autosave_period=5.0,
            storage__load_at_configure=True, status__period=0.5)
        self.client = client = Client(self.process)
        client.wait_active()
        self.segments = own_segments(self.process.pid)
        self.answers, self.saves, self._last_save = 0, 0, 0
        self._next_question = time.monotonic() + QUESTION_S
        request = Watch.Request(question='Is the door open?')
        request.period.sec = 5
        assert client.call(client.service(Watch, 'watch'), request, 20.0).success

    def go_on(self, seconds: float) -> None:
        """Frames at their rate; a question every two seconds, in a dialogue every other time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now_ns = time.time_ns()
            self.client.publish(now_ns, shade=now_ns % 256)
            status = self.client.status
            if status.last_save.sec != self._last_save:
                self._last_save, self.saves = status.last_save.sec, self.saves + 1
            if time.monotonic() >= self._next_question:
                self._next_question += QUESTION_S
                session = f's{self.answers % 4}' if self.answers % 2 else ''
                answer = self.client.ask(
                    'What is there?', session=session, thumbnails=bool(session))
                assert answer.success, answer.message
                self.answers += 1
            time.sleep(1 / FRAMES_S)

    def sample(self, minute: int, life: int, age: int, left: float) -> Sample:
        """Measure the process."""
        node, status = psutil.Process(self.process.pid), self.client.status
        with node.oneshot():
            return Sample(
                minute, life, age, round(node.memory_info().rss / MIB, 1), node.num_fds(),
                node.num_threads(), round(size(self.segments) + left, 2), status.frames_encoded,
                self.answers, status.watches, self.saves)

    def end(self) -> None:
        """End it as Ctrl-C does."""
        output = self.process.output
        self.client.close()
        assert self.process.stop(60.0) == 0, output()
        assert 'Traceback' not in output() and 'survived' not in output(), output()


def size(segments: set[Path]) -> float:
    """MiB of segments in /dev/shm, as far as they are there."""
    return sum(length for _, length in left_of(segments)) / MIB


def grown(samples: list[Sample]) -> list[str]:
    """Describe what is not flat, from process to process and within each."""
    lives: dict[int, list[Sample]] = {}
    for each in samples:
        if each.age >= WARM:
            lives.setdefault(each.life, []).append(each)
    faults = []
    for name, allowed in ALLOWED.items():
        first = None
        for life, found in lives.items():
            values = [getattr(each, name) for each in found]
            medians = [median(values[at:at + WINDOW])
                       for at in range(max(1, len(values) - WINDOW + 1))]
            first = medians[0] if first is None else first
            if max(medians) > first + allowed:
                faults.append(
                    f'{name} of process {life} is {max(medians):.1f} from minute '
                    f'{found[medians.index(max(medians))].age} on; it was {first:.1f} at first, '
                    f'and {allowed} more are allowed')
    return faults


def run(minutes: int, restart: int, folder: Path) -> list[Sample]:
    """Run it and print a line a minute."""
    model = make_tiny('qwen2_5_vl', folder / 'model')
    samples: list[Sample] = []
    former: set[Path] = set()
    print(','.join(field.name for field in fields(Sample)), flush=True)
    for number in range(1, 1 + math.ceil(minutes / restart)):
        life = Life(folder, model, number)
        try:
            for age in range(1, 1 + min(restart, minutes - len(samples))):
                life.go_on(60.0)
                samples.append(life.sample(len(samples) + 1, number, age, size(former)))
                print(*astuple(samples[-1]), sep=',', flush=True)
        finally:
            life.end()
        former |= life.segments
    assert left_of(former) == []
    return samples


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=int, default=60)
    parser.add_argument('--restart', type=int, default=10, help='minutes of a process')
    options = parser.parse_args()
    if min(options.minutes, options.restart) <= WARM:
        parser.error(f'growth shows after {WARM} minutes: give more, also between restarts')
    with tempfile.TemporaryDirectory(prefix='infinipot_soak_') as folder:
        samples = run(options.minutes, options.restart, Path(folder))
    faults = grown(samples)
    print('\n'.join(faults) or f'nothing grew in {options.minutes} minutes', file=sys.stderr)
    return int(bool(faults))


if __name__ == '__main__':
    sys.exit(main())
