# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures to a file, from there to a page; and the page in docs/ is the file's."""

import json
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.speed.floor import Rates
from benchmarks.speed.page import markdown, plot_name, write_page
from benchmarks.speed.results import Results, read_results, section_of
from benchmarks.speed.section import Curves, Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import side_by_side
from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.evaluation.report.plots import can_draw

ROOT = Path(__file__).resolve().parents[3]
FIGURES, PAGE = ROOT / 'benchmarks' / 'results.json', ROOT / 'docs/reference/performance.md'


@pytest.fixture
def measured(tmp_path):
    """A very small section, measured; another that cannot be, and one that breaks."""
    options = SpeedOptions(quick=True, repeats=2)
    timed = side_by_side(
        {'add': lambda: sum(range(100)), 'list': lambda: list(range(100))},
        repeats=options.repeats)
    results = Results(tmp_path / 'bench' / 'results.json', options)
    results.add(Section(
        'small', 'A small section', 'Two ways to count.',
        tables=[Table('Seconds | each', ('way', 'seconds', 'times'), [
            [name, timed.spread(name).text(6), 12345] for name in timed.seconds])],
        curves=[Curves('Growth', 'tokens', 's', {
            name: [(1.0, low.low), (10.0, low.high)]
            for name, low in ((name, timed.spread(name)) for name in timed.seconds)},
            log_x=True)],
        targets=[Target('a sum', 'at all', 'there', True), Target('a dream', '2', '1', False)],
        rates=Rates(2e11, 1e10, 2)))
    results.leave_out('node', 'no ROS here')
    results.fail('other', 'ValueError: it broke\nsecond line')
    return results


def test_a_file_holds_what_was_measured_and_where(measured):
    found = read_results(measured.path)
    own = [json.loads(json.dumps(section.to_json())) for section in measured.sections]
    assert found['sections'] == own
    assert [section_of(data).to_json() for data in found['sections']] == own
    assert found['host']['cores'] >= 1
    assert found['host']['processor']
    assert found['host']['gpu'] is None
    assert found['versions']['torch']
    assert len(found['model']['weights_sha256']) == 64
    assert found['options'] == {'device': 'cpu', 'dtype': 'float32', 'quick': True, 'repeats': 2}
    assert found['left_out'] == {'node': 'no ROS here'}
    assert found['failed'] == {'other': 'ValueError: it broke\nsecond line'}


def test_what_was_measured_is_on_disk_before_the_next_section(measured):
    names = [section['name'] for section in json.loads(measured.path.read_text())['sections']]
    assert names == ['small']
    measured.add(Section('next', 'Next', 'More.'))
    names = [section['name'] for section in json.loads(measured.path.read_text())['sections']]
    assert names == ['small', 'next']


def test_single_sections_join_those_of_the_same_kind(measured):
    first = json.loads(measured.path.read_text())
    again = Results(measured.path, SpeedOptions(quick=True, repeats=2), keep=True)
    again.fail('small', 'it broke')
    assert json.loads(measured.path.read_text()) == first, 'nothing measured, nothing written'
    again.add(Section('next', 'Next', 'More.'))
    again.leave_out('node', 'not wanted')
    found = read_results(measured.path)
    [kept, added] = found['sections']
    assert (kept['name'], added['name']) == ('small', 'next')
    assert kept == {'measured': first['measured'], 'code': first['code'], **first['sections'][0]}
    assert 'measured' not in added
    # Its earlier figures stand, beside the news that they could not be taken again.
    assert (found['left_out'], found['failed']) == ({'node': 'not wanted'}, {'small': 'it broke'})
    assert f'*Measured {first["measured"]}, code {first["code"]}.*' in markdown(found)
    anew = Results(measured.path, SpeedOptions(quick=True, repeats=2), keep=True)
    anew.add(Section('small', 'Small', 'Anew.'))
    found = read_results(measured.path)['sections']
    assert [(each['name'], 'measured' in each) for each in found] == [
        ('small', False), ('next', True)]
    whole = measured.path.read_text()
    with pytest.raises(ConfigurationError, match=r'options.repeats 2 is 5 now.*--output'):
        Results(measured.path, SpeedOptions(quick=True), keep=True)
    assert measured.path.read_text() == whole


def measure_with(monkeypatch, tmp_path, sections, *arguments):
    """Run the command with other sections, of nothing at all, in their order."""
    speed_cli = import_module('benchmarks.speed_command')
    monkeypatch.setattr(speed_cli, 'SECTIONS', dict.fromkeys(sections, ''))
    monkeypatch.setattr(speed_cli, 'find', lambda name: sections[name])
    return CliRunner().invoke(import_module('infinipot_ros.cli.main').app, [
        'bench', 'speed', '--output', str(tmp_path / 'results.json'), *arguments])


def interrupt(options):
    raise KeyboardInterrupt


def test_an_interruption_keeps_what_was_measured(monkeypatch, tmp_path):
    sections = {
        'one': lambda options: Section('one', 'One', 'First.'), 'two': interrupt,
        'three': lambda options: Section('three', 'Three', 'Last.')}
    result = measure_with(monkeypatch, tmp_path, sections, '--only', 'two,three')
    assert result.exit_code == 130
    assert 'interrupted; nothing was measured, so nothing was written' in result.stderr
    assert not list(tmp_path.iterdir())
    result = measure_with(monkeypatch, tmp_path, sections)
    assert result.exit_code == 130
    assert 'results.json has one, not two, three' in result.stderr
    found = read_results(tmp_path / 'results.json')
    assert [each['name'] for each in found['sections']] == ['one']
    assert found['left_out'] == dict.fromkeys(
        ('two', 'three'), 'interrupted before it was measured')
    result = measure_with(monkeypatch, tmp_path, sections, '--only', 'three')
    assert result.exit_code == 0, result.output
    found = read_results(tmp_path / 'results.json')
    assert [each['name'] for each in found['sections']] == ['one', 'three']
    assert found['left_out'] == {'two': 'not among those of --only'}


def test_a_page_tells_all_of_it(measured, tmp_path):
    found = read_results(measured.path)
    text = markdown(found)
    for words in (
            '## A small section', 'Two ways to count.',
            '**Seconds | each**', '| 12,345 |', '| a sum | at all | there | met |',
            '| a dream | 2 | 1 | **missed** |', '- `node`: no ROS here',
            '- `other`: ValueError: it broke', found['host']['processor'], 'torch ',
            '](performance/small-1.svg)',
            '*Floors are of 200 GFLOP/s in matrix products and 10.0 GB/s in copies (2 threads).*',
            'The *floor* of a step is', '*Spread* is'):
        assert words in text
    assert 'second line' not in text
    assert markdown(json.loads(json.dumps(found))) == text


def test_figures_of_the_earlier_form_are_shown_as_such_and_not_added_to(measured):
    data = json.loads(measured.path.read_text()) | {'format': 1}
    for section in data['sections']:
        del section['rates']
    measured.path.write_text(json.dumps(data))
    text = markdown(read_results(measured.path))
    assert 'of an earlier form of the command, without floors' in text
    assert '*floor*' not in text and '*Spread*' not in text and 'Floors are' not in text
    with pytest.raises(ConfigurationError, match=r'format 1 is 2 now.*--output'):
        Results(measured.path, SpeedOptions(quick=True, repeats=2), keep=True)


@pytest.mark.skipif(not can_draw(), reason='needs matplotlib')
def test_plots_stand_beside_the_page(measured, tmp_path):
    page = tmp_path / 'docs' / 'performance.md'
    (tmp_path / 'docs' / 'performance').mkdir(parents=True)
    stale = tmp_path / 'docs' / 'performance' / 'gone-1.svg'
    stale.write_text('old')
    written = write_page(read_results(measured.path), page)
    plot = page.with_suffix('') / plot_name(measured.sections[0], 0)
    assert written == [page, plot]
    assert not stale.exists()
    tree = ElementTree.parse(plot)
    assert tree.getroot().tag == '{http://www.w3.org/2000/svg}svg'
    assert 'Growth' in ''.join(tree.getroot().itertext())


@pytest.mark.parametrize('text', ['', '[]', '{"format": 0}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / 'results.json'
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r'results\.json'):
        read_results(path)


def test_what_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path, tmp_path / 'file' / 'results.json'):
        with pytest.raises(StorageError, match='cannot be written'):
            Results(path, SpeedOptions())


def test_the_page_in_docs_is_made_of_the_figures_in_bench():
    assert markdown(read_results(FIGURES)) == PAGE.read_text(encoding='utf-8'), (
        'run `infinipot bench speed --from-results --page docs/reference/performance.md`')
    plots = {
        plot_name(section, number)
        for section in map(section_of, read_results(FIGURES)['sections'])
        for number in range(len(section.curves))}
    assert {path.name for path in PAGE.with_suffix('').glob('*')} == plots


def test_every_section_of_the_command_can_be_imported():
    # The command line stands above the rooms; sections that need ROS import it when they run.
    speed_cli = import_module('benchmarks.speed_command')
    for name in speed_cli.SECTIONS:
        assert callable(speed_cli.find(name))
