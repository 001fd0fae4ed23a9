# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bundled model's tokenizer, shape and checkpoint folder, untrained."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.pixels import patchify
from tools.tiny_model.export import export, published_name
from tools.tiny_model.network import (
    WORDS,
    Size,
    encode_grids,
    new_model,
    read_eye_words,
    start_from,
    word_ids,
    word_table,
    write_description,
)
from tools.tiny_model.questions import NOT_SEEN, corpus
from tools.tiny_model.tokenizer import SPECIALS


@pytest.mark.parametrize('text', [
    'What colour is the ball?', 'wo ist mein Schlüssel?', '球在哪里', '🤖 12 345',
    '  two  spaces\n', "it's John's"])
def test_any_text_is_spelt_and_read_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_every_special_token_is_one_token(tokenizer):
    for special in SPECIALS:
        ids = tokenizer(f'a{special}b').input_ids
        assert len(ids) == 3
        assert tokenizer.decode(ids, skip_special_tokens=True) == 'ab'
    assert tokenizer.eos_token == '<|im_end|>'
    assert tokenizer.pad_token == '<|endoftext|>'


def test_the_words_of_the_world_are_single_tokens(tokenizer):
    for word in WORDS:
        assert len(tokenizer(f' {word}').input_ids) == 1
        assert len(tokenizer(word).input_ids) == 1
    assert max(len(tokenizer(text).input_ids) for text in corpus()) <= 24
    assert len(tokenizer(NOT_SEEN).input_ids) == 2


def test_the_chat_template_is_the_one_the_runtime_cuts(tokenizer):
    text = tokenizer.apply_chat_template(
        [{'role': 'user', 'content': [
            {'type': 'video'}, {'type': 'text', 'text': 'Which room are you in?'}]}],
        tokenize=False, add_generation_prompt=True)
    assert text == (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n'
        '<|vision_start|><|video_pad|><|vision_end|>Which room are you in?<|im_end|>\n'
        '<|im_start|>assistant\n')


def test_the_words_start_as_orthogonal_vectors(model, tokenizer):
    table = word_table(model, tokenizer)
    assert torch.allclose(table @ table.T, torch.eye(len(WORDS)), atol=1e-5)
    embedding = model.get_input_embeddings().weight
    for index, word in enumerate(WORDS):
        for number in word_ids(tokenizer, word):
            assert torch.equal(embedding[number], table[index])


def test_encoding_many_grids_at_once_equals_the_towers_own_pass(model):
    frames = torch.randint(0, 256, (6, 112, 168, 3), dtype=torch.uint8)
    patches, grid = patchify(frames)
    with torch.no_grad():
        ours = encode_grids(model.model.visual, patches.reshape(3, -1, patches.shape[-1]))
        theirs = model.model.visual(patches, grid_thw=grid)
    theirs = getattr(theirs, 'pooler_output', theirs)
    assert torch.allclose(ours.reshape(theirs.shape), theirs, atol=1e-5)


def test_an_exported_folder_is_a_published_one(model, description, tmp_path):
    target = tmp_path / 'tiny'
    target.mkdir()
    (target / 'left over').touch()
    (target / 'README.md').write_text('stays')
    export(model, description, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['tiny']
    assert not (target / 'left over').exists()
    assert (target / 'README.md').read_text() == 'stays'
    loaded, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        target, local_files_only=True, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
    for name, value in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], value, atol=2e-3)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert loaded.config.vision_config.tokens_per_second == 2
    assert loaded.generation_config.eos_token_id[0] == AutoTokenizer.from_pretrained(
        target, local_files_only=True).eos_token_id
    assert json.loads((target / 'config.json').read_text())['model_type'] == 'qwen2_5_vl'
    assert load_model(str(target)).tokenizer.eos_token == '<|im_end|>'


def test_a_share_of_the_earlier_weights_is_kept(model, description, tmp_path):
    export(model, description, tmp_path / 'earlier')
    later = new_model(description, seed=5)
    export(later, description, tmp_path / 'tiny', earlier=tmp_path / 'earlier', keep=0.25)
    mixed = load_file(tmp_path / 'tiny' / 'model.safetensors')
    ones, others = (
        {published_name(name): value for name, value in each.state_dict().items()}
        for each in (model, later))
    for name, value in mixed.items():
        assert torch.allclose(
            value.float(), 0.25 * ones[name] + 0.75 * others[name], atol=2e-3), name
    (tmp_path / 'earlier' / 'vocab.json').write_text('{}')
    with pytest.raises(ConfigurationError, match='words'):
        export(later, description, tmp_path / 'tiny', earlier=tmp_path / 'earlier', keep=0.25)


def test_training_goes_on_from_a_checkpoint_whose_words_had_other_numbers(
    model, description, tokenizer, tmp_path,
):
    target = tmp_path / 'earlier'
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    export(model, description, target)
    vocabulary = json.loads((target / 'tokenizer.json').read_text())
    pieces = vocabulary['model']['vocab']
    one, other = tokenizer('yes').input_ids[0], tokenizer('no').input_ids[0]
    pieces['yes'], pieces['no'] = other, one
    (target / 'tokenizer.json').write_text(json.dumps(vocabulary))
    later = new_model(description, seed=5)
    start_from(later, tokenizer, target)
    table, earlier = (m.get_input_embeddings().weight.half() for m in (later, model))
    assert torch.equal(table[one], earlier[other])
    assert torch.equal(table[other], earlier[one])
    rest = [n for n in range(len(table)) if n not in (one, other)]
    assert torch.equal(table[rest], earlier[rest])
    for name, value in model.model.visual.state_dict().items():
        assert torch.equal(later.model.visual.state_dict()[name].half(), value.half()), name
    words = read_eye_words(target)
    assert torch.allclose(words @ words.T, torch.eye(len(WORDS)), atol=1e-5)


def test_a_checkpoint_of_another_size_or_none_is_refused(
    model, description, tokenizer, tmp_path,
):
    with pytest.raises(ConfigurationError, match='is not there'):
        start_from(model, tokenizer, tmp_path)
    with pytest.raises(ConfigurationError, match='eye was taught'):
        read_eye_words(tmp_path)
    export(model, description, tmp_path / 'small')
    write_description(tmp_path / 'large', Size())
    with pytest.raises(ConfigurationError, match='of the same size'):
        start_from(new_model(tmp_path / 'large'), tokenizer, tmp_path / 'small')
