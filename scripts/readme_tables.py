# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The README's tables that are made: of interfaces, of parameters and of what a memory takes.

The first come from the .msg, .srv and .action files, the second from the node's own table, the
third from the published configurations.

    python scripts/readme_tables.py               # print them
    python scripts/readme_tables.py interfaces    # print one: interfaces, parameters or figures
    python scripts/readme_tables.py --write       # put them into the README, between their marks
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What the parts of a file are called, by its suffix.
PARTS = {'.msg': ('',), '.srv': ('request', 'response'), '.action': ('goal', 'result', 'feedback')}
FIELD = re.compile(r'(?P<type>[\w/\[\]<=]+) +(?P<name>\w+)(?P<constant>=\S+)? *(# *(?P<what>.*))?')


@dataclass
class Part:
    """A message, or one side of a service or action: its fields and its constants."""

    name: str
    fields: list[tuple[str, str, str]] = field(default_factory=list)
    constants: list[tuple[str, str, str]] = field(default_factory=list)


def read_interface(path: Path) -> tuple[str, list[Part]]:
    """
    Read one file.

    :return: the sentence at its head, and its parts in order.
    :raises ValueError: a line that is neither field, constant nor comment.
    """
    head, *lines = path.read_text(encoding='utf-8').splitlines()
    names = iter(PARTS[path.suffix])
    parts = [Part(next(names))]
    for number, line in enumerate(lines, 2):
        if line == '---':
            parts.append(Part(next(names)))
            continue
        if not line.strip() or line.startswith('#'):
            continue
        found = FIELD.fullmatch(line)
        if found is None:
            raise ValueError(f'{path}:{number}: {line!r} is no field')
        if found['constant']:
            parts[-1].constants.append(
                (found['name'], found['constant'][1:], found['what'] or ''))
        else:
            parts[-1].fields.append((found['type'], found['name'], found['what'] or ''))
    return head.lstrip('# '), parts


def interfaces() -> str:
    """Return one table an interface, in the order of their kinds and names."""
    lines = []
    for folder, suffix in (('msg', '.msg'), ('srv', '.srv'), ('action', '.action')):
        for path in sorted((ROOT / folder).glob(f'*{suffix}')):
            sentence, parts = read_interface(path)
            lines += [f'**`{folder}/{path.stem}`** {sentence}', '',
                      '| part | field | type | what |' if len(parts) > 1 else
                      '| field | type | what |', '|---' * (3 + (len(parts) > 1)) + '|']
            for part in parts:
                first = f'| {part.name} ' if len(parts) > 1 else ''
                lines += [f'{first}| `{name}` | `{kind}` | {_cell(what)} |'
                          for kind, name, what in part.fields]
                if part.constants:
                    listed = ', '.join(f'`{name}` {value}' for name, value, _ in part.constants)
                    lines.append(f'{first}| constants | | {listed} |')
            lines.append('')
    return '\n'.join(lines)


def _cell(text: str) -> str:
    return text.replace('|', '\\|')


def parameters() -> str:
    """Return the table of the node's parameters."""
    from infinipot_ros.node.parameters import markdown_table
    return markdown_table()


def figures() -> str:
    """Return the table of what a memory takes, by model and budget."""
    # Imports torch, which the other tables do without.
    from infinipot_ros.visual_memory.plan_table import PARTS, markdown, shape_rows
    return markdown(('model', *PARTS), shape_rows())


BLOCKS: dict[str, Callable[[], str]] = {
    'interfaces': interfaces, 'parameters': parameters, 'figures': figures}


def put(text: str, name: str, block: str) -> str:
    """
    Put a block between its marks.

    :raises ValueError: there are none.
    """
    begin, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f'README.md has no {begin.strip()} ... {end}')
    return f'{before}{begin}{block}{end}{after}'


def main(arguments: list[str]) -> int:
    """Print tables, or write them into the README."""
    if arguments == ['--write']:
        path = ROOT / 'README.md'
        text = path.read_text(encoding='utf-8')
        for name, make in BLOCKS.items():
            text = put(text, name, make())
        path.write_text(text, encoding='utf-8')
        return 0
    unknown = [name for name in arguments if name not in BLOCKS]
    if unknown:
        print(f'there is no table {unknown[0]!r}; there are {", ".join(BLOCKS)}, or --write',
              file=sys.stderr)
        return 2
    print(''.join(BLOCKS[name]() for name in arguments or BLOCKS), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
