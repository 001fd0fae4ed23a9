# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files in XML and YAML take the arguments of the one in Python, and pass them on."""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

yaml = pytest.importorskip('yaml')

LAUNCH = Path(__file__).resolve().parents[1] / 'launch'
CONFIG = '$(dirname)/../config/infinipot.yaml'


def of_python() -> list[tuple[str, str, str]]:
    """Name, default and description of each argument, in their order."""
    tree = ast.parse((LAUNCH / 'infinipot.launch.py').read_text())
    [describe] = (each for each in tree.body if isinstance(each, ast.FunctionDef)
                  and each.name == 'generate_launch_description')
    [rows] = (each.iter.elts for each in ast.walk(describe)
              if isinstance(each, ast.comprehension))
    found = []
    for name, default, description in (row.elts for row in rows):
        where = ast.unparse(default) == "str(CONFIG / 'infinipot.yaml')"
        found.append((name.value, CONFIG if where else default.value, description.value))
    return found


def of_xml() -> tuple[list[tuple[str, str, str]], list[str]]:
    root = ElementTree.parse(LAUNCH / 'infinipot.launch.xml').getroot()
    assert {each.tag for each in root} == {'arg', 'include'}
    return ([(each.get('name'), each.get('default'), each.get('description'))
             for each in root.iter('arg')], [each.get('file') for each in root.iter('include')])


def of_yaml() -> tuple[list[tuple[str, str, str]], list[str]]:
    entries = yaml.safe_load((LAUNCH / 'infinipot.launch.yaml').read_text())['launch']
    assert {key for entry in entries for key in entry} == {'arg', 'include'}
    return ([(each['name'], each['default'], each['description'])
             for entry in entries for each in [entry.get('arg')] if each],
            [entry['include']['file'] for entry in entries if 'include' in entry])


@pytest.mark.parametrize('read', [of_xml, of_yaml])
def test_they_are_the_same_in_every_language(read) -> None:
    arguments, included = read()
    assert arguments == of_python() and len(arguments) > 10
    assert included == ['$(dirname)/infinipot.launch.py']
    assert (LAUNCH / CONFIG.replace('$(dirname)', '.')).resolve().is_file()
