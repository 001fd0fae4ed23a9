# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A timeline read back: its table, its sums and its curves."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import asdict

import numpy as np
import pytest
from report_folders import CONFIG, START_NS, make_samples, write_folder

from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.report.track import (
    STAGES,
    read_samples,
    read_tracks,
    write_csv,
)
from infinipot_ros.evaluation.run_store import TIMELINE, RunStore
from infinipot_ros.evaluation.variants import Variant

VARIANT = Variant('rarity', '/8')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_folder(
        tmp_path_factory.mktemp('timeline'), streams=4, budgets=('/8', '/4'), frames=200,
        pictures=False)


def report(folder):
    """Write a report of a folder, and return the part of its page about time."""
    with RunStore(folder, CONFIG) as store:
        write_report(store, '/8')
    page = (folder / 'report.html').read_text()
    return page.partition('<h2 id="time">')[2].partition('<h2 id="questions">')[0]


def test_the_csv_has_every_sample(folder):
    assert write_csv(folder)
    lines = [json.loads(line) for line in (folder / TIMELINE).read_text().splitlines()]
    rows = list(csv.DictReader((folder / 'timeline.csv').read_text().splitlines()))
    assert rows == [{name: str(value) for name, value in line.items()} for line in lines]
    assert {'frames', 'dropped', 'tokens', 'bytes', 'encode_ms', 'prefill_ms',
            'compress_ms'} <= set(rows[0])


def test_a_recording_named_like_a_formula_is_a_text_in_the_csv(folder, tmp_path):
    [sample, *_] = read_samples(folder)
    (tmp_path / TIMELINE).write_text(json.dumps(asdict(sample) | {'stream': '=cmd'}) + '\n')
    assert write_csv(tmp_path)
    [row] = csv.DictReader((tmp_path / 'timeline.csv').read_text().splitlines())
    assert row['stream'] == "'=cmd"


def test_without_samples_there_is_no_csv(tmp_path):
    assert not write_csv(tmp_path)
    (tmp_path / TIMELINE).touch()
    assert not write_csv(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / TIMELINE]
    assert read_tracks(tmp_path) == []


def test_a_track_sums_up_its_samples(folder):
    tracks = {(track.stream, track.variant): track for track in read_tracks(folder)}
    assert len(tracks) == 4 * 5
    mine = [each for each in read_samples(folder)
            if (each.stream, each.policy, each.budget) == ('tour-0', 'rarity', '/8')]
    track = tracks['tour-0', VARIANT]
    assert track.start_ns == START_NS
    assert track.last == mine[-1]
    assert track.max_tokens == max(each.tokens for each in mine)
    for stage in STAGES:
        assert track.stage_ms[stage] == pytest.approx(
            sum(getattr(each, f'{stage}_ms') for each in mine))
    assert track.samples == []
    [kept] = [each for each in read_tracks(folder, ['tour-0'])
              if each.samples and each.variant == VARIANT]
    assert kept.samples == mine


def test_a_restarted_run_counts_once(tmp_path):
    samples = list(make_samples('s', VARIANT, 200, np.random.default_rng(0)))
    lines = [json.dumps(asdict(each)) + '\n' for each in [*samples[:20], *samples]]
    (tmp_path / TIMELINE).write_text(''.join(lines) + lines[0][:40])
    [track] = read_tracks(tmp_path, ['s'])
    assert track.samples == samples


def test_few_streams_of_the_headline_budget_are_drawn(folder):
    pytest.importorskip('matplotlib', reason='curves are drawn with matplotlib')
    text = report(folder)
    assert text.count('<summary>') == 3
    assert 'the longest 3 of 4 streams and of memories of /8 and full' in text
    assert text.count('visual tokens in memory. Of tour-') == 3
    # Memories of all budgets are among the sums.
    assert 'rarity <small>/4</small>' in text


@pytest.mark.parametrize('unknown', [None, 0], ids=['unknown', 'as older versions wrote it'])
def test_a_timeline_without_milliseconds_has_no_curve_of_them(folder, tmp_path, unknown):
    pytest.importorskip('matplotlib', reason='curves are drawn with matplotlib')
    samples = list(read_samples(folder))
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with (tmp_path / TIMELINE).open('w') as file:
        for sample in samples:
            without = dict.fromkeys([*(f'{stage}_ms' for stage in STAGES), 'rss_bytes'], unknown)
            file.write(json.dumps(asdict(sample) | without) + '\n')
    text = report(tmp_path)
    assert 'encode, ms' not in text
    assert '<th scope="col">process</th>' not in text
    assert 'visual tokens in memory' in text
    assert 'milliseconds a frame by stage' not in text
    assert 'memory of the whole process' not in text


def test_without_matplotlib_there_is_a_report_without_curves(folder, monkeypatch):
    # As on a machine where it is not installed: what cannot be imported has no spec.
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    report(folder)
    text = (folder / 'report.html').read_text()
    assert 'Curves need matplotlib, which was not installed: pip install' in text
    assert 'class="plot"' not in text
    assert text.count('class="dot"') >= len({track.variant for track in read_tracks(folder)})


def test_what_is_not_known_is_empty_in_the_csv(folder, tmp_path):
    [sample, *_] = read_samples(folder)
    unknown = dict.fromkeys([f'{stage}_ms' for stage in STAGES])
    (tmp_path / TIMELINE).write_text(json.dumps(asdict(sample) | unknown) + '\n')
    assert write_csv(tmp_path)
    with (tmp_path / 'timeline.csv').open() as file:
        [row] = csv.DictReader(file)
    assert [row[name] for name in unknown] == ['', '', '']
    assert row['tokens'] == str(sample.tokens)
