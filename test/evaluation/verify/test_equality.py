# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Equality with the plain pipeline: it holds for every family, and it can fail."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from families import FAMILIES
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny

from infinipot_ros.evaluation.verify import equality
from infinipot_ros.evaluation.verify.bundled_clip import BundledClip
from infinipot_ros.evaluation.verify.equality import EqualityCheck, memory_scores
from infinipot_ros.evaluation.verify.one_shot_model import OneShotModel, cut_patches
from infinipot_ros.evaluation.verify.verification_record import Equality
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.vlm.families.qwen2_vl import Qwen2VL
from infinipot_ros.vlm.loading import load_checkpoint
from infinipot_ros.vlm.pixels import patchify

MAX_PIXELS = 8 * 1024


@pytest.fixture(scope='session')
def clip() -> BundledClip:
    return BundledClip.read()


@pytest.fixture(scope='session')
def folders(tmp_path_factory):
    return {kind: make_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in FAMILIES}


def settings_of(folder, dtype='float32', **changes):
    return MemoryConfig(
        model=str(folder), dtype=dtype, max_pixels=MAX_PIXELS, budget=512, **changes)


def compare(settings, clip, plain=None) -> list[Equality]:
    return EqualityCheck(settings, clip, None if plain is None else str(plain)).run()


@pytest.mark.parametrize('kind', FAMILIES)
def test_every_family_gives_the_plain_model_s_scores(folders, clip, kind):
    check = EqualityCheck(settings_of(folders[kind], 'bfloat16'), clip)
    found = check.run()
    assert [each.dtype for each in found] == ['float32', 'bfloat16']
    for each in found:
        assert each.passed and each.tokens == 8, each
    assert found[0].difference < 1e-4
    assert found[0].same_best == 8
    # Releases of transformers agree but for where a question starts, behind the vision.
    positions = check.positions
    assert positions.tokens == found[0].prompt_tokens > 5 * 6
    rest = f'from token {positions.tokens - positions.different} on'
    assert positions.note.endswith(rest if positions.different else 'computes them')
    if kind == 'qwen3_vl':
        assert positions.different == 0


def perturbed(folder, target, name_part):
    shutil.copytree(folder, target)
    file = target / 'model.safetensors'
    weights = load_file(file)
    name = next(name for name in sorted(weights) if name_part in name)
    weights[name] = weights[name].clone()
    weights[name][0] += 0.1
    save_file(weights, file, metadata={'format': 'pt'})
    return target


@pytest.mark.parametrize('part', ['q_proj.weight', 'visual.patch_embed', 'lm_head'])
def test_another_weight_fails(folders, clip, tmp_path, part):
    plain = perturbed(folders['qwen2_5_vl'], tmp_path / 'other', part)
    [found] = compare(settings_of(folders['qwen2_5_vl']), clip, plain)
    assert found.passed is False
    assert found.difference > found.limit


def test_pixels_normalised_otherwise_than_the_checkpoint_says_fail(
        folders, clip, tmp_path, monkeypatch):
    folder = tmp_path / 'with file'
    shutil.copytree(folders['qwen2_5_vl'], folder)
    (folder / 'preprocessor_config.json').write_text(json.dumps(
        {'image_mean': list(Qwen2VL.MEAN), 'image_std': list(Qwen2VL.STD)}))
    check = EqualityCheck(settings_of(folder), clip)
    assert check.run()[0].passed
    assert check.normalisation == 'preprocessor_config.json'
    monkeypatch.setattr(Qwen2VL, 'MEAN', (0.5, 0.5, 0.5))
    assert compare(settings_of(folder), clip)[0].passed is False


def test_positions_that_are_not_the_prompt_s_change_the_plain_scores(folders, clip):
    """So that equal scores say something about positions."""
    folder = folders['qwen3_vl']
    prompt, _ = memory_scores(
        settings_of(folder, max_new_tokens=4), clip.frames[:4], clip.questions[0].question)
    plain = OneShotModel(str(folder), load_checkpoint(str(folder)))
    moved = prompt.positions.clone()
    moved[0, 0, 40:] += 5
    before, after = plain.scores(prompt), plain.scores(replace(prompt, positions=moved))
    assert before.shape == (4, plain.scores(prompt).shape[1])
    assert float((before - after).abs().max()) > 1e-3


def test_what_does_not_fit_is_skipped_with_the_reason(folders, clip, monkeypatch):
    monkeypatch.setattr(equality, 'available_bytes', lambda device: 1000)
    for each in compare(settings_of(folders['qwen2_vl'], 'bfloat16'), clip):
        assert each.passed is None and 'MiB too little' in each.skipped


def test_patches_are_cut_in_the_order_of_the_tower():
    frames = torch.randint(0, 256, (5, 56, 84, 3), dtype=torch.uint8)
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    ours, grid = cut_patches(pixels, 14, 2, 2)
    theirs, counts = patchify(frames, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert grid == tuple(counts[0].tolist())
    assert torch.allclose(ours, theirs, atol=1e-6)
