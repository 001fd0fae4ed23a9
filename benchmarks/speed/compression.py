# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a compression costs: beside its plain form, beside the model, and in scratch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn import ModuleList
from transformers import AutoModelForImageTextToText

from benchmarks.speed import floor
from benchmarks.speed.floor import FLOOR_COLUMNS, ModelWork, Rates, calibrate, floor_cells
from benchmarks.speed.plain_compression import (
    Cosines,
    cosines_as_written,
    cosines_of_directions,
    plain_compression,
)
from benchmarks.speed.scratch import peak_scratch
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import SideBySide, Spread, side_by_side, system_share
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, make_policy
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.model import cache_argument

NAMES = ('3B', '7B')
POLICIES = (DEFAULT_POLICY, 'rarity')
# What the plain forms keep too, on a first compression.
SAME = 'infinipot_v/official'
PLAIN, NORMALISED = 'plain form', 'plain form, normalised first'
BUDGET = Budget(4096)
ROWS, COLUMNS = 8, 16
CELLS = ROWS * COLUMNS
NEW_GRIDS = (BUDGET.tokens - BUDGET.target) // CELLS
FRAMES_PER_GRID = 2
PREFIX = 64
MIB = 2 ** 20


def random_cache(shape: CacheShape, budget: Budget, grids: int) -> BoundedCache:
    """Make a cache with random keys and values everywhere and so many grids remembered."""
    cache = BoundedCache(shape, budget, prefix_room=PREFIX, tail_room=PREFIX)
    for layer in cache.layers:
        layer.keys.normal_()
        layer.values.normal_()
    with cache.writing_prefix(PREFIX):
        for layer in cache.layers:
            layer.length = PREFIX
    append(cache, grids)
    return cache


def append(cache: BoundedCache, grids: int) -> None:
    """Remember more grids; their keys and values are what the buffers hold already."""
    with cache.writing_grids(grids, ROWS, COLUMNS):
        for layer in cache.layers:
            layer.length += grids * CELLS


def our_way(cache: BoundedCache, policy_name: str) -> Callable[[], object]:
    """
    Give what compresses a full memory, with all that brings with it, and fills it up again.

    Only the new tokens' coordinates are written to fill it: a hundredth of the time, or less.
    """
    policy = make_policy(policy_name)

    def way() -> None:
        cache.compress(policy, BUDGET.target)
        cache.remembered_grids()
        append(cache, NEW_GRIDS)

    return way


def plain_way(cache: BoundedCache, cosines: Cosines) -> Callable[[], object]:
    """Give what compresses the same memory plainly; the new tensors are thrown away."""
    def way() -> None:
        for layer in cache.layers:
            plain_compression(
                layer.keys[:, :, :layer.length], layer.values[:, :, :layer.length], PREFIX, CELLS,
                BUDGET.target, cosines)

    return way


@dataclass(frozen=True)
class ModelTime:
    """
    Seconds to encode and to prefill the frames between two compressions.

    :param vision_floor: the least they take, as ``prefill_floor``.
    """

    vision: Spread
    prefill: Spread
    vision_floor: float
    prefill_floor: float

    @property
    def seconds(self) -> float:
        """Both, median."""
        return self.vision.median + self.prefill.median

    def cells(self) -> list[str]:
        """Write each, and over its floor."""
        return [
            self.vision.text(), self.vision.text(1, 1 / self.vision_floor),
            self.prefill.text(), self.prefill.text(1, 1 / self.prefill_floor)]


def time_model(name: str, options: SpeedOptions, rates: Rates) -> ModelTime:
    """
    Time a slice of a model on frames and scale it to all layers and to the frames it takes.

    The tower's ends, which are there once, are timed without its blocks and count once.
    """
    layers, blocks = 1, 2 if options.quick else 8
    grids = 1 if options.quick else NEW_GRIDS
    config = shape_config(name, layers=layers, vision_layers=blocks)
    true_config = shape_config(name)
    # No word is read here: a vocabulary would take memory, and no time.
    config.get_text_config().vocab_size = 8
    dtype = getattr(torch, options.dtype)
    with torch.device(options.device):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=dtype, attn_implementation='sdpa',
            trust_remote_code=False).eval().model
    tower, text = model.visual, make_family(config).text_shape()
    vision = config.vision_config
    side = vision.spatial_merge_size
    grid = torch.tensor([[grids, ROWS * side, COLUMNS * side]], device=options.device)
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size ** 2
    patches = torch.randn(
        int(grid.prod()), patch, dtype=dtype, device=options.device)
    embeddings = torch.randn(
        1, grids * CELLS, text.hidden, dtype=dtype, device=options.device)
    positions = torch.arange(embeddings.shape[1], device=options.device).expand(3, 1, -1)
    cache = random_cache(
        CacheShape(layers, text.kv_heads, text.head_dim, dtype, torch.device(options.device)),
        BUDGET, BUDGET.target // CELLS)
    mark = cache.checkpoint()
    argument = cache_argument(model.language_model)
    all_blocks, no_blocks = tower.blocks, ModuleList()

    def encode(used: ModuleList) -> None:
        tower.blocks = used
        tower(patches, grid_thw=grid)

    def prefill() -> None:
        with cache.writing_grids(grids, ROWS, COLUMNS):
            model.language_model(
                inputs_embeds=embeddings, position_ids=positions, attention_mask=None,
                use_cache=True, **{argument: cache})
        cache.rollback(mark)

    with torch.inference_mode():
        times = side_by_side(
            {'ends': lambda: encode(no_blocks), 'tower': lambda: encode(all_blocks),
             'layers': prefill},
            repeats=options.repeats, device=options.device)
    more_blocks = true_config.vision_config.depth / blocks
    more_layers = make_family(true_config).text_shape().layers / layers
    more = NEW_GRIDS / grids
    work = ModelWork.of_shape(name, dtype)
    return ModelTime(
        vision=Spread.of([
            more * (ends + more_blocks * max(0.0, whole - ends))
            for ends, whole in zip(times.seconds['ends'], times.seconds['tower'], strict=True)]),
        prefill=Spread.of([more * more_layers * one for one in times.seconds['layers']]),
        vision_floor=more * rates.floor_s(work.vision(grids, ROWS, COLUMNS)),
        prefill_floor=more * rates.floor_s(work.read(grids * CELLS, BUDGET.target)))


@dataclass(frozen=True)
class Measured:
    """
    What was found for one shape.

    :param times: seconds for ``layers`` layers of ``all_layers``.
    :param scratch: bytes by policy.
    :param layer_bytes: of one layer's cache: keys, values and coordinates of the budget.
    :param floor_s: of one compression of all layers.
    :param system: the share of each way's time that the system took.
    """

    times: SideBySide
    layers: int
    all_layers: int
    model: ModelTime
    scratch: Mapping[str, int]
    layer_bytes: int
    floor_s: float
    system: Mapping[str, float]

    def all_seconds(self, way: str) -> Spread:
        """Of all layers."""
        scale = self.all_layers / self.layers
        return Spread.of([scale * second for second in self.times.seconds[way]])

    def share(self, policy: str) -> float:
        """Time of a compression over that of the model on the frames it makes room for."""
        return self.all_seconds(policy).median / self.model.seconds


def measure_shape(name: str, options: SpeedOptions, rates: Rates) -> Measured:
    """Take all figures of one shape."""
    text = make_family(shape_config(name)).text_shape()
    shape = CacheShape(
        text.layers, text.kv_heads, text.head_dim, getattr(torch, options.dtype),
        torch.device(options.device))
    layers = shape.layers // 7 if options.quick else shape.layers
    full = BUDGET.tokens // CELLS
    with torch.inference_mode():
        cache = random_cache(shape, BUDGET, full)
        # The first compression finds whole grids; from then on what is left forms none.
        our_way(cache, SAME)()
        scratch = {
            policy: peak_scratch(our_way(cache, policy), options.device) for policy in POLICIES}
        del cache
        cache = random_cache(replace(shape, layers=layers), BUDGET, full)
        ways = {
            **{policy: our_way(cache, policy) for policy in (*POLICIES, SAME)},
            PLAIN: plain_way(cache, cosines_as_written),
            NORMALISED: plain_way(cache, cosines_of_directions)}
        times = side_by_side(ways, repeats=options.repeats, device=options.device)
        system = {way: system_share(run) for way, run in ways.items()}
        del cache, ways
    layer = replace(shape, layers=1)
    return Measured(
        times, layers, shape.layers, time_model(name, options, rates), scratch,
        BUDGET.tokens * (layer.bytes_per_token + layer.coordinate_bytes_per_token),
        rates.floor_s(floor.compression(shape, BUDGET.tokens, BUDGET.target)), system)


def measure(options: SpeedOptions) -> Section:
    """Measure compression for the published shapes, on random keys and values."""
    rates = calibrate(options.device, getattr(torch, options.dtype))
    found = {name: measure_shape(name, options, rates) for name in NAMES}
    each = [(name, policy) for name in NAMES for policy in POLICIES]
    frames = NEW_GRIDS * FRAMES_PER_GRID
    note = (
        'times of a slice of the layers, scaled' if options.quick
        else 'all layers')
    return Section(
        name='compression',
        title='Compression',
        about=(
            f'A full memory of {BUDGET.tokens} tokens is compressed to {BUDGET.target}, in all '
            f'layers and KV heads ({note}), random keys and values in {options.dtype} on '
            f'{options.device}. The {PLAIN} is InfiniPot-V as its equations read, with the '
            f'settings of its released code, which {SAME} has too: the cosine of each past key '
            'with each recent one, a product of five dimensions, or, second, the same with each '
            'key normalised once; new tensors put together layer by layer. On a processor the '
            "system's part is mostly fresh pages for those large tensors: by the arithmetic "
            f'alone, as where an allocator keeps its pages, the {PLAIN} takes two to three times '
            'as long as a compression here, with fresh pages up to ten. The model is a slice '
            f'of the published shape with random weights, timed on {frames} frames of {CELLS} '
            'tokens a pair, which is what one compression makes room for, and scaled to all its '
            'layers and blocks; it ran after the compressions, not in turns with them, so its '
            'share is one of medians.'),
        tables=(
            Table(
                'Milliseconds of one compression, median (range)',
                ('shape', 'way', 'ms', "of it the system's, %", f'{PLAIN} takes times as long',
                 f'{NORMALISED}', *FLOOR_COLUMNS),
                [(name, way, one.all_seconds(way).text(0, 1000), f'{100 * one.system[way]:.0f}',
                  *(one.times.ratio(plain, way).ratio_text(scale=1)
                    for plain in (PLAIN, NORMALISED)),
                  *floor_cells(one.all_seconds(way), one.floor_s))
                 for name, one in found.items()
                 for way in (*POLICIES, SAME, PLAIN, NORMALISED)]),
            Table(
                f'Beside encoding and prefilling {frames} frames',
                ('shape', 'policy', 'vision, s', FLOOR_COLUMNS[1], 'prefill, s', FLOOR_COLUMNS[1],
                 'compression, %'),
                [(name, policy, *found[name].model.cells(),
                  round(100 * found[name].share(policy), 2)) for name, policy in each]),
            Table(
                'Scratch at its peak',
                ('shape', 'policy', 'MiB', "one layer's cache, MiB"),
                [(name, policy, round(found[name].scratch[policy] / MIB, 2),
                  round(found[name].layer_bytes / MIB, 2)) for name, policy in each])),
        targets=[
            target for name, policy in each for target in _targets(name, policy, found[name])],
        rates=rates)


def _targets(name: str, policy: str, one: Measured) -> tuple[Target, ...]:
    share, scratch = one.share(policy), one.scratch[policy] / one.layer_bytes
    faster = {plain: one.times.ratio(plain, policy) for plain in (PLAIN, NORMALISED)}
    return (
        *(Target(f'{name}, {policy}: faster than the {plain}', 'at least 4 times',
                 times.ratio_text(scale=1, unit=' times'), times.median >= 4.0)
          for plain, times in faster.items()),
        Target(f'{name}, {policy}: of encoding and prefilling the same frames', 'at most 1 %',
               f'{100 * share:.2f} %', share <= 0.01),
        Target(f"{name}, {policy}: scratch, of one layer's cache", 'at most 100 %',
               f'{100 * scratch:.0f} %', scratch <= 1.0))
