# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The unbounded upper row: what a question reads, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from camera import noise, stamp
from torch.nn import functional

from benchmarks.rekv import RetrievingModel, words_of
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import FULL
from infinipot_ros.visual_memory.visual_memory import VisualMemory

FRAMES = 24
QUESTION = 'What was seen?'


def watch(folder, model):
    settings = replace(
        quality_settings(folder), policy=FULL, budget=400, max_pixels=6 * 784, max_new_tokens=4)
    memory = VisualMemory(settings, model)
    for number in range(FRAMES):
        memory.add_frame(noise(number), stamp(number))
    return memory


def scores_of(memory, model):
    """The scores of every token of an answer."""
    found = []
    model.on_scores = lambda scores: found.append(scores.clone())
    try:
        memory.ask(QUESTION)
    finally:
        model.on_scores = None
    return torch.stack([each.flatten() for each in found])


def test_with_room_for_every_grid_it_is_the_full_memory(folder, model):
    retrieving = RetrievingModel(model, FRAMES // 2)
    torch.testing.assert_close(
        scores_of(watch(folder, retrieving), model), scores_of(watch(folder, model), model),
        atol=1e-5, rtol=1e-4)
    assert retrieving.chosen == [[*range(FRAMES // 2)]] * 2


@pytest.mark.parametrize('grids', [1, 3, 7])
def test_an_answer_reads_the_grids_it_chose_and_no_others(folder, model, grids):
    """In no layer does it matter what the values of the others are."""
    retrieving = RetrievingModel(model, grids)
    memory = watch(folder, retrieving)
    before = scores_of(memory, model)
    chosen = retrieving.chosen
    assert [len(own) for own in chosen] == [grids, grids]
    state = memory.debug_state()
    for layer, own in enumerate(chosen):
        _, values, coordinates = state.tensors[3 * layer:3 * layer + 3]
        others = ~torch.isin(coordinates[..., 0], torch.tensor(own))
        values[0, :, state.prefix_length:][others] = 1e3
    assert torch.equal(scores_of(memory, model), before)
    # Those that it chose do matter.
    _, values, coordinates = state.tensors[:3]
    values[0, :, state.prefix_length:][torch.isin(
        coordinates[..., 0], torch.tensor(chosen[0]))] += 1.0
    assert not torch.equal(scores_of(memory, model), before)


@pytest.mark.parametrize('question', [QUESTION, 'x', 'Did you see a red ball?'])
def test_the_words_of_a_question_are_those_between_the_template(model, question):
    ids = model.prompt.question_ids(question)
    assert model.tokenizer.decode(ids[words_of(model.prompt, ids)]).strip() == question


def test_grids_are_chosen_by_similarity_of_means(folder, model):
    """In the first layer queries follow from the words alone, and keys from the pictures."""
    retrieving = RetrievingModel(model, 4)
    memory = watch(folder, retrieving)
    memory.ask(QUESTION)
    attention = model.module.model.language_model.layers[0].self_attn
    norm = model.module.model.language_model.layers[0].input_layernorm
    ids = model.prompt.question_ids(QUESTION)
    with torch.inference_mode():
        query = attention.q_proj(norm(model.embed(ids)))[0, words_of(model.prompt, ids)].mean(0)
    similarity = []
    heads, groups = 2, attention.num_key_value_groups
    with torch.inference_mode():
        for grid in range(FRAMES // 2):
            frames = torch.stack([
                model.fit(noise(number), 6 * 784) for number in (2 * grid, 2 * grid + 1)])
            keys = attention.k_proj(norm(model.encode(frames).tokens.flatten(0, 1))).mean(0)
            keys = keys.view(heads, 1, -1).expand(-1, groups, -1).flatten()
            similarity.append(float(functional.cosine_similarity(keys, query, dim=0)))
    nearest = sorted(range(FRAMES // 2), key=lambda grid: -similarity[grid])
    # Rows and columns turn keys a little, the same way in every grid.
    assert {*nearest[:2]} <= {*retrieving.chosen[0]} <= {*nearest[:6]}
