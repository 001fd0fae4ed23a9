# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which of a params file's keys are a node's, without ROS.

ROS takes from a file what stands under the node's name and ignores the rest without a word, so
that a typing error in a name leaves every default as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

OPTION, PARAMETERS = '--params-file', 'ros__parameters'


def unmatched_files(args: Sequence[str], node: str) -> list[str]:
    """
    Describe the params files of a command line that have nothing for a node.

    :param args: the command line.
    :param node: the node's fully qualified name.
    :return: a sentence for each, with the keys it has.
    """
    files = [path for option, path in pairwise(args) if option == OPTION]
    return [text for path in files if (text := _describe(path, node))]


def _describe(path: str, node: str) -> str:
    try:
        tree = yaml.compose(Path(path).read_text(encoding='utf-8'), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ''  # ROS has read it, so it is not for this check to complain
    keys = list(_keys(tree))
    if any(re.fullmatch(_pattern(key), node) for key, _ in keys):
        return ''
    found = ', '.join(f'{key} (line {line})' for key, line in keys) or 'no node'
    return (f'{path} has parameters for {found}, none for {node}: what it sets is not used. Write '
            f'{node} or /** there, or start the node by the name that is there (-r __node:=...)')


def _keys(tree: yaml.Node | None, before: str = '') -> Iterator[tuple[str, int]]:
    """Yield the names of nodes in a file, wildcards included, and their lines from 1."""
    if not isinstance(tree, yaml.MappingNode):
        return
    for key, value in tree.value:
        name = f'{before}/{str(key.value).strip("/")}'
        if isinstance(value, yaml.MappingNode):
            if any(inner.value == PARAMETERS for inner, _ in value.value):
                yield name, key.start_mark.line + 1
            yield from _keys(value, name)


def _pattern(key: str) -> str:
    """Return what a key matches: ``*`` is one part of a name, ``**`` any number of them."""
    parts = {'*': r'/\w+', '**': r'(/\w+)*'}
    return ''.join(parts.get(part, f'/{re.escape(part)}') for part in key.strip('/').split('/'))
