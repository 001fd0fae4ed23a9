# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 and 4 bits: smaller by what was planned, near the published ones, known apart."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import DynamicCache

from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions
from tools.tiny_model.bag import read_questions

MODEL = 'infinipot-tiny'
DEMO = Path(__file__).resolve().parents[2] / 'demo'
SETTINGS = MemoryConfig(model=MODEL, budget=512, max_new_tokens=12)

needs_library = pytest.mark.skipif(
    importlib.util.find_spec('bitsandbytes') is None, reason='bitsandbytes is not installed')


@pytest.fixture(scope='module', params=['int8', 'int4'])
def weights(request):
    return request.param


@pytest.fixture(scope='module')
def quantised(weights) -> VisionLanguageModel:
    return load_model(MODEL, weights=weights)


def logits(model: VisionLanguageModel) -> torch.Tensor:
    ids = model.tokenizer('Where was the red ball? It was in the kitchen.')['input_ids']
    hidden = model.forward(model.embed(ids), text_positions(0, len(ids)), DynamicCache())
    return model.logits(hidden[0])


@needs_library
def test_it_is_as_small_as_planned_and_near_the_published_weights(weights, quantised):
    plain = load_model(MODEL)
    near = {'int8': 0.02, 'int4': 0.2}[weights]
    theirs = logits(plain)
    assert (logits(quantised) - theirs).norm() < near * theirs.norm()
    # The tiny model is a third embeddings and tower, which keep their form.
    assert quantised.weight_bytes < {'int8': 0.65, 'int4': 0.6}[weights] * plain.weight_bytes
    plan = plan_memory(load_config(MODEL), replace(SETTINGS, weights=weights))
    assert 0.98 * plan.weights <= quantised.weight_bytes <= plan.weights
    assert quantised.dtype == torch.float32


@needs_library
def test_memories_of_other_weights_are_told_apart(weights, quantised):
    plain = load_model(MODEL).fingerprint
    assert plain.difference(quantised.fingerprint) == f'weights is plain there and {weights} here'
    assert quantised.fingerprint.difference(plain) == f'weights is {weights} there and plain here'
    again = load_model(MODEL, weights=weights)
    assert not quantised.fingerprint.difference(again.fingerprint)
    memory = VisualMemory(SETTINGS)
    with pytest.raises(StorageError, match='weights'):
        VisualMemory(replace(SETTINGS, weights=weights), quantised).restore(memory.capture())


@needs_library
def test_the_bundled_model_answers_alike_in_8_bits():
    plain = VisualMemory(SETTINGS)
    small = VisualMemory(replace(SETTINGS, weights='int8'))
    questions = read_questions(DEMO / 'questions.jsonl')
    for number, frame in enumerate(open_source(DEMO / 'tour')):
        # A second of every four: enough to be compressed, and no longer than needed.
        if number % 8 < 2:
            plain.add_frame(frame.rgb, frame.stamp_ns)
            small.add_frame(frame.rgb, frame.stamp_ns)
    assert small.status().compressions
    answers = [
        [memory.ask(question.question).text for question in questions]
        for memory in (plain, small)]
    assert answers[0] == answers[1]


@needs_library
def test_no_machine_code_is_fetched(tmp_path):
    # Packages that quantise look for a faster product in package kernels, which asks the hub.
    (tmp_path / 'kernels.py').write_text("raise SystemExit('kernels was imported')\n")
    code = (
        'import torch; from torch import nn\n'
        'from infinipot_ros.vlm.quantization import quantize\n'
        'model = nn.Module(); model.layers = nn.ModuleList([nn.Linear(64, 64)])\n'
        "quantize(model, 'int4', torch.device('cpu'))\n"
        'print(type(model.layers[0]).__name__)\n'
        'try: import kernels\n'
        "except SystemExit: print('is there afterwards')\n")
    path = os.pathsep.join([str(tmp_path), *(each for each in sys.path if each)])
    done = subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path},
        capture_output=True, text=True)
    assert done.stdout.splitlines() == ['Linear4bit', 'is there afterwards'], done.stderr


def test_what_is_missing_or_unknown_is_named(monkeypatch):
    with pytest.raises(ConfigurationError, match="'int3' is not int8 or int4"):
        replace(SETTINGS, weights='int3').validate()
    monkeypatch.setitem(sys.modules, 'bitsandbytes', None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[quantized\]'"):
        load_model(MODEL, weights='int8')
