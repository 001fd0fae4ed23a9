# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Other ways to remember, beside each other in one run, on a shape that takes no time."""

import json

import pytest
from small_shapes import small_shape

from benchmarks.speed import peers, side_by_side
from benchmarks.speed.section import SpeedOptions
from infinipot_ros.visual_memory.model_shapes import SHAPES


@pytest.fixture(scope='module')
def section():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPES, 'small', small_shape(3, 2))
        patch.setattr(peers, 'SHAPE', 'small')
        patch.setattr(side_by_side, 'REPEAT_S', 0.0)
        yield peers.measure(SpeedOptions(quick=True, repeats=1))


def by_way(section, column):
    [table] = section.tables
    rows = {(row[0], row[1]): row[table.columns.index(column)] for row in table.rows}
    return {key: float(str(value).split()[0].strip('-') or 0) for key, value in rows.items()}


def test_every_way_stands_at_every_length(section):
    json.dumps(section.to_json())
    ways = {*peers.POLICIES, peers.FULL, peers.AGAIN}
    first = by_way(section, 'ms to first token')
    assert set(first) == {(length, way) for length in peers.LENGTHS[:-1] for way in ways}
    assert all(value > 0 for value in by_way(section, 'tokens/s').values())
    # Pictures alone cost no model anything until the question.
    assert {way for (_, way), value in by_way(section, 'frames/s').items() if not value} == {
        peers.AGAIN}


def test_only_what_keeps_all_grows(section):
    most = {}
    for (length, way), value in by_way(section, 'most at a question, GiB').items():
        most.setdefault(way, {})[length] = value
    first, last = peers.LENGTHS[0], peers.LENGTHS[-2]
    assert most[peers.FULL][last] > most[peers.FULL][first]
    for way in (*peers.POLICIES, peers.AGAIN):
        assert most[way][last] == pytest.approx(most[way][first], abs=0.02), way
