# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From a trained model to a checkpoint folder laid out like the published ones.

Weights are float16, named as in the published Qwen2.5-VL checkpoints, tied weights once. The
folder appears complete or not at all.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError

# How the parts are called in memory, and in published checkpoints.
NAMES = (('model.language_model.', 'model.'), ('model.visual.', 'visual.'))
# What the vision tower was taught to answer in; no part of a published checkpoint.
EYE_WORDS = 'eye_words.safetensors'
DESCRIPTION = (
    EYE_WORDS, 'config.json', 'generation_config.json', 'preprocessor_config.json', 'merges.txt',
    'tokenizer.json', 'tokenizer_config.json', 'vocab.json')


def published_name(name: str) -> str:
    """Turn a weight's name in memory into its name on disk."""
    for here, there in NAMES:
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name


def check_keep(earlier: Path, description: Path, target: Path) -> None:
    """
    Refuse to mix what cannot be mixed.

    :raises ConfigurationError: ``earlier`` has other words, or would be written over.
    """
    if target.resolve() == earlier.resolve():
        raise ConfigurationError(
            f'{target} would be written over, and is to be kept in part; name another target')
    if (earlier / 'vocab.json').read_bytes() != (description / 'vocab.json').read_bytes():
        raise ConfigurationError(
            f'the words of {earlier} are others than those now: its weights cannot be kept in '
            'part; leave out --keep')


def export(
    model: Any, description: Path, target: Path, *, earlier: Path | None = None, keep: float = 0.0,
) -> None:
    """
    Write a checkpoint folder, in place of the one that is there.

    :param description: folder with the files of ``write_description``.
    :param keep: share of the weights of the checkpoint ``earlier``, of the same words, in what is
        written. Between two legs of a training the mean often does better than either (Wortsman et
        al., Robust fine-tuning of zero-shot models, 2022).
    :raises ConfigurationError: as ``check_keep``.
    """
    from safetensors.torch import load_file, save_file
    draft = target.with_name(f'.{target.name}.draft')
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in DESCRIPTION:
        shutil.copyfile(description / name, draft / name)
    weights = {
        published_name(name): value.detach().float().cpu()
        for name, value in model.state_dict().items() if name != 'lm_head.weight'}
    if earlier is not None and keep:
        check_keep(earlier, description, target)
        for name, value in load_file(earlier / 'model.safetensors').items():
            weights[name] = weights[name].lerp(value.float(), keep)
    weights = {name: value.to(torch.float16).contiguous() for name, value in weights.items()}
    save_file(weights, draft / 'model.safetensors', metadata={'format': 'pt'})
    for name in (EYE_WORDS, 'model.safetensors'):
        (draft / name).chmod(0o644)
    for extra in target.glob('*.md') if target.is_dir() else ():
        shutil.copyfile(extra, draft / extra.name)
    old = target.with_name(f'.{target.name}.old')
    shutil.rmtree(old, ignore_errors=True)
    if target.is_dir():
        target.rename(old)
    draft.rename(target)
    shutil.rmtree(old, ignore_errors=True)
