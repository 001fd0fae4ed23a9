# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Streams watched by models whose grids are other than Qwen2.5-VL's."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PilImage
from quality_streams import Blind, untimed
from tiny_models import make_tiny

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.recorded_stream import RecordedStream, Recording
from infinipot_ros.evaluation.stream_dump import DumpingStream, LoadedStream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import make_variants
from infinipot_ros.visual_memory.shared_model import load_shared_model

FRAMES, STEP_NS = 48, 500_000_000
ASKED = (19, 28, 47)
#: Tokens of a frame's share of a grid: of 64 x 96 pixels, or of any.
TOKENS = {'qwen3_vl': 3, 'llava_onevision': 9, 'llava_next_video': 9}


@pytest.fixture(params=TOKENS)
def kind(request):
    return request.param


@pytest.fixture
def recording(tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(FRAMES):
        noise = np.random.default_rng(index).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        PilImage.fromarray(noise).save(folder / f'{index:02}.png')
    questions = [
        Question(f'q{frame}', f'What was it at {frame}?', 'this', 'colour',
                 ask_at_ns=frame * STEP_NS, clock='start') for frame in ASKED]
    return Recording('walk', 'sort', 0, folder, questions, output=tmp_path / 'output')


def test_a_stream_is_counted_dumped_and_loaded(kind, recording, tmp_path):
    folder = make_tiny(kind, tmp_path / 'tiny', layers=2)
    settings = replace(
        quality_settings(str(folder)), max_new_tokens=4, max_pixels=6 * 1024, block_size=4)
    model, variants = load_shared_model(settings), make_variants(('uniform', 'tar'), ('/2',))

    def watch(stream, model):
        runs = list(run_stream(stream, variants, settings, model))
        return runs, [untimed(each) | {'frame': None} for run in runs for each in run.outcomes]

    runs, plain = watch(RecordedStream(recording), model)
    assert {run.stream_tokens for run in runs} == {FRAMES * TOKENS[kind]}
    for run in runs:
        assert run.compressions
        together = model.family.FRAMES_PER_GRID
        assert [each.seen_tokens for each in run.outcomes] == [
            -(-(frame + 1) // together) * together * TOKENS[kind] for frame in ASKED]
    _, dumped = watch(
        DumpingStream(recording, tmp_path / 'dump', {}, settings.max_pixels), model)
    assert dumped == plain
    _, loaded = watch(LoadedStream(recording, tmp_path / 'dump', {}), Blind(model))
    assert loaded == plain
