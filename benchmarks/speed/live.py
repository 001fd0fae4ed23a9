# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the way over DDS costs, and how long one waits for a node under load.

The node runs in a process of its own, as on a robot; where there is no ROS 2, these figures are
left out, and say so.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import Spread, in_turns, paired_ratio
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.verify.peak_memory import wait_for
from infinipot_ros.share import find_share

if TYPE_CHECKING:
    from benchmarks.speed.node_load import LoadAnswer, NodeLoad

CAMERA = (480, 640)
OVER, OVER_DDS = 'the node over DDS', 0.90
#: Frames a second that flow while questions are asked; 0: none, to compare with.
RATES = (0, 2, 8, 30)
ASK_EVERY_S = 0.5
ANSWER_TOKENS = 8
#: Seconds between two reports of a node whose speed is told by them.
REPORT_S = 0.25
QUESTION = 'What do you see?'
#: Milliseconds the image callback may take at the 99th percentile.
CALLBACK_MS = 5.0


def measure_node(options: SpeedOptions) -> Section:
    """
    Compare a node that is sent more than it can take with the bare model.

    :raises ConfigurationError: there is no ROS 2 here.
    """
    load = need_ros()
    from benchmarks.speed.bare import bare_model, film
    from benchmarks.speed.floor import FLOOR_COLUMNS, calibrate, floor_cells
    from benchmarks.speed.pipeline import BARE, Stream, bare_rounds, round_work
    from infinipot_ros.visual_memory.memory_config import MemoryConfig
    from infinipot_ros.visual_memory.visual_memory import VisualMemory
    from infinipot_ros.vlm.loading import load_model

    tokens, budget = (64, 512) if options.quick else (128, 1024)
    common: dict[str, Any] = {'device': options.device, 'dtype': options.dtype}
    with tempfile.TemporaryDirectory(prefix='infinipot_slice_') as folder, node_threads():
        _save_slice(Path(folder), options)
        settings = MemoryConfig(
            folder, budget=budget, max_pixels=tokens * 784, max_batch=1, **common)
        model, frames = load_model(folder, **common), film(8, *CAMERA)
        rates = calibrate(options.device, model.dtype)
        stream = Stream(VisualMemory(settings, model), frames, 12 if options.quick else 24)
        bare = bare_rounds(model, frames, settings, stream.lengths, bare_model(model))
        count = len(stream.lengths) * settings.block_size
        arguments = [
            '-p', f'model:={folder}', '-p', f'device:={options.device}',
            '-p', f'dtype:={options.dtype}', '-p', f'memory.budget:={budget}',
            '-p', f'ingest.max_pixels:={tokens * 784}', '-p', 'ingest.max_batch:=1']
        with load.loaded_node(
                arguments, jpegs(frames), profile(), status_s=REPORT_S) as node:
            node.frames_a_second(2 * budget // tokens * settings.block_size)
            ways: dict[str, Callable[[], float]] = {
                BARE: lambda: _timed(bare, count, options),
                OVER: lambda: node.frames_a_second(count)}
            if not options.quick:
                ways['the memory'] = lambda: _timed(stream.show_round, count, options)
            found = in_turns(ways, repeats=options.repeats)
        blocks, compressions = round_work(model, settings, CAMERA, stream.lengths)
        rows: list[list[str | int | float]] = []
        for name, fps in found.items():
            floor_s = rates.floor_s(*blocks, *(() if name == BARE else compressions)) / count
            rows.append([
                name, Spread.of(fps).text(1), paired_ratio(fps, found[BARE]).ratio_text(),
                *floor_cells(Spread.of([1 / rate for rate in fps]), floor_s)])
    share = paired_ratio(found[OVER], found[BARE])
    title = 'Qwen2.5-VL-3B widths, 2 of 36 layers and 2 of 32 vision blocks, 640x480 jpegs'
    return Section(
        'node', 'The node over DDS beside the bare model',
        f'A camera sends {count} jpegs at once, and the node, in a process of its own, remembers '
        'them as fast as it can: receiving, decoding and resizing included, by its own clock. The '
        "bare model is transformers' own, behind as many cached tokens. Both have as many "
        'threads, and take turns; what other programs take is in both. What is done once a frame '
        'weighs more in a slice than in the whole model.',
        tables=[Table(title, ('', 'frames/s', '% of the bare model', *FLOOR_COLUMNS), rows)],
        targets=[Target(
            f'frames/s of {OVER} to the bare model', f'at least {OVER_DDS:.0%}',
            share.ratio_text(unit=' %'), share.median >= OVER_DDS)],
        rates=rates)


def measure_latency(options: SpeedOptions) -> Section:
    """
    Ask a node while frames flow.

    :raises ConfigurationError: there is no ROS 2 here.
    """
    load = need_ros()
    from benchmarks.speed.bare import film
    # No shorter than the node looks back for its percentiles: each rate has its own.
    seconds = 10.0 if options.quick else 30.0
    arguments = [
        '-p', f'device:={options.device}', '-p', f'dtype:={options.dtype}',
        '-p', 'memory.budget:=1024', '-p', f'ingest.max_pixels:={24 * 784}']
    with load.loaded_node(arguments, jpegs(film(30, *CAMERA)), profile()) as node:
        node.send()
        node.settle()
        phases = [_ask_under(node, hz, seconds) for hz in RATES]
    rows: list[list[str | int | float]] = [
        [phase.hz, len(phase.asked), *phase.first_ms(0.5, 0.95, 0.99),
         f'{phase.answerable_ms:.0f}' if phase.hz else '-'] for phase in phases]
    callback = {
        name: float(phases[-1].told[f'image callback {name} ms'])
        for name in ('p50', 'p99', 'max')}
    count = phases[-1].frames
    lost = sum(count.dropped.values())
    return Section(
        'latency', 'Waiting for a node under load',
        'Bundled model; 640x480 jpegs flow over DDS to the node, which has a process of its own, '
        f'and a question is asked through ~/ask every {ASK_EVERY_S} s for {seconds:.0f} s. First '
        "token: from the request, at the asker. Answerable: from a frame's stamp until it can be "
        'asked about, as the node tells on /diagnostics; one that waits for its block can, for a '
        'question reads it first. Each rate was run once: with so few questions, p99 is the '
        'slowest. Larger models add their own time for a block and a question.',
        tables=[
            Table('From request to first token, from stamp to answerable, ms',
                  ('frames/s', 'questions', 'first token p50', 'p95', 'p99',
                   'stamp to answerable p95'), rows),
            Table(f'The image callback at {RATES[-1]} frames/s, ms', tuple(callback),
                  [[f'{value:.2f}' for value in callback.values()]]),
            Table('Frames', ('sent', 'remembered', 'dropped'),
                  [[count.sent, count.encoded, lost]])],
        targets=[
            Target(f'image callback at {RATES[-1]} frames/s, p99', f'at most {CALLBACK_MS:g} ms',
                   f'{callback["p99"]:.2f} ms', callback['p99'] <= CALLBACK_MS),
            Target('frames dropped or lost on the way', '0', str(lost + count.outstanding),
                   lost + count.outstanding == 0)])


@dataclass(frozen=True)
class _Phase:
    """
    What was found at one rate.

    :param told: the node's diagnostics of its images; ``frames``, what became of them so far.
    """

    hz: int
    asked: Sequence[LoadAnswer]
    told: dict[str, str]
    frames: Any

    @property
    def answerable_ms(self) -> float:
        return float(self.told['stamp to answerable p95 ms'])

    def first_ms(self, *shares: float) -> list[str]:
        """Milliseconds to the first token at these percentiles."""
        values = sorted(1e3 * each.first_token_s for each in self.asked)
        return [f'{values[min(len(values) - 1, int(len(values) * share))]:.0f}'
                for share in shares]


def _ask_under(node: NodeLoad, hz: int, seconds: float) -> _Phase:
    asked = []
    with node.flowing(hz):
        started = time.monotonic()
        for index in range(max(1, round(seconds / ASK_EVERY_S))):
            time.sleep(max(0.0, started + index * ASK_EVERY_S - time.monotonic()))
            asked.append(node.ask(QUESTION, ANSWER_TOKENS))
        told = node.images()
    node.settle()
    return _Phase(hz, asked, told, node.count())


def jpegs(frames: Sequence[npt.NDArray[np.uint8]]) -> list[bytes]:
    """Encode frames as a camera does, with some noise, so that they are as large as its own."""
    import cv2
    random, encoded = np.random.default_rng(0), []
    for frame in frames:
        noise = random.integers(0, 24, frame.shape, dtype=np.uint8)
        done, data = cv2.imencode(
            '.jpg', cv2.add(frame, noise)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        assert done
        encoded.append(bytes(data))
    return encoded


def need_ros() -> Any:
    """
    Import the module that runs a node.

    :raises ConfigurationError: there is no ROS 2 here.
    """
    try:
        from benchmarks.speed import node_load as load
    except ImportError as error:
        raise ConfigurationError(
            f'it runs the node, and ROS 2 or the built interfaces are not here ({error})'
        ) from error
    return load


def profile() -> Path:
    """Return the Fast DDS profile that nodes are started with here."""
    return find_share() / 'config' / 'fastdds_shm.xml'


def _save_slice(folder: Path, options: SpeedOptions) -> None:
    """Save a slice of the 3B shape that a node can load; with the few words it needs."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    from infinipot_ros.visual_memory.model_shapes import shape_config
    from infinipot_ros.vlm.loading import parse_dtype
    from infinipot_ros.vlm.model_folder import resolve_model

    tokenizer = AutoTokenizer.from_pretrained(
        resolve_model('infinipot-tiny'), local_files_only=True, trust_remote_code=False)
    config = shape_config('3B', layers=2, vision_layers=2)
    config.get_text_config().vocab_size = len(tokenizer)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(
        config, dtype=parse_dtype(options.dtype), trust_remote_code=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def node_threads() -> Iterator[None]:
    """Compute with as many threads as a node that is started from here."""
    import torch
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(run: Callable[[], None], frames: int, options: SpeedOptions) -> float:
    wait_for(options.device)
    started = time.perf_counter()
    run()
    wait_for(options.device)
    return frames / (time.perf_counter() - started)
