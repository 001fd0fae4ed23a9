# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an oracle remembers of a stream, and what it answers from that."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_streams import FRAMES, STEP_NS, make_stream
from tiny_models import make_tiny

from infinipot_ros.evaluation.evidence_stream import EvidenceStream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import FULL, ORACLE, Variant
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model

VARIANT = Variant(ORACLE, FULL)
STREAM = make_stream(questions=1)


def timed(stream, index=0):
    asked, _ = stream.schedule()
    return asked[index]


@settings(max_examples=40)
@given(
    spans=st.lists(st.tuples(st.integers(0, 31), st.integers(0, 3)), max_size=4),
    ask=st.integers(0, FRAMES - 1), per_grid=st.sampled_from([1, 2]), known=st.booleans())
def test_the_grids_that_show_the_answer_and_the_last_one_are_kept(spans, ask, per_grid, known):
    stream = STREAM
    stamps = stream.stamps_ns
    ends = [(first, min(first + length, FRAMES - 1)) for first, length in spans]
    question = replace(
        stream.questions[0], ask_at_ns=stamps[ask], delay=5 if known else None,
        evidence=[[stamps[first], stamps[last]] for first, last in ends])
    stream = replace(stream, questions=[question])
    part = EvidenceStream(stream, timed(stream), per_grid)
    wanted = {frame for first, last in ends for frame in range(first, last + 1)} | {ask}
    expected = [frame for frame in range(ask + 1) if any(
        frame // per_grid == each // per_grid for each in wanted)]
    assert [frame.stamp_ns for frame in part] == [stamps[frame] for frame in expected]
    assert part.survey().frames == len(expected)
    assert part.before.frames == ask + 1
    past = [last for _, last in ends if last <= ask]
    assert part.question.delay == (5 if known else ask - max(past) if past else None)
    assert part.question.tokens is None


@pytest.mark.parametrize(('frames', 'every', 'most'), [(400, 400, 4), (400, 20, 64), (90, 9, 40)])
def test_what_was_long_in_view_is_shown_by_a_few_grids(frames, every, most):
    """Of each sight and of all together, spread from the first to the last."""
    stream = make_stream(frames=frames, questions=1)
    stamps = stream.stamps_ns
    firsts = range(0, frames - every + 1, every)
    question = replace(stream.questions[0], ask_at_ns=stamps[-1], evidence=[
        [stamps[first], stamps[first + every - 2]] for first in firsts])
    stream = replace(stream, questions=[question])
    kept = [frame.stamp_ns for frame in EvidenceStream(stream, timed(stream), 1)]
    assert kept == sorted({*kept})
    assert kept[-1] == stamps[-1]
    assert len(kept) == most + 1
    assert kept[0] == stamps[0]
    assert kept[-2] == question.evidence[-1][1]
    sights = [sum(start <= stamp <= end for stamp in kept) for start, end in question.evidence]
    assert min(sights) >= 3
    assert max(sights) == 4


def test_it_answers_from_what_it_kept_alone(tmp_path):
    folder = str(make_tiny('qwen2_5_vl', tmp_path, layers=2))
    stream, model = make_stream(questions=6), load_model(folder)
    common = replace(quality_settings(folder), max_new_tokens=4)
    [result] = run_stream(stream, [VARIANT], common, model)
    assert result.variant == VARIANT
    assert result.digest == stream.digest()
    assert result.frames == FRAMES
    assert [each.id for each in result.outcomes] == [
        each.question.id for each in stream.schedule()[0]]
    for asked, found in zip(stream.schedule()[0], result.outcomes, strict=True):
        memory = VisualMemory(replace(
            common, policy='full', budget=400, max_pixels=6 * 784), model)
        for frame in EvidenceStream(stream, asked, 2):
            memory.add_frame(frame.rgb, frame.stamp_ns)
        assert found.answer == memory.ask(asked.question.question).text
        assert found.variant == VARIANT
        assert found.retention is None
        seen = (asked.at_ns - stream.stamps_ns[0]) // STEP_NS + 1
        assert found.seen_tokens == -(-seen // 2) * 6
        assert found.delay == (asked.question.delay if asked.evidence else None)
