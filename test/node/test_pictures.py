# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The memory as a picture: heat where tokens survive, whatever there is to draw."""

from __future__ import annotations

import cv2
import numpy as np
from tiny_models import make_tiny

from infinipot_ros.node.pictures import (
    FRAME_HEIGHT,
    LABEL_HEIGHT,
    TILE_HEIGHT,
    TILES,
    WIDTH,
    Moment,
    compose,
    remembered_moments,
    warm,
)
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SIZE = (FRAME_HEIGHT + LABEL_HEIGHT + TILE_HEIGHT, WIDTH, 3)


def jpeg(shade: int) -> bytes:
    return cv2.imencode('.jpg', np.full((28, 56, 3), shade, np.uint8))[1].tobytes()


def test_heat_lies_where_tokens_survive() -> None:
    heat = np.zeros((2, 4), np.float32)
    heat[0, 0] = 1.0
    for thumbnail in (jpeg(90), None, b'no jpeg'):
        picture = warm(Moment('now', thumbnail, heat)).astype(int)
        height, width = picture.shape[:2]
        hot, cold = picture[:height // 4, :width // 8], picture[height // 2 + 2:, width // 2:]
        assert hot[..., 0].min() > hot[..., 2].max() + 60
        assert np.ptp(cold, axis=-1).max() <= 3 and cold.max() < 60


def test_it_is_drawn_whatever_there_is() -> None:
    moments = [Moment(f'{n} s', jpeg(9 * n), np.ones((2, 4), np.float32)) for n in range(20)]
    for latest, shown in ((None, []), (np.full((480, 640, 3), 200, np.uint8), moments),
                          (np.full((900, 3, 3), 200, np.uint8), moments[:1])):
        picture = compose(latest, shown, 'a caf\u00e9 of 64 tokens')
        assert picture.shape == SIZE and picture.dtype == np.uint8
    assert (compose(None, moments, '')[-TILE_HEIGHT // 2, :, 0] > 100).mean() > 0.5


def test_moments_of_a_compressed_memory(tmp_path) -> None:
    observer = VisualMemory(MemoryConfig(
        str(make_tiny('qwen2_5_vl', tmp_path / 'tiny')), budget=64, max_pixels=3136))
    assert remembered_moments(observer) == []
    for index in range(60):
        shade = np.random.default_rng(index).integers(0, 256, (56, 56, 3), np.uint8)
        camera = 'front' if index < 40 else 'rear'
        observer.add_frame(shade, (index + 1) * 1_000_000_000, camera=camera)
    moments = remembered_moments(observer)
    assert 1 < len(moments) <= TILES
    assert all(each.label.startswith('-') for each in moments)
    assert {each.label.split()[-1] for each in moments} == {'front', 'rear'}
    for each in moments:
        assert 0 < each.heat.max() <= 1 and each.jpeg
    assert moments[-1].heat.min() == 1.0, 'the newest grid is whole'
    assert min(each.heat.min() for each in moments) < 1.0, 'older ones are not'


def test_heat_has_the_size_of_its_own_grid(tmp_path) -> None:
    observer = VisualMemory(MemoryConfig(
        str(make_tiny('qwen2_5_vl', tmp_path / 'tiny')), budget=64, max_pixels=12 * 784))
    for index, (camera, size) in enumerate(
            [('front', (84, 112)), ('rear', (56, 28))] * 2):
        image = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
        observer.add_frame(image, (index + 1) * 1_000_000_000, camera=camera)
    assert {each.heat.shape for each in remembered_moments(observer)} == {(3, 4), (3, 2)}
    assert all(each.heat.min() == 1.0 for each in remembered_moments(observer))
