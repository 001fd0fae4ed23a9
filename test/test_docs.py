# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds without a warning, its links lead somewhere, it is current."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from streams import append, make_cache

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES
from infinipot_ros.node.parameters import BY_NAME
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.vlm.families.registry import MODEL_TYPES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
PAGES = [
    *(path for path in sorted(DOCS.rglob('*.md')) if '_build' not in path.parts),
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)')


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # The checkout is documented, whatever is built and sourced.
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=300)


def prose(path: Path) -> str:
    """A page without its code."""
    text = re.sub(r'^ *```.*?^ *```', '', path.read_text(encoding='utf-8'),
                  flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'`[^`\n]*`', '', text)


def links(path: Path) -> Iterator[str]:
    yield from LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as repositories make them."""
    text = re.sub(r'^ *```.*?^ *```', '', path.read_text(encoding='utf-8'),
                  flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    # Not imported: where Sphinx is, the simulator's pyglet draws nothing.
    for name in ('sphinx', 'myst_parser', 'sphinxcontrib.mermaid', 'furo'):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install '.[docs]'")
    target = tmp_path_factory.mktemp('site')
    done = run('-m', 'sphinx', '-W', '--keep-going', '-n', '-q', '-b', 'html', 'docs', str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_site_is_built_without_a_warning_and_has_every_page(site) -> None:
    for page in DOCS.rglob('*.md'):
        if '_build' not in page.parts:
            assert (site / page.relative_to(DOCS)).with_suffix('.html').is_file()


def test_the_api_is_described_from_docstrings_without_ros(site) -> None:
    page = (site / 'reference/api/visual_memory.html').read_text(encoding='utf-8')
    assert 'id="infinipot_ros.visual_memory.visual_memory.VisualMemory.ask"' in page
    assert 'the memory is the same before and after' in page
    code = ('import sys; sys.path.insert(0, "."); from scripts.reference_tables import ROOMS, '
            'modules, ROOT; from importlib import import_module; [import_module(".".join('
            'path.relative_to(ROOT).with_suffix("").parts)) for room in ROOMS '
            'for path in modules(room)]; assert "rclpy" not in sys.modules')
    done = run('-c', code)
    assert done.returncode == 0, done.stderr


def test_diagrams_are_drawn(site) -> None:
    for page in DOCS.rglob('*.md'):
        diagrams = page.read_text(encoding='utf-8').count('\n```mermaid\n')
        if diagrams and '_build' not in page.parts:
            html = (site / page.relative_to(DOCS)).with_suffix('.html')
            assert html.read_text(encoding='utf-8').count('<pre  class="mermaid">') == diagrams


def fault(path: Path, link: str) -> str:
    """Say what is wrong with a link of a page, or return the empty string."""
    parts = urlsplit(link)
    if parts.scheme:
        # Not fetched: tests stay off the network. `make docs-links` does.
        return '' if parts.scheme == 'https' and '.' in parts.netloc else 'not an https address'
    target = (path.parent / parts.path).resolve() if parts.path else path
    if not target.is_file():
        return 'no such file'
    if DOCS in path.parents and DOCS not in target.parents:
        return 'not part of the site'
    if parts.fragment and parts.fragment not in anchors(target):
        return 'no such heading'
    return ''


def test_links_lead_to_files_and_headings_that_exist() -> None:
    found = [(path, link) for path in PAGES for link in links(path)]
    assert len(found) > 100
    wrong = [f'{path.relative_to(ROOT)}: {link}: {fault(path, link)}'
             for path, link in found if fault(path, link)]
    assert not wrong, '\n'.join(wrong)
    assert fault(ROOT / 'README.md', 'docs/missing.md') == 'no such file'
    assert fault(ROOT / 'README.md', 'docs/index.md#missing') == 'no such heading'


#: What pages name that is in no checkout: made by a command, or an example of the reader's own.
MADE = {
    'docs/_build/html', 'infinipot_ros/kv_cache/policies/large_values.py',
    'infinipot_ros/vlm/families/another_vl.py'}


def test_files_that_pages_name_are_there() -> None:
    """Paths in code spans, from the checkout's root or the package's, so that renames are seen."""
    missing = []
    for path in PAGES:
        for name in re.findall(r'`([\w./-]+/[\w.-]+\.(?:py|yaml|xml|json|md|rviz|mcap))`',
                               path.read_text(encoding='utf-8')):
            places = (ROOT, ROOT / 'infinipot_ros', path.parent)
            known = name.split('/')[0] in {each.name for place in places[:2]
                                           for each in place.iterdir() if each.is_dir()}
            if known and name not in MADE and not any((p / name).exists() for p in places):
                missing.append(f'{path.relative_to(ROOT)}: {name}')
    assert not missing, '\n'.join(missing)


def test_parameters_that_pages_name_are_there() -> None:
    groups = {name.split('.')[0] for name in BY_NAME if '.' in name}
    unknown = {
        f'{path.relative_to(ROOT)}: {name}' for path in PAGES
        for name in re.findall(rf'`((?:{"|".join(groups)})\.[a-z]\w+)[`: ]',
                               path.read_text(encoding='utf-8'))
        if name not in BY_NAME and not name.endswith('.safetensors')}
    assert not unknown


def test_the_policy_of_the_how_to_keeps_the_contract() -> None:
    """As it stands on the page, one compression long."""
    text = (DOCS / 'how-to/write-a-policy.md').read_text(encoding='utf-8')
    [code] = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    names: dict[str, object] = {'__name__': 'large_values'}
    exec(compile(code, 'write-a-policy.md', 'exec'), names)
    assert names['NAMES'] == ('large_values',)
    policy = names['LargeValues']()
    generator = torch.Generator().manual_seed(0)
    cache = make_cache(Budget(12), CacheShape(layers=1, kv_heads=2, head_dim=8))
    append(cache, 3, 2, 2, generator)
    [view] = cache.views()
    slots, values = policy.select(view, 5), view.values.float()
    norms = values.norm(dim=-1)
    for head in range(2):
        assert slots[head].tolist() == sorted(norms[head].topk(5).indices.tolist())


def test_the_family_of_the_how_to_is_one() -> None:
    """As it stands on the page."""
    text = (DOCS / 'how-to/add-a-family.md').read_text(encoding='utf-8')
    [code] = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    names: dict[str, object] = {'__name__': 'another_vl'}
    exec(compile(code, 'add-a-family.md', 'exec'), names)
    family = names['AnotherVL'](shape_config('Qwen3-VL-2B'))
    assert family.MODEL_TYPES == ('another_vl',) and not set(family.MODEL_TYPES) & set(MODEL_TYPES)
    assert family.grid_size(*family.encoded_size(720, 1280, 100_352)) == (7, 13)
    assert family.grid_text(12.5)[0].startswith('<12.5 seconds>')


def test_every_family_is_tested_for_every_property() -> None:
    """By the page's table, which is made from the tests' marks."""
    page = (DOCS / 'explanation/equality.md').read_text(encoding='utf-8')
    table = page.partition('<!-- family tests -->')[2].partition('<!-- /family tests -->')[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in table.splitlines() if line.startswith('|')]
    tested = {
        (row[0], kind.strip('`')) for row in rows
        for kind, count in zip(head[2:], row[2:], strict=True) if count}
    properties = {row[0] for row in rows}
    assert {'equality', 'prompt', 'pixels', 'rollback', 're-base', 'evidence'} <= properties
    missing = {(each, kind) for each in properties for kind in MODEL_TYPES} - tested
    assert not missing, 'test/families.py and the mark family_cell say how'


def chaos_tests(path: Path) -> Iterator[str]:
    """The tests of a file that are marked for `make chaos`; the file itself where it is."""
    name = str(path.relative_to(ROOT))
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.FunctionDef) and 'pytest.mark.chaos' in map(
                ast.unparse, node.decorator_list):
            yield f'{name}::{node.name}'
        elif isinstance(node, ast.Assign) and 'pytest.mark.chaos' in ast.unparse(node.value):
            yield name


def test_every_promise_names_its_tests_and_they_are_those_of_make_chaos() -> None:
    page = (DOCS / 'explanation/reliability.md').read_text(encoding='utf-8')
    promises = [line.split('|') for line in page.splitlines() if line.startswith('| ')][1:]
    named = [re.findall(r'`(test/[\w/]+\.py(?:::\w+)?)`', tests) for _, _, tests, _ in promises]
    assert len(promises) > 10 and all(named)
    marked = {name for path in (ROOT / 'test').rglob('test_*.py') for name in chaos_tests(path)}
    assert {name for tests in named for name in tests} == marked


def test_no_page_is_left_out_of_the_table_of_contents() -> None:
    index = (DOCS / 'index.md').read_text(encoding='utf-8')
    listed = set(re.findall(r'^[\w/-]+$', index, flags=re.MULTILINE))
    pages = {str(page.relative_to(DOCS).with_suffix('')) for page in PAGES if DOCS in page.parents}
    assert pages - listed == {'index'}


def test_what_comes_from_the_code_is_current() -> None:
    done = run('scripts/reference_tables.py', '--check')
    assert done.returncode == 0, (
        f'{done.stdout}{done.stderr}run: python scripts/reference_tables.py --write')
    unknown = run('scripts/reference_tables.py', 'interface')
    assert unknown.returncode == 2 and 'interfaces, parameters' in unknown.stderr


def test_records_that_were_sent_in_are_rows_and_without_any_the_page_says_so(tmp_path) -> None:
    code = ('import sys; sys.path.insert(0, "."); from pathlib import Path; '
            'from scripts import reference_tables; print(reference_tables.measured()); '
            f'reference_tables.MEASURED = Path({str(tmp_path)!r}); '
            'print(reference_tables.measured())')
    done = run('-c', code)
    assert done.returncode == 0, done.stderr
    for path in (DOCS / 'measured').glob('*.json'):
        assert f'| {json.loads(path.read_text())["model"]["name"]} |' in done.stdout
    assert done.stdout.endswith('No row has been sent in yet.\n\n')


def test_every_policy_is_described_and_the_default_is_named() -> None:
    page = (DOCS / 'reference/policies.md').read_text(encoding='utf-8')
    for name in POLICY_NAMES:
        assert f'`{name}`' in page
    assert f'`{DEFAULT_POLICY}`, the default' in page


def test_the_readme_is_one_screen_and_the_way_in() -> None:
    lines = (ROOT / 'README.md').read_text(encoding='utf-8').splitlines()
    assert len(lines) <= 180
    assert {'make demo', 'make test'} <= {' '.join(line.split()[:2]) for line in lines}
