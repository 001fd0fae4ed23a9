# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The package of the BehaviorTree.CPP node agrees with itself and with the action it calls.

It is not compiled here: that takes Nav2.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'examples' / 'behaviortree_cpp'
SOURCE = (FOLDER / 'ask_memory.cpp').read_text()
CMAKE = (FOLDER / 'CMakeLists.txt').read_text()
#: Ports that every action node of Nav2 has.
BASIC = {'server_name', 'server_timeout'}


def ports() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {'input': set(BASIC), 'output': set()}
    for way, name in re.findall(r'BT::(Input|Output)Port<[\w:]+>\("(\w+)"', SOURCE):
        found[way.lower()].add(name)
    return found


def test_the_manifest_and_the_build_file_name_the_same_packages() -> None:
    manifest = ElementTree.parse(FOLDER / 'package.xml').getroot()
    name = manifest.findtext('name')
    assert f'project({name} ' in CMAKE
    declared = {each.text for each in manifest if each.tag.endswith('depend')}
    assert declared == set(re.findall(r'find_package\((\w+) REQUIRED\)', CMAKE))
    assert set(re.findall(r'#include "(\w+)/', SOURCE)) <= declared


def test_the_model_and_the_tree_have_the_ports_of_the_source() -> None:
    [model] = ElementTree.parse(FOLDER / 'ask_memory.xml').getroot().iter('Action')
    [name] = set(re.findall(r'registerBuilder<[\w:]+>\("(\w+)"', SOURCE))
    assert model.attrib == {'ID': name}
    for way, names in ports().items():
        assert {port.get('name') for port in model.iter(f'{way}_port')} == names
    trees = sorted(FOLDER.glob('trees/*.xml'))
    assert trees
    for path in trees:
        root = ElementTree.parse(path).getroot()
        assert root.get('main_tree_to_execute') in {
            each.get('ID') for each in root.iter('BehaviorTree')}
        [node] = root.iter(name)
        assert set(node.attrib) <= set().union(*ports().values())


def test_it_reads_fields_that_the_action_has() -> None:
    goal, result, _ = (ROOT / 'action' / 'Ask.action').read_text().split('---\n')
    for part, read in ((goal, r'\bgoal_\.(\w+)'),
                       (result, r'\bresult(?:_\.result)?(?:\.|->)(\w+)')):
        fields = set(re.findall(r'^[\w/\[\]]+ +(\w+)', part, re.MULTILINE))
        used = set(re.findall(read, SOURCE)) - {'result'}
        assert used and used <= fields


def test_the_page_names_the_library() -> None:
    [library] = re.findall(r'add_library\((\w+) SHARED', CMAKE)
    page = (ROOT / 'docs' / 'how-to' / 'drive.md').read_text()
    assert f'plugin_lib_names: [{library}]' in page and 'trees/ask_and_drive.xml' in page
