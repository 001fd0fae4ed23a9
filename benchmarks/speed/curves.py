# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a frame, a first token, a token and the memory cost as the stream grows.

The bounded memories stand beside a plain cache that keeps everything, at the same lengths, in the
true shape of Qwen2.5-VL-3B with random weights. Caches are filled with random keys and values,
not by reading as many frames, and then a true block, question and answer are timed behind them,
all ways and lengths in turns. On a processor a slice of the layers is timed and counted as all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.speed.bundled_stream import bundled_table
from benchmarks.speed.filling import lengthen, watch_random
from benchmarks.speed.floor import FLOOR_COLUMNS, ModelWork, Rates, calibrate, floor_cells
from benchmarks.speed.floor import compression as compression_work
from benchmarks.speed.random_model import random_model
from benchmarks.speed.section import Curves, Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import Spread, elapsed_s, paired_ratio, side_by_side
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, make_policy
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.visual_memory.plan import MIB, plan_memory
from infinipot_ros.vlm.loading import parse_device, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import grid_positions, text_positions

SHAPE = '3B'
LENGTHS = (1_000, 5_000, 20_000, 100_000)
# Where the memory is full and was compressed: from here on nothing may change.
FLAT_FROM = 5_000
BUDGET = 4096
POLICIES = (DEFAULT_POLICY, 'rarity', 'swa')
FULL = 'full KV'
ROWS, COLUMNS = 8, 16
GRID = ROWS * COLUMNS
FRAMES = 2
QUESTION, ANSWER = 24, 8
GIB = 1024 ** 3
PAPER = (
    "The paper's figures on a Jetson AGX Orin 32 GB (Qwen2.5-VL-3B; arXiv:2506.15745v2, table 6; "
    'not measured here): at some 90K tokens full KV decodes 1.2 tokens/s in 39 GB, the bounded '
    'memory 9.1 tokens/s in 10.7 GB, 7.3 times as fast.')


def _key(name: str, length: int) -> str:
    return f'{name} {length}'


@dataclass(frozen=True)
class Way:
    """
    A cache as it is after so many tokens of a stream.

    :param cached: tokens in it while steps are timed.
    :param policy: None for the plain cache.
    """

    name: str
    length: int
    cache: Any
    cached: int
    policy: EvictionPolicy | None = None

    @property
    def key(self) -> str:
        """Its name among all."""
        return _key(self.name, self.length)

    @property
    def nbytes(self) -> int:
        """Bytes of its keys and values, and of the coordinates it needs."""
        if isinstance(self.cache, BoundedCache):
            return self.cache.nbytes
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)

    def forward(
        self, model: VisionLanguageModel, embedded: Tensor, positions: Tensor, grids: int = 0,
    ) -> Tensor:
        """Run new tokens behind it: so many grids, or text."""
        if not isinstance(self.cache, BoundedCache):
            return model.forward(embedded, positions, self.cache)
        writing = (
            self.cache.writing_grids(grids, ROWS, COLUMNS) if grids
            else self.cache.writing_tail(embedded.shape[1]))
        with writing:
            return model.forward(embedded, positions, self.cache)

    def back(self) -> Callable[[], None]:
        """Give what brings it back to how it is now."""
        if isinstance(self.cache, BoundedCache):
            mark = self.cache.checkpoint()
            return lambda: self.cache.rollback(mark)
        length = self.cache.get_seq_length()
        # Of all releases understood: how many to take away.
        return lambda: self.cache.crop(length - self.cache.get_seq_length())


def measure(options: SpeedOptions) -> Section:
    """Measure all ways at all lengths."""
    lengths = LENGTHS[:-1] if options.quick else LENGTHS
    on_gpu = options.device.startswith('cuda')
    layers = None if on_gpu else 1 if options.quick else 2
    rates = calibrate(options.device, parse_dtype(options.dtype))
    model = random_model(
        SHAPE, layers=layers, vision_layers=layers, device=options.device,
        dtype=parse_dtype(options.dtype))
    whole = shape_config(SHAPE)
    decoder = whole.get_text_config().num_hidden_layers / model.shape.layers
    tower = whole.vision_config.depth / (layers or whole.vision_config.depth)
    ways = make_ways(model, parse_device(options.device), lengths)
    timed = Timed(model, ways, options, decoder, tower)
    weights = plan_memory(
        whole, MemoryConfig(SHAPE, device=options.device, dtype=options.dtype)).weights
    title = f'Qwen2.5-VL-{SHAPE} shape, {options.dtype}, {options.device}'
    slice_text = '' if on_gpu else (
        f'Timed on {model.shape.layers} of its 36 decoder layers and of its 32 vision layers, '
        'and counted as all of them; embeddings and the vocabulary head are whole. ')
    tables = [Table(
        f'Against the tokens of the stream so far; {title}',
        ('tokens seen', 'memory', 'frames/s', 'ms to first token', 'tokens/s', 'cache, MiB',
         'with weights, GiB'), _rows(timed, ways, decoder, weights)),
        Table('The same against the floor',
              ('tokens seen', 'memory', *(
                  f'{step}: {column}' for step in ('a frame', 'first token', 'a token')
                  for column in FLOOR_COLUMNS)),
              _floor_rows(timed, ways, rates, parse_dtype(options.dtype)))]
    if not options.quick:
        tables.append(bundled_table(options))
    return Section(
        'curves', 'Flat curves',
        f'What a stream of random weights in the shape of Qwen2.5-VL-{SHAPE} costs at its end: a '
        f'memory of {BUDGET:,} tokens under three policies, and the DynamicCache of '
        f'transformers, which keeps all and grows by copies. {slice_text}Caches were filled with '
        'random keys and values to each length, the bounded ones through their policy; then a '
        f'grid of two frames was encoded and read, a question of {QUESTION} tokens read, and '
        f'{ANSWER} tokens decoded, all ways and lengths in turns. A frame bears its '
        f'share of compressions. {PAPER}',
        tables=tables, curves=[*_plots(timed, ways, decoder, weights)],
        targets=[*_targets(timed, ways)], rates=rates)


def make_ways(
    model: VisionLanguageModel, device: torch.device, lengths: tuple[int, ...],
    policies: tuple[str, ...] = POLICIES,
) -> list[Way]:
    """Fill a cache of every kind to every length: bounded ones, and one that keeps all."""
    text = model.shape
    shape = CacheShape(text.layers, text.kv_heads, text.head_dim, model.dtype, device)
    ways = []
    for length in lengths:
        for name in policies:
            policy = make_policy(name)
            cache = BoundedCache(
                shape, Budget(BUDGET), prefix_room=0, tail_room=QUESTION + ANSWER)
            watch_random(cache, policy, length // GRID, ROWS, COLUMNS)
            # Room for the grid that is timed, as the observer makes it before a block begins.
            cache.make_room(GRID, policy)
            ways.append(Way(name, length, cache, cache.get_seq_length(), policy))
        plain = DynamicCache()
        lengthen(plain, shape, length // GRID * GRID)
        ways.append(Way(FULL, length, plain, plain.get_seq_length()))
    return ways


class Timed:
    """
    Seconds of each step behind each cache, taken in turns.

    :param decoder: by how much a slice's decoder is counted; ``tower`` the same of its tower.
    """

    def __init__(
        self, model: VisionLanguageModel, ways: list[Way], options: SpeedOptions, decoder: float,
        tower: float,
    ) -> None:
        self._ways, self._options = ways, options
        self._decoder, self._tower = decoder, tower
        side = math.isqrt(model.family.pixels_for(1) or 0)
        frames = torch.randint(
            0, 255, (FRAMES, ROWS * side, COLUMNS * side, 3), dtype=torch.uint8,
            device=model.device)
        grid = model.encode(frames).tokens.flatten(0, 1).unsqueeze(0)
        question, token = model.embed([0] * QUESTION), model.embed([0])
        hidden = torch.zeros(model.shape.hidden, dtype=model.dtype, device=model.device)
        alone = side_by_side(
            {'encode': lambda: model.encode(frames), 'head': lambda: model.logits(hidden)},
            repeats=options.repeats, device=options.device).seconds
        self._encode, self._head = alone['encode'], alone['head']

        def decode(way: Way) -> None:
            for number in range(ANSWER):
                way.forward(model, token, text_positions(way.length + number, 1))

        self._grid = self._in_turns(lambda way: way.forward(
            model, grid, grid_positions(0, [way.length // GRID], ROWS, COLUMNS), 1))
        self._question = self._in_turns(lambda way: way.forward(
            model, question, text_positions(way.length, QUESTION)))
        self._answer = self._in_turns(decode)
        self._compression = self._compressions()

    def _in_turns(self, step: Callable[[Way], object]) -> Mapping[str, Sequence[float]]:
        def run(way: Way) -> None:
            back = way.back()
            step(way)
            back()

        return side_by_side(
            {way.key: partial(run, way) for way in self._ways}, repeats=self._options.repeats,
            device=self._options.device).seconds

    def _compressions(self) -> dict[str, list[float]]:
        """Time what a grid bears of the compressions, by policy."""
        seconds: dict[str, list[float]] = {}
        grids = (BUDGET - Budget(BUDGET).target) // GRID
        for number in range(1 + self._options.repeats):
            for way in {each.name: each for each in self._ways}.values():
                if way.policy is None:
                    continue
                full = BUDGET // GRID * GRID
                watch_random(
                    way.cache, way.policy, (full - way.cache.memory_length) // GRID, ROWS,
                    COLUMNS)
                taken = elapsed_s(
                    partial(way.cache.make_room, GRID, way.policy), self._options.device)
                if number:
                    seconds.setdefault(way.name, []).append(taken / grids)
        return seconds

    @property
    def encode_s(self) -> list[float]:
        """Seconds to encode a grid, of each repeat."""
        return [encode * self._tower for encode in self._encode]

    def frames_per_s(self, way: Way) -> list[float]:
        """Frames that are encoded and read in a second."""
        bears = self._compression.get(way.name) if way.length > BUDGET else None
        return [
            FRAMES / (encode + (grid + bear) * self._decoder)
            for encode, grid, bear in zip(
                self.encode_s, self._grid[way.key], bears or [0.0] * len(self._encode))]

    def first_token_ms(self, way: Way) -> list[float]:
        """Milliseconds from a question to the first token of its answer."""
        return [
            1000 * (question * self._decoder + head)
            for question, head in zip(self._question[way.key], self._head)]

    def tokens_per_s(self, way: Way) -> list[float]:
        """Tokens that are decoded in a second."""
        return [
            1 / (answer / ANSWER * self._decoder + head)
            for answer, head in zip(self._answer[way.key], self._head)]


def _rows(
    timed: Timed, ways: Sequence[Way], decoder: float, weights: int,
) -> list[list[str | int]]:
    return [[
        way.length, way.name, Spread.of(timed.frames_per_s(way)).text(3),
        Spread.of(timed.first_token_ms(way)).text(0), Spread.of(timed.tokens_per_s(way)).text(2),
        f'{way.nbytes * decoder / MIB:,.0f}', f'{(way.nbytes * decoder + weights) / GIB:.2f}']
        for way in ways]


def _floor_rows(
    timed: Timed, ways: Sequence[Way], rates: Rates, dtype: torch.dtype,
) -> list[list[str | int]]:
    """Set each step of all layers against its floor; a frame bears its share of compressions."""
    work, budget = ModelWork.of_shape(SHAPE, dtype), Budget(BUDGET)
    rows: list[list[str | int]] = []
    text = work.text
    compressing = rates.floor_s(compression_work(
        CacheShape(text.layers, text.kv_heads, text.head_dim, dtype), BUDGET, budget.target))
    grids = (BUDGET - budget.target) // GRID
    for way in ways:
        frame = rates.floor_s(work.block(1, ROWS, COLUMNS, way.cached))
        if way.policy is not None and way.length > BUDGET:
            frame += compressing / grids
        each = (
            ([1 / rate for rate in timed.frames_per_s(way)], frame / FRAMES),
            ([ms / 1000 for ms in timed.first_token_ms(way)],
             rates.floor_s(work.next_token(QUESTION, way.cached))),
            ([1 / rate for rate in timed.tokens_per_s(way)],
             rates.floor_s(work.next_token(1, way.cached))))
        rows.append([way.length, way.name, *(
            cell for seconds, floor_s in each for cell in floor_cells(
                Spread.of(seconds), floor_s))])
    return rows


def _plots(
    timed: Timed, ways: Sequence[Way], decoder: float, weights: int,
) -> Iterator[Curves]:
    plots: tuple[tuple[str, str, Callable[[Way], float]], ...] = (
        ('Frames', 'frames/s', lambda way: Spread.of(timed.frames_per_s(way)).median),
        ('First token', 'ms', lambda way: Spread.of(timed.first_token_ms(way)).median),
        ('Decoding', 'tokens/s', lambda way: Spread.of(timed.tokens_per_s(way)).median),
        ('Memory', 'GiB with weights', lambda way: (way.nbytes * decoder + weights) / GIB))
    for title, unit, figure in plots:
        yield Curves(
            title, 'tokens seen', unit,
            {name: [(way.length, figure(way)) for way in ways if way.name == name]
             for name in dict.fromkeys(way.name for way in ways)}, log_x=True)


def _targets(timed: Timed, ways: Sequence[Way]) -> Iterator[Target]:
    by_key = {way.key: way for way in ways}
    last = ways[-1].length
    start, end = (by_key[_key(POLICIES[0], length)] for length in (FLAT_FROM, last))
    for what, figures in (
            ('tokens/s', timed.tokens_per_s), ('frames/s', timed.frames_per_s)):
        flat = paired_ratio(figures(end), figures(start))
        yield Target(
            f'{what} at {last:,} tokens, of that at {FLAT_FROM:,} ({POLICIES[0]})',
            'at least 95 %', flat.ratio_text(0, unit=' %'), flat.median >= 0.95)
    yield Target(
        f'bytes at {last:,} tokens, of those at {FLAT_FROM:,} ({POLICIES[0]})', 'the same',
        f'{end.nbytes / start.nbytes:.0%}', end.nbytes == start.nbytes)
    gain = paired_ratio(timed.tokens_per_s(end), timed.tokens_per_s(by_key[_key(FULL, last)]))
    yield Target(
        f'tokens/s at {last:,} tokens, of full KV', 'more', gain.ratio_text(2, 1, ' times'),
        gain.median > 1.0)
