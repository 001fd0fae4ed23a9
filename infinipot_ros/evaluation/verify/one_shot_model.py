# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The plain pipeline: a model as transformers loads it, in one forward pass over a whole prompt.

Its vision tower, its way of putting visual tokens into the text, its attention and its layers are
transformers' own; nothing is cached. Pixels are normalised and cut into patches here, by the
checkpoint's preprocessor file where it has one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.verify.one_shot_prompt import OneShotPrompt
from infinipot_ros.vlm.families.model_family import pad_frames
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import Checkpoint
from infinipot_ros.vlm.model_folder import find_model, read_json

# Where checkpoints have the mean and the standard deviation, newest kind first.
PREPROCESSORS = (
    'video_preprocessor_config.json', 'preprocessor_config.json', 'processor_config.json')
PARTS = ('video_processor', 'image_processor')
VIDEO = 2


@dataclass(frozen=True)
class Normalisation:
    """
    How pixels of 0 to 1 are normalised, in each colour.

    :param source: where the figures are from, for people.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    @classmethod
    def read(cls, name: str, family: Any) -> Normalisation:
        """
        Read it from a checkpoint.

        :param family: whose figures to use where the checkpoint has none.
        :raises ConfigurationError: neither has any.
        """
        folder = find_model(name)
        for file in PREPROCESSORS:
            if not (folder / file).is_file():
                continue
            found = read_json(folder / file)
            for part in (*(found.get(name) for name in PARTS), found):
                if isinstance(part, dict) and 'image_mean' in part and 'image_std' in part:
                    return cls(tuple(part['image_mean']), tuple(part['image_std']), file)
        try:
            return cls(tuple(family.MEAN), tuple(family.STD), 'this package')
        except AttributeError as error:
            raise ConfigurationError(
                f'model {name!r} has none of {", ".join(PREPROCESSORS)}, so it is not known how '
                'its pixels are normalised; fetch it again') from error


class OneShotModel:
    """
    A checkpoint that reads everything at once.

    :param name: what ``checkpoint`` was loaded by.
    """

    def __init__(self, name: str, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.model
        # Never attached to the model: it stays as it was loaded.
        self._family: Any = make_family(checkpoint.model.config)
        self.normalisation = Normalisation.read(name, self._family)

    @torch.inference_mode()
    def scores(self, prompt: OneShotPrompt) -> Tensor:
        """
        Return scores of the answer's tokens and of the one behind: float32 ``[n, vocabulary]``.

        They are on the CPU.
        """
        kept = prompt.answer + 1
        with _exact():
            output = self._model(
                **self._inputs(prompt), logits_to_keep=kept, use_cache=False,
                position_ids=self._family.position_ids(
                    prompt.positions.to(self._model.device)))
        # Some models of 4.57 return all of them.
        scores: Tensor = output.logits[0, -kept:].float().cpu()
        return scores

    @torch.inference_mode()
    def own_positions(self, prompt: OneShotPrompt) -> Tensor:
        """
        Return the positions that transformers computes: int64 ``[3, 1, n]`` or ``[1, n]``.

        :raises ConfigurationError: this release does not say them, and why.
        """
        inputs = self._inputs(prompt)
        compute = getattr(self._model.model, 'get_rope_index', None)
        if compute is None:
            return torch.arange(len(prompt.ids)).unsqueeze(0)
        ids = inputs['input_ids']
        known = inspect.signature(compute).parameters
        given = {
            'input_ids': ids, 'mm_token_type_ids': VIDEO * (ids == prompt.visual_id).int(),
            'video_grid_thw': inputs.get('video_grid_thw'),
            'second_per_grid_ts': torch.tensor([prompt.grid_seconds])}
        try:
            positions: Tensor = compute(
                **{name: value for name, value in given.items() if name in known})[0]
        except (RuntimeError, TypeError, ValueError, IndexError, StopIteration) as error:
            raise ConfigurationError(
                f'transformers computes none here: {type(error).__name__}: {error}') from error
        return positions.cpu().long()

    def _inputs(self, prompt: OneShotPrompt) -> dict[str, Tensor]:
        """Return what the model takes besides positions."""
        device, mean, std = self._model.device, self.normalisation.mean, self.normalisation.std
        ids = torch.tensor([prompt.ids], device=device)
        # As a processor gives it. Without, 4.57 takes positions that jump for several sequences.
        inputs = {'input_ids': ids, 'attention_mask': torch.ones_like(ids)}
        pixels = prompt.pixels.to(device).permute(0, 3, 1, 2).float() / 255
        pixels = (pixels - pixels.new_tensor(mean)[:, None, None]) / pixels.new_tensor(
            std)[:, None, None]
        vision = self._model.config.vision_config
        if hasattr(vision, 'temporal_patch_size'):
            patches, grid = cut_patches(
                pixels, vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
            inputs['pixel_values_videos'] = patches
            inputs['video_grid_thw'] = torch.tensor([grid], device=device)
        else:
            inputs['pixel_values_videos'] = pixels.unsqueeze(0)
        inputs['pixel_values_videos'] = inputs['pixel_values_videos'].to(self._model.dtype)
        return inputs


def cut_patches(
    pixels: Tensor, size: int, merge: int, frames: int,
) -> tuple[Tensor, tuple[int, int, int]]:
    """
    Cut frames into patches in the order of Qwen's towers; patches that are merged lie together.

    :param pixels: normalised, float32 ``[T, 3, h, w]``.
    :param size: of a patch, along a side, in pixels; ``frames``, in time.
    :param merge: patches that are merged, along a side.
    :return: float32 ``[n, 3 * frames * size * size]``, and how many in time, height and width.
    """
    pixels = pad_frames(pixels, frames)
    side = size * merge
    times, rows, columns = (
        pixels.shape[0] // frames, pixels.shape[2] // side, pixels.shape[3] // side)
    patches = torch.stack([
        pixels[time:time + frames, :, top:top + size, left:left + size].transpose(0, 1).flatten()
        for time in range(0, times * frames, frames)
        for row in range(0, rows * side, side) for column in range(0, columns * side, side)
        for top in range(row, row + side, size) for left in range(column, column + side, size)])
    return patches, (times, rows * merge, columns * merge)


@contextmanager
def _exact() -> Iterator[None]:
    """Let convolutions in float32 be float32: cuDNN's default rounds to 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
