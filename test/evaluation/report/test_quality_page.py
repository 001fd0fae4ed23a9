# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page in a browser: on a desk and on a telephone, light and dark."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from browser import launch_chromium, open_page
from PIL import Image
from report_folders import CONFIG, write_folder

from infinipot_ros.cli.result_tables import overview_table
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import RunStore

pytest.importorskip('matplotlib', reason='the report draws with matplotlib')

# Everything that is wider than the window, but for what may be scrolled.
TOO_WIDE = """
[...document.body.querySelectorAll('*')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && !each.closest('.wide') && !each.closest('.plot svg') &&
    (box.right > innerWidth + 1 || box.left < -1);
}).map(each => each.outerHTML.slice(0, 120))"""
# Text that its box cuts off.
CUT_OFF = """
[...document.body.querySelectorAll('*')].filter(each => {
  const style = getComputedStyle(each);
  return each.scrollWidth > each.clientWidth + 1 && each.clientWidth &&
    ['hidden', 'clip'].includes(style.overflowX);
}).map(each => each.outerHTML.slice(0, 120))"""
# Labels of a plot that stick out of it.
OUT_OF_PLOT = """
[...document.querySelectorAll('.plot svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 ||
      box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(text => text.textContent);
})"""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
PICTURES = '[...document.images].map(each => each.decode().then(() => each.naturalWidth))'


def nasty(outcome):
    """Hostile and overlong texts."""
    if outcome.id.endswith('-1'):
        return replace(
            outcome, question='<script>document.title = "owned"</script>' + 'unbroken' * 200,
            answer='<img src=x onerror=alert(1)>' + 'z' * 3_000, kind='k<i>' + 'k' * 60,
            options=('A. ' + 'y' * 300, 'B. short'))
    if outcome.id.endswith('-2'):
        return replace(outcome, score=0.6, right=True, answer='a long-winded answer ' * 60)
    return outcome


# As a replay to a running node records it.
LIVE = {
    'node': '/memory', 'topic': '/image', 'rate': 2.0, 'parameters': {'model': 'm' * 90},
    'frames': {'sent': 620, 'seen': 600, 'encoded': 500, 'lost': 40, 'outstanding': 20,
               'dropped': {'queue full': 40, 'rate': 60}, 'complete': False},
    'complete': {'questions': 3, 'right': 3}, 'frames_missing': {'questions': 1, 'right': 0}}
# A suite's and a stream's: the plots of other streams are no different.
MAX_PLOTS = 10
LONG_NAME = 'a suite of a name that goes on and on, real-time visual perception'
FOLDERS = {
    'compared': {'budgets': ('/8', '/4'), 'streams': 2, 'questions': 6},
    'one memory': {'policies': ('rarity',), 'budgets': ('1024',), 'streams': 1,
                 'questions': 4, 'delays': False, 'config': CONFIG | {'live': LIVE}},
    'only full': {'policies': (), 'streams': 2, 'questions': 3, 'delays': False,
                  'timeline': False, 'pictures': False},
    'nasty': {'change': nasty, 'policies': ('infinipot_v/official', 'uniform'),
              'budgets': ('1024', '/8'), 'streams': 1, 'questions': 4, 'delays': False,
              'suites': (LONG_NAME, 'b'), 'config': CONFIG | {'prompt': 'x' * 500}},
    'many': {'policies': ('full', 'rarity', 'infinipot_v/official', 'uniform', 'recent'),
             'budgets': ('/2', '/4', '/8', '/16'), 'streams': 2, 'questions': 110,
             'delays': False, 'timeline': False, 'pictures': False},
    'nothing': {'streams': 0},
}


@pytest.fixture(scope='module')
def browser():
    with launch_chromium() as found:
        yield found


@pytest.fixture(scope='module', params=list(FOLDERS))
def reported(request, tmp_path_factory):
    """A folder with its report, and the summary."""
    options = FOLDERS[request.param]
    folder = write_folder(tmp_path_factory.mktemp('page'), **options)
    with RunStore(folder, options.get('config', CONFIG)) as store:
        return folder, write_report(store)


@pytest.mark.parametrize(
    ('width', 'dark'), [(1280, False), (400, True)], ids=['desk', 'telephone at night'])
def test_nothing_is_cut_off_logged_or_loaded(browser, reported, width, dark):
    with open_page(browser, reported[0] / 'report.html', width, dark=dark) as page:
        for _ in range(2):
            assert page.evaluate('innerWidth') == width
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            assert page.evaluate(TOO_WIDE) == []
            assert page.evaluate(CUT_OFF) == []
            assert page.evaluate(OUT_OF_PLOT) == []
            page.evaluate(OPEN_ALL)
        assert 'owned' not in page.title()


@pytest.mark.parametrize(
    ('width', 'dark'), [(1280, False), (400, True)], ids=['desk', 'telephone at night'])
def test_plots_are_drawn(browser, reported, width, dark):
    folder, summary = reported
    with open_page(browser, folder / 'report.html', width, dark=dark) as page:
        page.evaluate(OPEN_ALL)
        plots = page.locator('.plot svg').all()
        timed = (folder / 'timeline.csv').exists()
        assert len(plots) >= 5 * timed + 2 * any(
            figures.group == 'shown' for figures in summary.everything)
        for plot in plots[:MAX_PLOTS]:
            box = plot.bounding_box()
            assert box['width'] > min(320, 0.85 * width)
            assert box['height'] > 150
            picture = np.asarray(Image.open(io.BytesIO(plot.screenshot())).convert('RGB'), int)
            background = picture[-1, 0]
            assert (background.mean() < 60) == dark
            # Axes and labels, in the colour of the text, which a dark page inverts.
            ink = np.abs(picture - background).max(-1) > 100
            assert 0.005 < ink.mean() < 0.9
            # Lines or areas, in colours.
            assert (np.ptp(picture, axis=-1) > 60).sum() > 60


def test_pictures_are_shown(browser, reported):
    folder, _ = reported
    with open_page(browser, folder / 'report.html', 1280) as page:
        page.evaluate(OPEN_ALL)
        widths = page.evaluate(f'Promise.all({PICTURES})')
    assert len(widths) == len(list(folder.glob('frames/*/*.jpg')))
    assert set(widths) <= {320}


def test_the_page_is_used_with_a_keyboard(browser, reported):
    folder, summary = reported
    with open_page(browser, folder / 'report.html', 400) as page:
        page.keyboard.press('Tab')
        assert page.evaluate('document.activeElement.textContent') == 'At a glance'
        if summary.everything:
            table = page.locator('.wide').first
            table.focus()
            page.keyboard.press('ArrowRight')
            page.wait_for_function('document.activeElement.scrollLeft > 0')
            assert table.evaluate('each => each === document.activeElement')
        summaries = page.locator('summary')
        summaries.first.focus()
        page.keyboard.press('Enter')
        assert page.locator('details').first.evaluate('each => each.open')


def test_the_chart_agrees_with_its_numbers(browser, reported):
    folder, summary = reported
    with open_page(browser, folder / 'report.html', 1280) as page:
        rows = page.evaluate("""
        [...document.querySelectorAll('#headline ~ .chart')][0] ?
        [...document.querySelectorAll('#headline ~ .chart')[0].querySelectorAll('li')].filter(
          row => row.querySelector('.dot')).map(row => {
            const track = row.querySelector('.track').getBoundingClientRect();
            const dot = row.querySelector('.dot').getBoundingClientRect();
            const range = row.querySelector('.range').getBoundingClientRect();
            const share = x => 100 * (x - track.left) / track.width;
            return [parseFloat(row.querySelector('.value').textContent),
                    share(dot.left + dot.width / 2), share(range.left), share(range.right)];
          }) : []""")
    assert (len(rows) > 0) == bool(summary.everything)
    for said, middle, low, high in rows:
        assert middle == pytest.approx(said, abs=0.5)
        assert low - 0.5 <= middle <= high + 0.5


def test_there_is_a_table_for_the_terminal(reported):
    from rich.console import Console

    _, summary = reported
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(overview_table(summary))
    text = console.export_text()
    assert '…' not in text
    for figures in summary.everything:
        assert figures.policy in text


def test_a_live_replay_shows_what_became_of_frames(tmp_path):
    config = CONFIG | {'live': LIVE}
    write_folder(tmp_path, policies=('rarity',), budgets=('1024',), streams=1, questions=4,
                 config=config)
    with RunStore(tmp_path, config) as store:
        write_report(store)
    text = (tmp_path / 'report.html').read_text()
    part = text.partition('Played to a running node')[2].partition('id="suites"')[0]
    part = ' '.join(part.split())
    assert '/memory was sent 620 frames; not remembered: 40 queue full, 60 rate' in part
    for name, count in (('remembered', 500), ('left out by the rate', 60), ('dropped', 40),
                        ('waiting or lost on the way', 20)):
        assert f'</i>{name} <b>{count}</b>' in part
    assert 'every frame there <small>3 questions</small>' in part
    assert 'frames missing <small>1 question</small>' in part


def test_a_page_of_no_replay_has_no_part_on_it(reported):
    text = (reported[0] / 'report.html').read_text()
    assert ('Played to a running node' in text) == ('live' in json.loads(
        (reported[0] / 'config.json').read_text()))
