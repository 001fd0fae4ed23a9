# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which score knows what will be asked about: TaR, VaN and rarity against the rendered truth.

Validation streams go through a memory under ``infinipot_v``. At each compression every past
token is scored by all three; those that show something the stream's questions are about are held
against the rest. The area under the ROC curve is the chance that a score puts one of the former
above one of the latter: 0.5 knows nothing, below misleads. For example::

    python benchmarks/scores_by_layer.py --budget /8 --plot scores.svg
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from torch import Tensor

from benchmarks.quality_streams import load_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.kv_cache.coordinates import layout_by_position
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.scores import (
    recent_grids,
    temporal_redundancy,
    value_norms_and_rarity,
)
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder
from infinipot_ros.visual_memory.pending import PendingFrame
from infinipot_ros.vlm.loading import load_model
from tools.tiny_model.splits import seed_range
from tools.tiny_model.suites import SUITES

SCORES = ('TaR', 'VaN', 'rarity')
RECENT_RATIO = 0.125
BINS = 40
# All but the suite that asks about nothing that was shown.
SHOWING = tuple(name for name in SUITES if name != 'absent')

Floats = npt.NDArray[np.float32]
# Of a score and layer: values of tokens that show evidence, and of the others.
Found = dict[tuple[str, str, int], list[tuple[Floats, Floats]]]


class Witness(EvictionPolicy):
    """
    Lets another policy choose and notes how each score ranks what turns out to matter.

    :param evidence: int64 ``[n]``, numbers of the tokens that show it, as ``number`` gives them.
    """

    def __init__(
        self, policy: EvictionPolicy, suite: str, evidence: npt.NDArray[np.int64]
    ) -> None:
        self._policy, self._suite = policy, suite
        self._evidence = torch.from_numpy(evidence)
        self.found: Found = defaultdict(list)
        self.kept: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def prepare(self, views: Sequence[LayerView]) -> None:
        """Let the policy look."""
        self._policy.prepare(views)

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose as the policy does; note scores of past tokens."""
        layout = layout_by_position(view.coordinates, view.shapes)
        count = recent_grids(view.keys.shape[1], layout.cells, RECENT_RATIO)
        recent = layout.age < count
        shows = torch.isin(number(view.coordinates), self._evidence)
        norms, rarity = value_norms_and_rarity(view.values)
        scores = {
            'TaR': temporal_redundancy(view.keys, layout, recent),
            'VaN': norms, 'rarity': rarity}
        for name, score in scores.items():
            for head in range(score.shape[0]):
                past = ~recent[head]
                self.found[self._suite, name, view.layer].append((
                    score[head][past & shows[head]].numpy(),
                    score[head][past & ~shows[head]].numpy()))
        slots = self._policy.select(view, target)
        held = int(shows.sum())
        self.kept[view.layer].append((int(shows.gather(1, slots).sum()), held))
        return slots


def number(coordinates: Tensor) -> Tensor:
    """Turn coordinates ``[..., 3]`` into one number each."""
    grid, row, column = coordinates.long().unbind(-1)
    return (grid * 1000 + row) * 1000 + column


def area_under_curve(shown: Floats, others: Floats) -> float:
    """Chance that one of ``shown`` is above one of ``others``; a tie counts half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, shown, 'left')
    not_above = np.searchsorted(ordered, shown, 'right')
    return float((below + not_above).mean() / (2 * len(others)))


def mean_area(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Average over compressions and heads in which both sorts of tokens are."""
    areas = [area_under_curve(*pair) for pair in pairs if len(pair[0]) and len(pair[1])]
    return float(np.mean(areas)) if areas else float('nan')


def watch(suite: str, seed: int, budget: str, model: Any, cache: Path) -> Witness:
    """Show a stream to a memory whose compressions are witnessed."""
    stream = load_stream(suite, seed, cache=cache)
    tokens = np.concatenate([
        each.tokens for each in stream.questions
        if each.tokens is not None and len(each.tokens)])
    settings = quality_settings('infinipot-tiny')
    rows, columns = model.grid_size(*stream.frames[0].shape[:2])
    grids = -(-len(stream.stamps_ns) // model.family.FRAMES_PER_GRID)
    limit = Variant('infinipot_v', budget).tokens(
        grids, rows * columns, settings.block_size // model.family.FRAMES_PER_GRID)
    if limit is None:
        raise typer.BadParameter(f'budget {budget} holds all of {stream.name}')
    settings = replace(
        settings, policy='infinipot_v', budget=limit, max_pixels=28 * 28 * rows * columns)
    encoder = FrameEncoder(settings, model)
    encoder.state.policy = witness = Witness(
        settings.make_policy(), suite, number(torch.from_numpy(tokens)).numpy())
    for rgb, stamp in zip(stream.frames, stream.stamps_ns):
        pixels = model.fit(rgb, settings.max_pixels)
        encoder.add(PendingFrame(pixels, int(stamp), '', None), jumped=False)
    return witness


def plot(found: Found, layers: Sequence[int], path: Path) -> None:
    """Draw the histograms: a layer a row, a score a column, all suites together."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(layers), len(SCORES), figsize=(9, 1.5 * len(layers)), squeeze=False)
    for row, layer in enumerate(layers):
        for column, name in enumerate(SCORES):
            pairs = [pair for (_, score, of), found_pairs in found.items()
                     if (score, of) == (name, layer) for pair in found_pairs]
            shown = np.concatenate([pair[0] for pair in pairs])
            others = np.concatenate([pair[1] for pair in pairs])
            edges = np.histogram_bin_edges(np.concatenate([shown, others]), BINS)
            cell = axes[row][column]
            cell.hist(others, edges, density=True, color='0.75', label='other tokens')
            cell.hist(shown, edges, density=True, histtype='step', color='C3', label='evidence')
            cell.set_yticks([])
            cell.tick_params(labelsize=7)
            if not row:
                cell.set_title(name, fontsize=9)
            if not column:
                cell.set_ylabel(f'layer {layer}', fontsize=8)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def main(
    suite: Annotated[
        list[str] | None, typer.Option(help='May be repeated.', show_default=' '.join(SHOWING)),
    ] = None,
    streams: Annotated[int, typer.Option(help='Validation streams a suite.')] = 2,
    budget: Annotated[str, typer.Option(help='/8, or a number of tokens.')] = '/8',
    plot_to: Annotated[
        Path | None, typer.Option('--plot', help='Draw histograms into this file.')] = None,
    cache: Annotated[Path, typer.Option(help='Where films are kept.')] = Path(
        '~/.cache/infinipot'),
) -> None:
    """Print, as Markdown, how well each score tells evidence from the rest."""
    torch.set_num_threads(1)
    model = load_model('infinipot-tiny')
    found: Found = defaultdict(list)
    typer.echo(f'| suite | layer | {" | ".join(SCORES)} | kept a compression |\n|{"---|" * 6}')
    layers: set[int] = set()
    for name in suite or SHOWING:
        kept: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for seed in seed_range('validation', streams):
            witness = watch(name, seed, budget, model, cache.expanduser())
            for key, pairs in witness.found.items():
                found[key] += pairs
            for layer, counts in witness.kept.items():
                kept[layer] += counts
        layers |= set(kept)
        for layer in sorted(kept):
            areas = ' | '.join(
                f'{mean_area(found[name, score, layer]):.2f}' for score in SCORES)
            left, held = np.sum(kept[layer], 0)
            typer.echo(f'| {name} | {layer} | {areas} | {100 * left / max(held, 1):.0f} % |')
    if plot_to is not None:
        plot(found, sorted(layers), plot_to)


if __name__ == '__main__':
    typer.run(main)
