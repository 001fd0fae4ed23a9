# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways that are compared in turns: neither a drift nor an interruption moves their ratios."""

from itertools import count, pairwise

import pytest

from benchmarks.speed import side_by_side as module
from benchmarks.speed.side_by_side import (
    Spread,
    elapsed_s,
    in_turns,
    paired_ratio,
    side_by_side,
    waited_s,
)

COSTS = {'one': 1.0, 'two': 2.0, 'three': 3.0}


def figures(names, slowdown):
    """Figures of ways on a machine that is ``slowdown(call)`` times as slow at each call."""
    called, calls = [], count()

    def way(name):
        def run():
            called.append(name)
            return COSTS[name] * slowdown(next(calls))
        return run

    return in_turns({name: way(name) for name in names}, repeats=5, warm_up=0), called


@pytest.mark.parametrize('names', [('one', 'two'), ('one', 'two', 'three')])
def test_a_drift_moves_no_ratio(names):
    found, called = figures(names, lambda call: 1 + 0.01 * call)
    for name in names:
        ratio = paired_ratio(found[name], found['one'])
        assert ratio.low == pytest.approx(COSTS[name]) == ratio.high
    assert all(one != other for one, other in pairwise(called))


@pytest.mark.parametrize('call', range(10))
def test_an_interruption_moves_no_ratio(monkeypatch, call):
    # All its rounds, however long the machine stands still.
    monkeypatch.setattr(module, 'REPEAT_S', float('inf'))
    found, _ = figures(COSTS, lambda each: 1000.0 if each % 50 == call else 1.0)
    for name, cost in COSTS.items():
        assert found[name] == [cost] * 5


def test_a_ratio_says_how_wide_it_is():
    assert Spread.of([0.9, 1.0, 1.2]).ratio_text(unit=' %') == (
        '100.0 (90.0 to 120.0) %, spread 30%')
    assert Spread.of([1.0, 1.0]).ratio_text(unit=' %') == '100.0 %'


def test_what_was_waited_for_a_processor_is_taken_off(monkeypatch, tmp_path):
    told = tmp_path / 'schedstat'
    monkeypatch.setattr(module, 'SCHEDULED', told)
    assert elapsed_s(lambda: None, 'cpu') > 0, 'no system says it'
    told.write_text('7 1000000000 3')
    # While it ran, others had the processor for 5 s.
    assert elapsed_s(lambda: told.write_text('9 6000000000 5'), 'cpu') == pytest.approx(-5, abs=1)


@pytest.mark.skipif(not module.SCHEDULED.exists(), reason='the system counts no waiting')
def test_the_system_counts_what_this_thread_waited():
    before = waited_s()
    sum(range(1000))
    assert waited_s() >= before >= 0


def test_every_way_is_timed_as_often_as_wanted():
    called = []
    times = side_by_side(
        {name: lambda name=name: called.append(name) for name in COSTS}, repeats=3)
    assert {name: len(each) for name, each in times.seconds.items()} == dict.fromkeys(COSTS, 3)
    assert min(called.count(name) for name in COSTS) > 3


def test_the_system_s_share_is_that_of_its_own_work():
    with open('/dev/urandom', 'rb') as noise:
        reading = module.system_share(lambda: noise.read(2 ** 24))
    assert module.system_share(lambda: sum(range(10 ** 6))) < 0.5 < reading <= 1.0
