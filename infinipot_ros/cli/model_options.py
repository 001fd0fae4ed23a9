# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Options that several commands have; torch is not imported here.

Where one command has a default and another takes it from a preset, they share the help text.
"""

from __future__ import annotations

from typing import Annotated

import typer

FPS = 'Frames a second to take; 0 takes all.'
MAX_PIXELS = (
    'Pixels a frame is shrunk to; 784 make a visual token of Qwen2-VL and Qwen2.5-VL, 1024 one of '
    'Qwen3-VL.')
BLOCK_SIZE = 'Frames encoded in one forward pass; whole grids, of two frames for Qwen-VL.'
KEEP_RATIO = 'Share of the budget left after a compression.'
MAX_NEW_TOKENS = 'Most tokens of an answer.'

Model = Annotated[
    str, typer.Option(help='A folder, a hub id in the local cache, or a bundled name.')]
Dtype = Annotated[str, typer.Option(help='float32, float16 or bfloat16.')]
Weights = Annotated[
    str, typer.Option(help="int8 or int4: quantised weights (pip install '.[quantized]').")]
KvDtype = Annotated[
    str, typer.Option(help='int8 or fp8: keys and values in 8 bits; empty: in --dtype.')]
DuplicateSimilarity = Annotated[
    float,
    typer.Option(
        help='Skip frames whose similarity to the last stored frame is at least this: 0.95 where '
             'a robot often stands; 0 takes all.', min=0, max=1)]
MaxImagePixels = Annotated[
    int | None,
    typer.Option(
        help='Pixels an image may have; larger ones are left out before they are decoded.',
        min=784, show_default='16777216')]
#: For commands that can use several processes.
OneDevice = Annotated[str, typer.Option(help='cpu, or cuda, which takes one process.')]
TarRatio = Annotated[
    float | None, typer.Option(help="TaR's share of what is kept.", show_default='the policy')]
RecentRatio = Annotated[
    float | None,
    typer.Option(help='Share of the grids that is recent.', show_default='the policy')]
RecentFrames = Annotated[
    int, typer.Option(help='The newest frames that every question sees encoded again.', min=0)]
RecentMaxPixels = Annotated[
    int,
    typer.Option(help='Pixels these are shrunk to.', min=0, show_default='as --max-pixels')]
SecondLookFrames = Annotated[
    int,
    typer.Option(
        help='Most frames encoded again for another answer: of the moments the first rests on.',
        min=0)]
SecondLookBytes = Annotated[
    int, typer.Option(help='Most bytes of the jpegs kept for that, in memory.', min=1)]
LOOK_BYTES = 64 * 1024 ** 2
Topic = Annotated[str | None, typer.Option(help='Image topic of a bag that has several.')]
Since = Annotated[
    str | None,
    typer.Option(
        help='Ask only about what was seen from then on: 1:30 from the start, an ISO date, or '
             '"-10 min" before the end.')]
Until = Annotated[
    str | None,
    typer.Option(help='Ask only about what was seen until then; written like --since.')]
AllowDownload = Annotated[
    bool, typer.Option('--allow-download', help='Fetch the model from the hub if missing.')]

#: Options that were renamed, old name to new; the old ones still work in this release, and warn.
_RENAMED = {'still-likeness': 'duplicate-similarity'}


def _rename(token: str) -> str:
    if token not in _RENAMED:
        return token
    typer.echo(f'--{token} is now --{_RENAMED[token]}: use that, the old name works in this '
               'release only', err=True)
    return _RENAMED[token]


#: Settings of the commands that take these options.
CONTEXT = {'token_normalize_func': _rename}


def typed_times(since: str | None, until: str | None) -> dict[str, str]:
    """Return what was typed for ``--since`` and ``--until``, as far as given."""
    return {option: text for option, text in (('--since', since), ('--until', until))
            if text is not None}
