# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens on disk: loaded, they give the answers that the frames gave."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from quality_streams import Blind, untimed
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation import encodings
from infinipot_ros.evaluation.encodings import Block, DumpedTokens, unwritable
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.recorded_stream import RecordedStream, Recording
from infinipot_ros.evaluation.stream_dump import DumpingStream, LoadedStream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import make_variants
from infinipot_ros.visual_memory.shared_model import load_shared_model

FRAMES = 24
STEP_NS = 500_000_000
VARIANTS = make_variants(('full', 'uniform'), ('/3',))
MADE_WITH = {'weights_sha256': 'abc', 'fps': None}


@pytest.fixture(scope='module')
def settings(tmp_path_factory):
    folder = make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('dumps') / 'tiny', layers=2)
    return replace(quality_settings(str(folder)), max_new_tokens=4, max_pixels=6 * 784)


@pytest.fixture(scope='module')
def model(settings):
    return load_shared_model(settings)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for index in range(FRAMES):
        noise = np.random.default_rng(index).integers(0, 256, (112, 168, 3), dtype=np.uint8)
        PilImage.fromarray(noise).save(folder / f'{index}.png')
    return folder


def ask(frame, name=None):
    """A question right after a frame; after odd frames a grid is complete."""
    return Question(
        name or f'q{frame}', f'What was it at {frame}?', 'this', 'colour',
        ask_at_ns=frame * STEP_NS, clock='start')


ASKED = [ask(9), ask(14), ask(23)]


def recording(pictures, output=None, asked=ASKED):
    return Recording('walk', 'sort', 0, pictures, asked, output=output)


def watch(stream, settings, model, variants=VARIANTS):
    return [untimed(each) for run in run_stream(stream, variants, settings, model)
            for each in run.outcomes]


@pytest.fixture
def dumped(pictures, settings, model, tmp_path):
    """A dump and the outcomes of its making."""
    stream = DumpingStream(
        recording(pictures, tmp_path / 'out'), tmp_path / 'dump', MADE_WITH, settings.max_pixels)
    return tmp_path / 'dump', watch(stream, settings, model)


def test_dumping_changes_nothing(dumped, pictures, settings, model):
    plain = watch(RecordedStream(recording(pictures)), settings, model)
    assert [outcome | {'frame': None} for outcome in dumped[1]] == plain


def test_what_was_dumped_is_answered_alike_without_frames(
        dumped, pictures, settings, model, tmp_path):
    folder, outcomes = dumped
    stream = LoadedStream(recording(pictures, tmp_path / 'again'), folder, MADE_WITH)
    survey = RecordedStream(recording(pictures)).survey()
    for name in ('frames', 'first_ns', 'last_ns', 'origin_ns', 'digest'):
        assert getattr(stream.survey(), name) == getattr(survey, name)
    assert watch(stream, settings, Blind(model)) == outcomes
    for outcome in outcomes:
        assert (tmp_path / 'again' / outcome['frame']).read_bytes() == (
            tmp_path / 'out' / outcome['frame']).read_bytes()


def test_the_recording_may_be_gone(dumped, settings, model, tmp_path):
    gone = recording(tmp_path / 'gone')
    loaded = LoadedStream(gone, dumped[0], MADE_WITH)
    assert [each['answer'] for each in watch(loaded, settings, Blind(model))] == [
        each['answer'] for each in dumped[1]]


def test_other_variants_use_the_grids_of_a_dump(dumped, pictures, settings, model):
    # So small that a compression frees less than a block: calls that were never dumped.
    variants = make_variants(('recent', 'uniform'), ('24', '/2'))
    fresh = watch(RecordedStream(recording(pictures)), settings, model, variants)
    loaded = watch(
        LoadedStream(recording(pictures), dumped[0], MADE_WITH), settings, Blind(model), variants)
    assert loaded == fresh


def test_a_question_that_needs_what_was_not_dumped_is_refused(dumped, pictures, settings, model):
    # Between the two frames of a grid: the first was never encoded alone.
    between = recording(pictures, asked=[ask(6)])
    stream = LoadedStream(between, dumped[0], MADE_WITH)
    with pytest.raises(SourceError, match=r'lacks the tokens .*make the dump again'):
        watch(stream, settings, Blind(model))
    whole = LoadedStream(recording(pictures, asked=[ask(7)]), dumped[0], MADE_WITH)
    assert watch(whole, settings, Blind(model))


def test_tokens_may_fill_several_files(pictures, settings, model, tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, 'SHARD_BYTES', 10_000)
    stream = DumpingStream(recording(pictures), tmp_path, MADE_WITH, settings.max_pixels)
    outcomes = watch(stream, settings, model)
    assert len([*tmp_path.glob('tokens-*.safetensors')]) > 2
    loaded = LoadedStream(recording(pictures), tmp_path, MADE_WITH)
    assert watch(loaded, settings, Blind(model)) == outcomes


def test_another_model_or_setting_is_refused(dumped, pictures):
    with pytest.raises(ConfigurationError, match=r"settings \(weights_sha256 'abc' became 'xyz'"):
        LoadedStream(recording(pictures), dumped[0], MADE_WITH | {'weights_sha256': 'xyz'})
    with pytest.raises(ConfigurationError, match=r'fps None became 2\.0'):
        LoadedStream(recording(pictures), dumped[0], MADE_WITH | {'fps': 2.0})
    header = json.loads((dumped[0] / 'dump.json').read_text())
    (dumped[0] / 'dump.json').write_text(json.dumps(header | {'version': 99}))
    with pytest.raises(ConfigurationError, match='version 99 became 1'):
        LoadedStream(recording(pictures), dumped[0], MADE_WITH)


def test_other_frames_are_refused(dumped, pictures, tmp_path):
    other = shutil.copytree(pictures, tmp_path / 'other')
    PilImage.new('RGB', (168, 112)).save(other / '3.png')
    with pytest.raises(SourceError, match='is not the recording that'):
        LoadedStream(recording(other), dumped[0], MADE_WITH)


def test_a_dump_that_is_not_whole_is_refused(dumped, pictures, settings, model, tmp_path):
    folder = dumped[0]
    with pytest.raises(SourceError, match=r'no complete dump of walk .*--dump'):
        LoadedStream(recording(pictures), tmp_path / 'nowhere', MADE_WITH)
    for name, content in (
            ('frames.safetensors', b'\x00' * 40), ('dump.json', b'{"version": 1'),
            ('dump.json', b'{"version": 1, "made_with": {}}')):
        broken = shutil.copytree(folder, tmp_path / f'broken{len(content)}')
        (broken / name).write_bytes(content)
        with pytest.raises(
                (SourceError, ConfigurationError), match=r'damaged dump|other settings'):
            LoadedStream(recording(pictures), broken, MADE_WITH)
    [tokens] = folder.glob('tokens-*.safetensors')
    tokens.write_bytes(tokens.read_bytes()[:1000])
    stream = LoadedStream(recording(pictures), folder, MADE_WITH)
    with pytest.raises(SourceError, match='damaged'):
        watch(stream, settings, Blind(model))


def test_a_killed_dump_is_no_dump(dumped, pictures, settings, model):
    stream = DumpingStream(recording(pictures), dumped[0], MADE_WITH, settings.max_pixels)
    runs = run_stream(stream, VARIANTS, settings, model)
    next(runs)
    with pytest.raises(SourceError, match='no complete dump'):
        LoadedStream(recording(pictures), dumped[0], MADE_WITH)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='there is no /dev/full')
def test_a_disk_that_fills_up_says_so(pictures, settings, model, tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, 'SHARD_BYTES', 10_000)
    stream = DumpingStream(
        recording(pictures), tmp_path / 'dump', MADE_WITH, settings.max_pixels)

    def full(tensors, path):
        with open('/dev/full', 'wb') as file:
            file.write(b''.join(tensor.numpy().tobytes() for tensor in tensors.values()))

    monkeypatch.setattr(encodings, 'save_file', full)
    with pytest.raises(ConfigurationError, match=r'No space left on device; free some space'):
        watch(stream, settings, model)


def test_dtypes_come_back(tmp_path):
    store = DumpedTokens(tmp_path)
    block = Block(torch.randn(2, 6, 8).to(torch.bfloat16), 2, 3)
    store.put((b'a', b'b'), block)
    store.flush()
    assert torch.equal(store.get((b'a', b'b')).tokens, block.tokens)
    assert store.get((b'a',)) is None


@pytest.mark.parametrize(('error', 'ending'), [
    (OSError(2, 'No such file or directory'), 'directory; give another folder'),
    (OSError(28, 'No space left on device'), 'free some space, or give another folder')])
def test_space_is_freed_only_where_there_is_none(tmp_path, error, ending):
    assert str(unwritable(tmp_path, error)).endswith(ending)
