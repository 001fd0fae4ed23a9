# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How much alike an unchanged place looks to TaR, by age, and what the text of grids takes.

``isotropic``: the mean cosine of one random key at two positions, from the frequencies of the
published shapes alone. ``scene``: that of the keys of a camera that does not move, over all
places, heads and layers, rotated and as content keys. ``text``: the share of the tokens of a
memory under ``infinipot_v`` that is text of grids, as the bundled tour goes on. For example::

    python -m benchmarks.key_similarity isotropic
    python -m benchmarks.key_similarity scene --model infinipot-tiny
    python -m benchmarks.key_similarity text --budget 1024
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn.functional import cosine_similarity

from benchmarks.speed.random_model import random_model
from infinipot_ros.kv_cache.coordinates import GRID, text_tokens
from infinipot_ros.kv_cache.key_rotation import StartTable
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import FULL_NAMES, SHAPES, shape_config
from infinipot_ros.visual_memory.plan_table import markdown
from infinipot_ros.visual_memory.position_rebase import key_rotation
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.rotary import rope_settings

AGES = (1, 4, 16, 64)
SECOND = 10 ** 9
COLUMNS = ('model', *(f'{age} s' for age in AGES))
#: A 16:9 frame of Qwen3-VL's tokens at 128 a grid, and the tokens of a grid's text.
ROWS, COLUMNS_OF_GRID, TEXT = 8, 15, 10
TOUR = Path(__file__).resolve().parent.parent / 'demo' / 'tour'

app = typer.Typer(add_completion=False, no_args_is_help=True)
# A slice of a published shape: what is measured does not depend on how many layers there are.
VISION_LAYERS = 6


def slice_of(shape: str, layers: int) -> VisionLanguageModel:
    """Return a slice of a published shape, with random weights."""
    return random_model(shape, layers=layers, vision_layers=VISION_LAYERS, few_words=True)


@app.command()
def isotropic() -> None:
    """Print the mean cosine of an isotropic key with itself, one grid a second later and on."""
    rows = [
        [FULL_NAMES[name], *(f'{rotated_alike(name, age):.2f}' for age in AGES)]
        for name in SHAPES]
    typer.echo(markdown(COLUMNS, rows), nl=False)


def rotated_alike(name: str, seconds: int) -> float:
    """Return the mean cosine of a random key of a shape at two times; 1 where nothing turns."""
    config = shape_config(name)
    family = make_family(config)
    text = config.get_text_config()
    theta = rope_settings(config).get('rope_theta') or text.rope_theta
    half = family.text_shape().head_dim // 2
    frequencies = 1.0 / float(theta) ** (torch.arange(half, dtype=torch.float64) / half)
    timeline = family.timeline()
    starts = []
    for grid in range(seconds + 1):
        timeline = timeline.advance(
            (grid + 1) * SECOND, ROWS, COLUMNS_OF_GRID,
            before=TEXT if family.MAX_GRID_TEXT else 0)
        starts.append(timeline.last)
    turning = family.rotary(frequencies.float()).frequencies.double()
    cosines = ((starts[-1] - starts[0]) * turning).cos()
    return float((cosines.sum() + half - len(turning)) / half)


@app.command()
def scene(
    model: Annotated[str, typer.Option(help='infinipot-tiny, or a published shape, of which a '
                                            'slice with random weights is taken.')],
) -> None:
    """Print the mean cosine of keys of a place that shows one thing, rotated and content."""
    shape = model in SHAPES
    loaded = slice_of(model, 4) if shape else load_model(model)
    frame = next(iter(open_source(TOUR))).rgb
    memory = VisualMemory(MemoryConfig(
        model if not shape else 'infinipot-tiny', policy='full', budget=4096, max_evidence=0,
        max_pixels=24 * 1024), loaded)
    for index in range(2 * (AGES[-1] + 1)):
        memory.add_frame(frame, SECOND + index * SECOND // 2)
    state, rotation = memory.debug_state(), key_rotation(loaded, compact=False)
    starts = StartTable(state.times, state.prefix_length, loaded.device)
    views = [
        replace(view, rotation=rotation, starts=starts.of(view.coordinates[..., GRID]))
        for view in memory.capture().views]
    rows = [
        [f'{model}, {name}', *(f'{cosine:.2f}' for cosine in by_age(views, content))]
        for name, content in (('rotated', False), ('content', True))]
    typer.echo(markdown(COLUMNS, rows), nl=False)


def by_age(views: list[LayerView], content: bool) -> list[float]:
    """Return the mean cosine of keys of a place with those of the newest grid there, by age."""
    found: dict[int, list[Tensor]] = {age: [] for age in AGES}
    for view in views:
        keys = view.content_keys() if content else view.keys.float()
        visual = ~text_tokens(view.coordinates[0])
        grids = view.coordinates[0, :, GRID]
        newest = int(grids.max())
        for age in AGES:
            found[age].append(cosine_similarity(
                keys[:, visual & (grids == newest)],
                keys[:, visual & (grids == newest - age)], dim=-1))
    return [float(torch.cat([each.flatten() for each in found[age]]).mean()) for age in AGES]


@app.command()
def text(
    shape: Annotated[str, typer.Option(help='A published shape.')] = 'Qwen3-VL-2B',
    budget: Annotated[int, typer.Option(help='Tokens a layer and KV head holds.')] = 1024,
    frames: Annotated[int, typer.Option(help='Of the bundled tour.')] = 400,
    policy: Annotated[str, typer.Option(help='Which tokens stay.')] = 'infinipot_v',
) -> None:
    """Print how much of a memory is text of grids, after 1, 2, 4, 8 ... compressions."""
    memory = VisualMemory(
        MemoryConfig('infinipot-tiny', policy=policy, budget=budget, max_evidence=0),
        slice_of(shape, 2))
    names = ('compressions', 'grids seen', 'grids a head holds', 'text')
    typer.echo(markdown(names, []), nl=False)
    due = 1
    for index, frame in enumerate(islice(open_source(TOUR), frames)):
        memory.add_frame(np.kron(frame.rgb, np.ones((2, 2, 1), np.uint8)),
                         SECOND + index * SECOND // 2)
        if memory.status().compressions < due:
            continue
        views = memory.capture().views
        share = np.mean([float(text_tokens(view.coordinates).float().mean()) for view in views])
        grids = np.mean([
            len(each[:, GRID].unique()) for view in views for each in view.coordinates])
        typer.echo(f'| {due} | {(index + 1) // 2} | {grids:.0f} | {100 * share:.0f} % |')
        due *= 2
    typer.echo(f'\n{memory.model.grid_text_tokens()} tokens of text a grid at most', err=True)


if __name__ == '__main__':
    app()
