# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bundled model and the bundled tour: small, whole, and the one answers about the other."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model, resolve_model
from tools.tiny_model.bag import read_questions
from tools.tiny_model.network import Size, new_model, write_description
from tools.tiny_model.questions import NOT_SEEN
from tools.tiny_model.splits import split_of

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / 'models' / 'infinipot-tiny'
DEMO = ROOT / 'demo'
BUDGET = 1024
TOKENS_A_GRID = 24


def weight_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def test_the_model_is_small_and_whole():
    assert weight_of(MODEL) < 8_000_000
    assert {'config.json', 'generation_config.json', 'merges.txt', 'model.safetensors',
            'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json',
            'vocab.json'} <= {path.name for path in MODEL.iterdir()}
    with safe_open(MODEL / 'model.safetensors', 'pt') as weights:
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert {name.split('.')[0] for name in tensors} == {'model', 'visual'}


def test_the_model_is_found_by_its_name_and_is_a_qwen2_5_vl():
    assert Path(resolve_model('infinipot-tiny')).name == MODEL.name
    config = AutoConfig.from_pretrained(MODEL, local_files_only=True)
    assert config.model_type == 'qwen2_5_vl'
    assert load_model(str(MODEL)).tokenizer.eos_token == '<|im_end|>'


def test_the_code_still_makes_a_model_of_this_shape(tmp_path):
    write_description(tmp_path, Size())
    for name in ('config.json', 'tokenizer.json', 'vocab.json', 'merges.txt'):
        assert (tmp_path / name).read_text() == (MODEL / name).read_text(), name
    ours = new_model(tmp_path).state_dict()
    theirs = AutoModelForImageTextToText.from_pretrained(MODEL).state_dict()
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in theirs.items()}


def test_the_tour_is_small_long_and_held_out():
    assert weight_of(DEMO) < 4_000_000
    frames = list(open_source(DEMO / 'tour'))
    assert len(frames) // 2 * TOKENS_A_GRID >= 4 * BUDGET
    assert {frame.rgb.shape for frame in frames} == {(112, 168, 3)}
    steps = {later.stamp_ns - frame.stamp_ns for frame, later in pairwise(frames)}
    assert steps == {500_000_000}
    seed = (frames[0].stamp_ns // 1_000_000_000 - 1_700_000_000) // 1_000
    assert split_of(2_000_000 + seed) == 'test'


def test_the_questions_are_documented_and_about_the_tour():
    frames = [frame.stamp_ns for frame in open_source(DEMO / 'tour')]
    questions = read_questions(DEMO / 'questions.jsonl')
    assert len({question.id for question in questions}) == len(questions) == 6
    assert {question.kind for question in questions} >= {'colour', 'room', 'seen'}
    assert NOT_SEEN in {question.answer for question in questions}
    during = [question for question in questions if question.ask_at < frames[-1]]
    assert len(during) == 2
    assert max(question.delay for question in questions) >= 100
    for question in questions:
        assert question.ask_at in frames
        for first, last in question.evidence:
            assert frames[0] <= first <= last <= question.ask_at
        assert bool(question.evidence) == (question.answer not in (NOT_SEEN, 'no'))
    for line in (DEMO / 'questions.jsonl').read_text().splitlines():
        assert set(json.loads(line)) == {
            'id', 'ask_at', 'question', 'answer', 'kind', 'evidence', 'delay'}


@pytest.mark.parametrize(('policy', 'budget'), [('infinipot_v', BUDGET), ('full', 6_000)])
def test_the_model_answers_about_the_tour(policy, budget):
    observer = VisualMemory(MemoryConfig(
        model=str(MODEL), policy=policy, budget=budget, max_new_tokens=12))
    questions = read_questions(DEMO / 'questions.jsonl')
    answers = {}
    for frame in open_source(DEMO / 'tour'):
        observer.add_frame(frame.rgb, frame.stamp_ns)
        for question in questions:
            if question.ask_at == frame.stamp_ns:
                answers[question.id] = observer.ask(question.question).text
    right = [answers[question.id] == question.answer for question in questions]
    assert sum(right) >= 5, answers
    assert observer.status().tokens <= budget


def test_the_tokenizer_reads_the_published_way():
    tokenizer = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
    for text in ('What colour is the ball?', 'Wo ist der Bär?'):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.convert_tokens_to_ids('<|im_end|>') == tokenizer.eos_token_id
