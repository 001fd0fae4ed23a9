# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a report: they agree, and the page needs no other file."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from quality_streams import CONFIG, make_tasks, measure_all
from rich.console import Console
from tiny_models import make_tiny

from infinipot_ros.cli.result_tables import headline_tables
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.plots import styles_of, suite_plots
from infinipot_ros.evaluation.report.provenance import provenance
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.report.summary import (
    HEADLINE_GROUPS,
    as_row,
    summarise,
    tabulate,
)
from infinipot_ros.evaluation.run_store import OUTCOMES, RunStore

pytest.importorskip('matplotlib', reason='the report draws with matplotlib')

POLICIES = ('full', 'rarity', 'uniform', 'infinipot_v/official')
BUDGETS = ('/2', '/8', '60')
VOID = {'meta', 'br', 'link', 'img'}


class Page(HTMLParser):
    """The tags, links and texts of a page; fails where tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.words, self.titles = [], [], [], [], []
        self.tags = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found['id']] if 'id' in found else []
        self.links += [found[name] for name in ('href', 'src', 'xlink:href') if name in found]
        self.links += re.findall(r'url\((.*?)\)', ' '.join(filter(None, found.values())))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.titles if self.open[-1:] == ['title'] else self.words).append(data)


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """A folder with a report of a small benchmark, and its summary."""
    folder = tmp_path_factory.mktemp('report')
    model = make_tiny('qwen2_5_vl', folder / 'model', layers=2)
    measure_all(model, folder / 'out', tasks=make_tasks(POLICIES, BUDGETS))
    with RunStore(folder / 'out', CONFIG) as store:
        return folder / 'out', write_report(store, '/8', ('other', 'noise'))


@pytest.fixture(scope='module')
def results(measured):
    return json.loads((measured[0] / 'results.json').read_text())


@pytest.fixture(scope='module')
def text(measured):
    return (measured[0] / 'report.html').read_text()


def test_json_holds_config_provenance_and_figures(measured, results):
    folder, summary = measured
    assert results['config'] == CONFIG
    assert results['figures'] == [as_row(figures) for figures in summary.everything]
    assert results['headline'] == [as_row(figures) for figures in summary.at_headline]
    facts = results['provenance']
    assert facts['seeds'] == {'noise': [0, 1], 'other': [0, 1]}
    assert facts['versions']['torch']
    [host] = facts['hosts']
    assert host['cores'] >= 1
    assert host['processor']
    assert host['memory'] > 2**20
    assert facts['model'] == {'id': 'random', 'weights_sha256': None}
    assert facts['stream_tokens'] == {'noise': [96], 'other': [96]}
    lines = [json.loads(line) for line in (folder / 'cells.jsonl').read_text().splitlines()]
    assert facts['frames_observed'] == sum(line['frames'] for line in lines)
    assert len(facts['code']) == 1


@pytest.mark.parametrize('name', ['duplicates', 'still'])
def test_duplicates_are_counted_in_runs_of_every_version(measured, name):
    folder, summary = measured
    with RunStore(folder, CONFIG) as store:
        for run in store.runs:
            del run['duplicates']
        store.runs[0][name] = 3
        assert provenance(store, summary)['frames_left_out'] == {'duplicates': 3}


def test_csv_equals_json(measured, results):
    rows = list(csv.DictReader(io.StringIO((measured[0] / 'results.csv').read_text())))
    assert len(rows) == len(results['figures'])
    for row, figures in zip(rows, results['figures']):
        assert row == {
            name: '' if value is None else str(value) for name, value in figures.items()}


def test_json_holds_every_outcome(measured, results):
    lines = [json.loads(line) for line in (measured[0] / OUTCOMES).read_text().splitlines()]
    assert results['questions'] == lines
    assert {'asked_ns', 'answer', 'expected', 'right', 'score', 'latency_s', 'evidence',
            'memory_tokens', 'memory_bytes'} <= set(lines[0])


def test_figures_follow_from_the_outcomes_on_disk(measured, results):
    lines = [json.loads(line) for line in (measured[0] / OUTCOMES).read_text().splitlines()]
    for figures in results['figures']:
        if figures['group'] == 'all' and figures['suite'] != 'all suites':
            of_cell = [line for line in lines if all(
                line[name] == figures[name] for name in ('suite', 'policy', 'budget'))]
            assert figures['questions'] == len(of_cell)
            assert figures['accuracy'] == sum(line['right'] for line in of_cell) / len(of_cell)


def test_the_page_stands_alone(text):
    page = Page(text)
    assert 'http' not in text
    assert page.links
    assert all(link.startswith(('#', 'data:')) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith('#')} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {'script', 'iframe'} & {tag for tag, _ in page.tags}


def test_every_plot_is_there_and_named(text):
    page = Page(text)
    for suite in ('noise', 'other', 'all suites'):
        for plot in ('accuracy against budget', 'forgetting curve at /8',
                     'evidence retention against budget',
                     'evidence retention against delay at /8'):
            [title] = [each for each in page.titles if each.startswith(f'{plot}. Of {suite}.')]
            assert all(policy in title for policy in POLICIES)
    drawn = [found for tag, found in page.tags if tag == 'svg' and found.get('role') == 'img']
    assert len(page.titles) - 1 == len(drawn) >= 3 * 4


def test_the_page_names_its_subject_and_shows_the_figures(measured, text):
    page = Page(text)
    words = ' '.join(' '.join(page.words).split())
    assert 'How to read it' in words
    assert words.index('other') < words.index('noise')
    for figures in measured[1].at_headline:
        if figures.group in HEADLINE_GROUPS:
            assert f'{100 * figures.accuracy.mean:.1f} ' in words
    assert 'noise of 96 visual tokens' in words
    for fact in ('block size', 'measured', 'versions', 'hosts'):
        assert fact in words


def test_the_headline_table_is_readable_in_a_terminal(measured):
    summary = measured[1]
    tables = headline_tables(summary)
    assert len(tables) == 3
    for table, suite in zip(tables, ('all suites', 'other', 'noise')):
        console = Console(width=120, file=io.StringIO(), record=True)
        console.print(table)
        first, *lines = console.export_text().splitlines()
        assert first.startswith(f'{suite} at /8')
        for policy in POLICIES:
            [line] = [each for each in lines if f'{each} '.startswith(f'{policy} ')]
            of_policy = {each.group: each for each in summary.at_headline
                         if (each.suite, each.policy) == (suite, policy)}
            assert line.split()[-1] == str(of_policy['all'].questions)
            for group in HEADLINE_GROUPS:
                if group in of_policy:
                    assert f' {100 * of_policy[group].accuracy.mean:.1f} ' in line
        narrow = Console(width=80, file=io.StringIO(), record=True)
        narrow.print(table)
        assert '…' not in narrow.export_text()


def test_no_outcome_is_a_report_too(tmp_path):
    with RunStore(tmp_path, CONFIG) as store:
        assert write_report(store, '/8').everything == []
    assert tabulate([]) == []
    Page((tmp_path / 'report.html').read_text())


@pytest.mark.parametrize('number', ['64', '1024', '4096'])
def test_shares_and_numbers_of_tokens_are_on_one_axis(number):
    shown = [Outcome(
        'walk', 'walk', 0, 'rarity', budget, tokens, 'q1', 'colour', 100, 'Which colour?', 'red',
        'red', True, 0.5, 40, 900, 3, first_token_s=None)
        for budget, tokens in ((number, int(number)), ('/8', 1000), ('full', 8000))]
    plot, *_ = suite_plots(summarise(shown, '/8'), 'walk', styles_of(['rarity']))
    labels = re.findall(r'>([^<>]+)</text>', plot.svg)
    assert {f'{int(number):,}', '1,000', '(/8)', '8,000', '(full)'} <= set(labels)


@pytest.mark.filterwarnings('error')
def test_a_single_question_is_drawn_without_a_warning():
    shown = Outcome(
        'walk', 'walk', 0, 'rarity', '512', 504, 'q1', 'colour', 100, 'Which colour?', 'red',
        'red', True, None, 40, 900, 3, first_token_s=None)
    [plot] = suite_plots(summarise([shown]), 'walk', styles_of(['rarity']))
    assert plot.title == 'forgetting curve at 512'
