# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Squares as PIL makes them, and processor files that ask for something else."""

import json

import numpy as np
import pytest
import torch
from camera import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_models import NEXT_VIDEO_PIXELS, ONEVISION_PIXELS, make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families.frame_processor import FrameProcessor
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.processor_files import read_chat_template, read_video_settings

HALF = (0.5, 0.5, 0.5)
SQUEEZED, CROPPED = (FrameProcessor(24, crop, HALF, HALF) for crop in (False, True))


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 90), st.integers(12, 90), st.sampled_from(['bicubic', 'bilinear']))
def test_squares_are_those_of_pil(height, width, resampling):
    # Neither end is reached: PIL clips between its two passes.
    frame = 64 + noise(height * width, height, width) // 2
    filters = {'bicubic': Image.Resampling.BICUBIC, 'bilinear': Image.Resampling.BILINEAR}
    picture = Image.fromarray(frame)
    squeezed = picture.resize((24, 24), filters[resampling])
    long = int(24 * max(height, width) / min(height, width))
    size = (24, long) if height > width else (long, 24)
    left, top = ((edge - 24) // 2 for edge in size)
    cropped = picture.resize(size, filters[resampling]).crop((left, top, left + 24, top + 24))
    for crop, theirs in ((False, squeezed), (True, cropped)):
        ours = FrameProcessor(24, crop, HALF, HALF, resampling).resize(
            torch.from_numpy(frame)[None])[0].numpy()
        assert ours.shape == (24, 24, 3)
        assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= 1


def test_a_square_of_the_right_size_is_taken_as_it_is():
    frame = torch.from_numpy(noise(0, 24, 24))[None]
    for processor in (SQUEEZED, CROPPED):
        assert torch.equal(processor.resize(frame), frame)
        plain = (frame.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        assert torch.allclose(processor.normalize(frame), plain, atol=1e-6)


def test_a_processor_file_decides():
    sizes = {'size': {'height': 24, 'width': 24}}
    found = SQUEEZED.updated({**ONEVISION_PIXELS, **sizes, 'image_std': [0.2, 0.3, 0.4]})
    assert found == FrameProcessor(24, False, HALF, (0.2, 0.3, 0.4))
    found = SQUEEZED.updated({'resample': 2, 'image_mean': 0.25})
    assert found == FrameProcessor(24, False, (0.25,) * 3, HALF, 'bilinear')
    crop = {'size': {'shortest_edge': 24}, 'crop_size': {'height': 24, 'width': 24}}
    assert SQUEEZED.updated({**NEXT_VIDEO_PIXELS, **crop}).crop
    assert SQUEEZED.updated({}) == SQUEEZED


@pytest.mark.parametrize(('given', 'message'), [
    ({'do_normalize': False}, 'do_normalize to False'),
    ({'do_resize': None}, 'do_resize to None'),
    ({'rescale_factor': 1.0}, 'rescale_factor to 1.0'),
    ({'resample': 1}, 'resample to 1;'),
    ({'image_mean': [0.5, 0.5]}, 'image_mean to'),
    ({'image_std': [0.5, 0.0, 0.5]}, 'image_std to'),
    ({'image_std': 'wide'}, 'image_std to'),
    ({'size': {'height': 24, 'width': 30}}, 'reads 24x24 pixels'),
    ({'size': {'shortest_edge': 24}}, 'makes no squares'),
    ({'do_center_crop': True, 'crop_size': {'height': 12, 'width': 12}}, 'crop_size to'),
    ({'do_center_crop': True, 'size': {'height': 24, 'width': 24}}, 'makes no squares')])
def test_what_cannot_be_done_is_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        SQUEEZED.updated(given)


def test_files_take_precedence_as_in_transformers(tmp_path):
    def write(name, content):
        (tmp_path / name).write_text(json.dumps(content))

    assert read_video_settings(tmp_path) == {}
    assert read_chat_template(tmp_path) is None
    write('preprocessor_config.json', {'resample': 1})
    assert read_video_settings(tmp_path) == {'resample': 1}
    write('video_preprocessor_config.json', {'resample': 2})
    assert read_video_settings(tmp_path) == {'resample': 2}
    write('processor_config.json', {'video_token': '<video>'})
    assert read_video_settings(tmp_path) == {'resample': 2}
    write('chat_template.json', {'chat_template': 'one'})
    assert read_chat_template(tmp_path) == 'one'
    write('processor_config.json', {'video_processor': {'resample': 3}, 'chat_template': 'two'})
    assert read_video_settings(tmp_path) == {'resample': 3}
    assert read_chat_template(tmp_path) == 'two'
    (tmp_path / 'processor_config.json').write_text('{')
    with pytest.raises(ConfigurationError, match=r'processor_config\.json cannot be loaded'):
        read_video_settings(tmp_path)


def test_a_model_whose_files_contradict_each_other_is_refused(tmp_path):
    folder = make_tiny('llava_next_video', tmp_path)
    file = folder / 'video_preprocessor_config.json'
    file.write_text(json.dumps({
        **NEXT_VIDEO_PIXELS, 'size': {'shortest_edge': 224},
        'crop_size': {'height': 224, 'width': 224}}))
    with pytest.raises(ConfigurationError, match='its vision tower reads 24x24 pixels'):
        load_model(str(folder))
    file.unlink()
    family = load_model(str(folder)).family
    assert family.frames.crop
    assert family.frames.mean[0] == pytest.approx(0.48145466)
