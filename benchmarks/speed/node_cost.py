# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a frame costs in the node, beside the memory alone on frames that were decoded before.

By time on processors, in all threads, which other programs do not lengthen as they do a rate: so
receiving, decoding and waiting for a lock in the node show as what they cost, at any rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count, cycle
from typing import Any

from benchmarks.speed.bare import film
from benchmarks.speed.live import jpegs, need_ros, node_threads, profile
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import Spread
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SIZE = (1080, 1920)
RATES = (2, 8, 30)
JPEG, RAW = 'jpeg', 'raw'
#: Of the memory's rate, what the node is to keep.
WANTED = 0.97
BUDGET, TOKENS = 1024, 24
STEP_NS = 500_000_000


def measure(options: SpeedOptions) -> Section:
    """
    Compare at every rate and encoding.

    :raises ConfigurationError: there is no ROS 2 here.
    """
    load = need_ros()
    frames = film(8, *SIZE)
    settings = MemoryConfig(
        'infinipot-tiny', options.device, options.dtype, budget=BUDGET, max_pixels=TOKENS * 784)
    arguments = [
        '-p', f'device:={options.device}', '-p', f'dtype:={options.dtype}',
        '-p', f'memory.budget:={BUDGET}', '-p', f'ingest.max_pixels:={TOKENS * 784}']
    found: dict[tuple[str, int], list[float]] = {}
    alone: list[float] = []
    with node_threads():
        memory = observing(VisualMemory(settings), frames)
        memory(4 * BUDGET // TOKENS)
        for encoding in (JPEG, RAW):
            images = jpegs(frames) if encoding == JPEG else raw_images(frames)
            # A queue of raw frames takes 6 MiB each.
            more = [] if encoding == JPEG else [
                '-p', 'image_transport:=raw', '-p', 'ingest.queue_size:=64']
            with load.loaded_node([*arguments, *more], images, profile()) as node:
                with node.flowing(RATES[-1]):
                    time.sleep(3.0)
                node.settle()
                for _ in range(options.repeats):
                    alone.append(memory(60))
                    for hz in RATES:
                        found.setdefault((encoding, hz), []).append(
                            cost(node, hz, 4.0 if options.quick else 15.0))
    rows: list[list[str | int]] = []
    targets = []
    own = Spread.of(alone)
    for (encoding, hz), seconds in found.items():
        share = Spread.of([own.median / each for each in seconds])
        rows.append([
            encoding, hz, Spread.of(seconds).text(2, 1000), own.text(2, 1000),
            f'{1000 * (Spread.of(seconds).median - own.median):.2f}', share.ratio_text()])
        targets.append(Target(
            f"the memory's part of the node's time, {encoding} at {hz} frames/s",
            f'at least {WANTED:.0%}', share.ratio_text(unit=' %'), share.median >= WANTED))
    return Section(
        'node_cost', 'What a frame costs in the node',
        f'Bundled model; frames of {SIZE[1]}x{SIZE[0]} flow over DDS to the node, which has a '
        'process of its own: its time on processors, of all threads, over the frames it '
        'remembered. The memory alone gets the same frames decoded. The difference is receiving, '
        'copying, decoding, and what a node does anyway: reports and timers, which weigh more on '
        'each of few frames. It is the same in milliseconds with a larger model, and then a '
        'smaller share.',
        tables=[Table(
            'Milliseconds on processors a frame',
            ('encoding', 'frames/s', 'node', 'memory alone', 'the node on top',
             "the memory's part, %"), rows)], targets=targets)


def observing(memory: VisualMemory, frames: Sequence[Any]) -> Callable[[int], float]:
    """Give what shows so many frames to a memory and returns seconds on processors a frame."""
    stamps, shown = count(STEP_NS, STEP_NS), cycle(frames)

    def show(number: int) -> float:
        before = time.process_time()
        for _ in range(number):
            memory.add_frame(next(shown), next(stamps))
        return (time.process_time() - before) / number

    return show


def cost(node: Any, hz: float, seconds: float) -> float:
    """Let frames flow and return the node's seconds on processors for each it remembered."""
    before, encoded = node.cpu_s(), node.count().encoded
    with node.flowing(hz):
        time.sleep(seconds)
    node.settle()
    remembered = node.count().encoded - encoded
    return float((node.cpu_s() - before) / max(1, remembered))


def raw_images(frames: Sequence[Any]) -> list[Any]:
    """Put frames into messages as a camera driver does, rgb8."""
    from sensor_msgs.msg import Image
    images = []
    for frame in frames:
        image = Image(
            height=frame.shape[0], width=frame.shape[1], encoding='rgb8', step=3 * frame.shape[1])
        image.data.frombytes(frame.tobytes())
        images.append(image)
    return images
