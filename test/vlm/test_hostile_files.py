# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The small files beside a model's weights: anything in them is a reason, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_places import paths_into, replaced
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.loading import load_model

KINDS = ('qwen2_5_vl', 'llava_next_video')
FILES = (
    'config.json', 'generation_config.json', 'tokenizer_config.json', 'chat_template.json',
    'video_preprocessor_config.json', 'processor_config.json')
HOSTILE = (
    0, -1, 2 ** 40, 10 ** 400, 0.5, 1e300, float('nan'), float('inf'), True, None, '', 'x' * 300,
    '\ud800', [], [1], [[1]], [None], {}, {'a': [1]}, {'type': 'yarn'})
#: What files that are missing from tiny models would hold.
MISSING = {
    'chat_template.json': {'chat_template': '{{ messages }}'},
    'processor_config.json': {'chat_template': '{{ messages }}', 'video_processor': {
        'size': {'shortest_edge': 24}, 'image_mean': [0.5, 0.5, 0.5]}},
    'video_preprocessor_config.json': {'size': {'shortest_edge': 24}, 'resample': 3}}


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    return {kind: make_tiny(kind, tmp_path_factory.mktemp('model') / kind) for kind in KINDS}


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('hostile')


def contents(folder: Path, file: str) -> Any:
    path = folder / file
    return json.loads(path.read_text()) if path.is_file() else MISSING[file]


def spoil(folder: Path, place: Path, file: str, content: object) -> Path:
    """Return a copy of a model with one file replaced."""
    spoiled = place / folder.name
    shutil.rmtree(spoiled, ignore_errors=True)
    shutil.copytree(folder, spoiled)
    (spoiled / file).write_text(json.dumps(content))
    return spoiled


@settings(max_examples=80)
@given(st.data())
def test_any_entry_of_any_file_replaced_is_refused_in_words_or_a_model(folders, place, data):
    folder = folders[data.draw(st.sampled_from(KINDS))]
    file = data.draw(st.sampled_from(FILES))
    content = contents(folder, file)
    path = data.draw(st.sampled_from(list(paths_into(content))))
    value = data.draw(st.sampled_from(HOSTILE))
    spoiled = spoil(folder, place, file, replaced(content, path, value))
    try:
        model = load_model(str(spoiled))
        # Of what was accepted, what a model does first.
        model.compute_once()
    except ConfigurationError as error:
        assert len(str(error)) < 2000


@pytest.mark.parametrize(('file', 'entries', 'expected'), [
    ('config.json', {'model_type': {}}, 'is a {} model'),
    ('generation_config.json', {'eos_token_id': {}}, 'sets eos_token_id to {}, it must be'),
    ('generation_config.json', {'eos_token_id': [[1]]}, 'sets eos_token_id to [[1]], it must be'),
    ('generation_config.json', {'eos_token_id': [1, -1]}, 'sets eos_token_id to [1, -1]'),
    ('generation_config.json', {'repetition_penalty': 10 ** 400}, 'number above 0, at most 100'),
    ('video_preprocessor_config.json', {'resample': [3]}, 'sets resample to [3]'),
    ('video_preprocessor_config.json', {'size': {'shortest_edge': []}}, 'sets size to'),
    ('video_preprocessor_config.json', {'size': [24]}, 'sets size to [24]'),
    ('video_preprocessor_config.json', {'size': {}}, 'sets size to {}'),
    ('video_preprocessor_config.json', {'image_std': 10 ** 400}, 'one number from 0.01 to 1'),
    ('video_preprocessor_config.json', {'image_std': [0.5, 0.5, 1e-300]}, 'from 0.01 to 1'),
    ('video_preprocessor_config.json', {'image_mean': [0.5, 0.5, 1e300]}, 'from 0.0 to 1'),
])
def test_what_is_wrong_is_named_with_its_value(file, entries, expected, folders, place):
    folder = folders['llava_next_video']
    spoiled = spoil(folder, place, file, {**contents(folder, file), **entries})
    with pytest.raises(ConfigurationError) as caught:
        load_model(str(spoiled))
    assert expected in str(caught.value)


@pytest.mark.parametrize('length', ['', [1], {'a': 1}, -1, 10 ** 400, 7])
def test_the_length_that_a_tokenizer_claims_to_read_does_not_matter(length, folders, place):
    folder, file = folders['qwen2_5_vl'], 'tokenizer_config.json'
    spoiled = spoil(
        folder, place, file, {**contents(folder, file), 'model_max_length': length})
    text = 'What was there? ' * 9
    assert load_model(str(spoiled)).prompt.question_ids(text) == (
        load_model(str(folder)).prompt.question_ids(text))
