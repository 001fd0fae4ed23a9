# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot plan``: how many bytes a memory takes, before anything is loaded."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.errors import ConfigurationError

DEVICES = ('cpu', 'cuda')
#: Budgets side by side, so that lines have at most 80 characters.
MAX_COLUMNS = 4


def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar='MODEL', help='The name of a published model, such as Qwen3-VL-8B (2B, 3B '
            'and 7B for short, of Qwen2-VL and Qwen2.5-VL); or a folder, a hub id in the local '
            'cache, or a bundled name, of which config.json is read.'),
    ],
    budget: Annotated[
        list[int] | None,
        typer.Option(help='Most visual tokens a layer and KV head holds; may be repeated.',
                     show_default='2048 4096 8192'),
    ] = None,
    device: Annotated[str, typer.Option(help='cpu or cuda; need not be there.')] = 'cuda',
    dtype: options.Dtype = 'bfloat16',
    weights: options.Weights = '',
    kv_dtype: options.KvDtype = '',
    block_size: Annotated[int, typer.Option(help=options.BLOCK_SIZE)] = 2,
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    allow_download: Annotated[
        bool,
        typer.Option('--allow-download', help="Fetch the model's config.json from the hub if "
                     'missing.'),
    ] = False,
) -> None:
    """Show how many MiB a memory takes at most, part by part; nothing is loaded."""
    from infinipot_ros.visual_memory.memory_config import MemoryConfig
    from infinipot_ros.visual_memory.model_shapes import find_shape, shape_config
    from infinipot_ros.visual_memory.plan import MIB, interpreter_bytes, plan_memory
    from infinipot_ros.visual_memory.plan_table import BUDGETS, PARTS, plan_row
    from infinipot_ros.vlm.loading import load_config

    kind = device.partition(':')[0]
    if kind not in DEVICES:
        raise ConfigurationError(f'device {device!r} is not one of {", ".join(DEVICES)}')
    shape = find_shape(model)
    config = shape_config(shape) if shape is not None else load_config(
        model, local_files_only=not allow_download)
    rows = []
    for tokens in budget or BUDGETS:
        settings = MemoryConfig(
            model, device=device, dtype=dtype, weights=weights, budget=tokens,
            block_size=block_size, max_pixels=max_pixels, kv_dtype=kv_dtype)
        settings.validate()
        rows.append([f'{tokens:,}', *plan_row(plan_memory(config, settings), tokens)[1:]])
    typer.echo(f'MiB of {kind} memory at most, {dtype}'
               + (f', weights in {weights}' if weights else '')
               + (f', keys and values in {kv_dtype}' if kv_dtype else '')
               + ', by visual tokens of budget:')
    for first in range(0, len(rows), MAX_COLUMNS):
        typer.echo()
        for part, *figures in zip(PARTS, *rows[first:first + MAX_COLUMNS]):
            typer.echo(f'{part:<22}' + ''.join(f'{figure:>14}' for figure in figures))
    typer.echo('\n' + textwrap.fill(
        f'Python, torch and transformers take {interpreter_bytes() / MIB:,.0f} MiB besides, of '
        + ('the same memory' if kind == 'cpu' else "the host's memory, not the GPU's")
        + ': resident in this process, before anything is loaded.', 80))
    if settings.warning:
        typer.echo(f'warning: {settings.warning}', err=True)
