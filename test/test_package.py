# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the build files say, and which of the two places of the package's name wins."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from infinipot_ros.errors import QuestionCode

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip('tomli', reason='reading pyproject.toml takes Python 3.11')

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'infinipot_ros'
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
MANIFEST = ElementTree.parse(ROOT / 'package.xml').getroot()
DISTRIBUTION = {'av': 'av', 'backports': 'backports.zstd', 'compression': 'backports.zstd',
                'cv2': 'opencv-python-headless', 'PIL': 'pillow',
                'tf2_ros': 'tf2_ros_py', 'yaml': 'pyyaml'}
# Of extras, imported only where they are asked for; two come with miniworld, two with lmms-eval.
OPTIONAL = {
    'anyio', 'bitsandbytes', 'gymnasium', 'lmms_eval', 'loguru', 'matplotlib', 'mcp', 'mcp_types',
    'miniworld', 'openai', 'py_trees', 'pyglet', 'ray', 'starlette', 'tqdm', 'uvicorn'}
OURS = {'infinipot_ros', 'benchmarks', 'tools', ''}
INSTALLED = ROOT / 'install' / 'infinipot_ros'

built = pytest.mark.skipif(not INSTALLED.is_dir(), reason='not built: make build')


def names(requirements: list[str]) -> set[str]:
    return {re.match(r'[\w.-]+', requirement).group().lower() for requirement in requirements}


def third_party(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or '']
        for module in modules:
            top = module.split('.')[0]
            if top not in sys.stdlib_module_names and top not in OURS:
                yield top


def ask(code: str, environment: dict[str, str], cwd: Path) -> str:
    result = subprocess.run([sys.executable, '-c', code], env=environment, cwd=cwd,
                            capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def built_environment() -> dict[str, str]:
    """The variables of a shell that sourced scripts/environment.bash."""
    bare = {'PATH': os.environ['PATH'], 'HOME': os.environ['HOME']}
    command = f'source {ROOT}/scripts/environment.bash >/dev/null && env -0'
    output = subprocess.run(['bash', '-euc', command], env=bare, capture_output=True, check=True)
    return dict(pair.split('=', 1) for pair in output.stdout.decode().split('\0') if '=' in pair)


# -- the build files agree --------------------------------------------------------------------


def test_one_version_everywhere():
    assert MANIFEST.findtext('version') == PROJECT['version']


def test_python_imports_are_declared():
    ros = {e.text for e in MANIFEST if e.tag in ('depend', 'exec_depend')}
    declared = names(PROJECT['dependencies'])
    undeclared = {}
    for path in PACKAGE.rglob('*.py'):
        for top in third_party(path):
            distribution = DISTRIBUTION.get(top, top).lower()
            if distribution not in declared | ros and top not in OPTIONAL:
                undeclared.setdefault(top, path.name)
    assert not undeclared


def test_declared_dependencies_are_imported():
    imported = {top for path in PACKAGE.rglob('*.py') for top in third_party(path)}
    unused = names(PROJECT['dependencies']) - {DISTRIBUTION.get(i, i).lower() for i in imported}
    # rosbags-image is a module inside rosbags.
    assert unused <= {'rosbags-image'}


def test_manifest_names_the_interfaces_and_the_build_type():
    assert MANIFEST.findtext('export/build_type') == 'ament_cmake'
    assert MANIFEST.findtext('member_of_group') == 'rosidl_interface_packages'
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for path in [*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv'), *ROOT.glob('action/*.action')]:
        assert f'"{path.relative_to(ROOT)}"' in cmake


def test_every_room_is_installed():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for room in PACKAGE.iterdir():
        if (room / '__init__.py').exists():
            assert f'${{PROJECT_NAME}}/{room.name}\n' in cmake


def codes(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r'^uint16 ([A-Z_]+)=(\d+)', text,
                                                           re.MULTILINE)}


@pytest.mark.parametrize('path', ['srv/Query.srv', 'action/Ask.action'])
def test_query_codes_are_the_package_s(path):
    request, response, *_ = (ROOT / path).read_text().split('---\n')
    assert not codes(request)
    assert codes(response) == {code.name: code.value for code in QuestionCode}


def fields(part: str) -> list[str]:
    lines = (line.split('#')[0].strip() for line in part.splitlines())
    return [line for line in lines if line]


def test_the_action_asks_and_answers_as_the_service():
    service = (ROOT / 'srv/Query.srv').read_text().split('---\n')
    action = (ROOT / 'action/Ask.action').read_text().split('---\n')
    assert [fields(part) for part in action[:2]] == [fields(part) for part in service]


def test_scripts_can_be_run():
    scripts = [p for p in (ROOT / 'scripts').iterdir() if not p.suffix and p.is_file()]
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for script in scripts:
        assert script.read_text().startswith('#!/usr/bin/env python3\n')
        assert script.stat().st_mode & stat.S_IXUSR
        assert f'scripts/{script.name}\n' in cmake
    for shell in (ROOT / 'scripts/environment.bash', ROOT / '.ci/run'):
        subprocess.run(['bash', '-n', str(shell)], check=True)


# -- launch files and parameters --------------------------------------------------------------


@pytest.mark.parametrize('path', sorted(ROOT.glob('config/*.yaml')), ids=lambda p: p.name)
def test_config_sets_known_parameters(path):
    yaml = pytest.importorskip('yaml')
    from infinipot_ros.node import parameters
    values = yaml.safe_load(path.read_text())['/**']['ros__parameters']
    ours = {name: value for name, value in values.items() if not name.startswith('qos_overrides')}
    assert not parameters.problems(ours)
    assert set(ours) <= set(parameters.BY_NAME)
    policy = parameters.BY_NAME['memory.policy'].default
    assert values.get('memory.policy', policy) == policy, 'what was not tried is opt-in'
    if path.name == 'infinipot.yaml':
        assert values == parameters.defaults()


def test_fast_dds_profile_has_room_for_raw_images():
    text = (ROOT / 'config/fastdds_shm.xml').read_text()
    profile = ElementTree.fromstring(text)
    sizes = [e.text for e in profile.iter() if e.tag.endswith('segment_size')]
    assert [int(size or 0) for size in sizes] == [64 * 1024 ** 2]


@pytest.mark.parametrize('name', ['infinipot.rviz', 'foxglove_layout.json'])
def test_views_look_at_topics_there_are(name):
    yaml = pytest.importorskip('yaml')
    text = (ROOT / 'config' / name).read_text()
    yaml.safe_load(text)  # JSON is YAML, too
    topics = set(re.findall(r'/infinipot/(\w+)', text))
    page = (ROOT / 'docs/reference/interfaces.md').read_text()
    assert 'evidence_markers' in topics and 'memory_image' in topics
    assert all(f'`~/{topic}`' in page for topic in topics)


def test_rviz_displays_take_what_their_topics_carry():
    yaml = pytest.importorskip('yaml')
    config = yaml.safe_load((ROOT / 'config/infinipot.rviz').read_text())
    page = (ROOT / 'docs/reference/interfaces.md').read_text()
    latched = set(re.findall(
        r'^\| `~/(\w+)` \| publishes \| `[^`]*`, latched', page, re.MULTILINE))
    displays = [each for each in config['Visualization Manager']['Displays'] if 'Topic' in each]
    assert len(displays) == 2
    for display in displays:
        name = display['Topic']['Value'].rpartition('/')[2]
        kind = display['Class'].rpartition('/')[2]
        assert re.search(rf'^\| `~/{name}` \| publishes \| `\w+_msgs/{kind}`', page, re.MULTILINE)
        wanted = 'Transient Local' if name in latched else 'Volatile'
        assert display['Topic']['Durability Policy'] == wanted


# -- one name, two places ---------------------------------------------------------------------

WHERE = 'import infinipot_ros.errors as e, os; print(e.__file__, os.path.realpath(e.__file__))'


@built
@pytest.mark.ros
def test_built_package_wins_and_is_this_source(tmp_path):
    found, real = ask(WHERE, built_environment(), tmp_path).split()
    assert Path(found).is_relative_to(INSTALLED)
    assert Path(real) == PACKAGE / 'errors.py'
    interfaces = ('import infinipot_ros.msg, infinipot_ros.srv; '
                  'from infinipot_ros.node import main as n; print(n.__file__)')
    assert Path(ask(interfaces, built_environment(), tmp_path)).is_relative_to(INSTALLED)


@built
@pytest.mark.ros
def test_without_the_built_package_the_same_source_runs(tmp_path):
    environment = {k: v for k, v in built_environment().items() if k != 'PYTHONPATH'}
    code = f'{WHERE}; import importlib.util; print(importlib.util.find_spec("infinipot_ros.msg"))'
    found, real, interfaces = ask(code, environment, tmp_path).split()
    assert (Path(found), Path(real)) == (PACKAGE / 'errors.py', PACKAGE / 'errors.py')
    assert interfaces == 'None'


@built
@pytest.mark.ros
def test_every_module_is_installed_as_a_link(tmp_path):
    installed = Path(ask('import infinipot_ros; print(infinipot_ros.__file__)',
                         built_environment(), tmp_path)).parent
    for path in PACKAGE.rglob('*.py'):
        relative = path.relative_to(PACKAGE)
        if '__pycache__' not in path.parts and str(relative) != '__init__.py':
            assert (installed / relative).resolve() == path, f'{relative}: run make build'


@built
def test_these_tests_run_this_source():
    import infinipot_ros.errors
    assert Path(infinipot_ros.errors.__file__).resolve() == PACKAGE / 'errors.py'


# -- what ROS and others read of the package ----------------------------------------------------


def test_the_changelog_can_be_released() -> None:
    pytest.importorskip('catkin_pkg', reason='catkin_pkg comes with the build tools of ROS')
    from catkin_pkg.changelog import Changelog, populate_changelog_from_rst
    from catkin_pkg.package_version import get_forthcoming_label
    text = (ROOT / 'CHANGELOG.rst').read_text()
    label = get_forthcoming_label(text)
    # As catkin_prepare_release renames it, before bloom reads the file.
    title = f'{PROJECT["version"]} (2026-12-01)'
    released = text.replace(f'\n{label}\n{"-" * len(label)}\n', f'\n{title}\n{"-" * len(title)}\n')
    changelog = populate_changelog_from_rst(Changelog('infinipot_ros'), released)
    [(version, _, entries)] = changelog.foreach_version()
    assert version == PROJECT['version'] and entries


def test_the_citation_is_one() -> None:
    yaml = pytest.importorskip('yaml')
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert set(citation) <= {
        'cff-version', 'message', 'title', 'type', 'version', 'license', 'authors', 'keywords',
        'references'}, 'keys of the schema, 1.2.0'
    assert (citation['version'], citation['license']) == (PROJECT['version'], 'Apache-2.0')
    for each in (citation, *citation['references']):
        for author in each['authors']:
            assert set(author) in ({'name'}, {'family-names', 'given-names'})


def test_the_quality_declaration_points_at_files_there_are() -> None:
    text = (ROOT / 'QUALITY_DECLARATION.md').read_text()
    assert 'Quality Level 4' in text
    for target in re.findall(r'\]\((?!https?:)([^)#]+)', text):
        assert (ROOT / target).exists(), target
