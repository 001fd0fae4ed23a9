# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make the parts of ``docs/reference`` that come from the code.

Interfaces and error codes are read from the .msg, .srv and .action files, parameters from the
node's own table, options from the commands, memory figures from the published configurations,
what is tested for each family of models from the tests' marks, and measurements from the records
in ``docs/measured``. The policy for SROS 2 is made from the table of interfaces.

    python scripts/reference_tables.py               # print all of them
    python scripts/reference_tables.py interfaces    # print one
    python scripts/reference_tables.py --write       # put them into their pages, between marks
    python scripts/reference_tables.py --check       # name the pages that are not current
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'infinipot_ros'
REFERENCE = ROOT / 'docs' / 'reference'
#: Records of `infinipot verify` that were sent in.
MEASURED = ROOT / 'docs' / 'measured'
#: What the parts of a file are called, by its suffix.
PARTS = {'.msg': ('',), '.srv': ('request', 'response'), '.action': ('goal', 'result', 'feedback')}
FIELD = re.compile(r'(?P<type>[\w/\[\]<=]+) +(?P<name>\w+)(?P<constant>=\S+)? *(# *(?P<what>.*))?')

#: By kind, in the table of interfaces: the element of an SROS 2 policy, and what it allows.
RULES = {'publishes': ('topic', 'publish'), 'subscribes': ('topic', 'subscribe'),
         'service': ('service', 'reply'), 'action': ('action', 'execute')}
INTERFACE = re.compile(r'\| (?P<names>`[^|]+`) \| (?P<kind>\w+)(?: with `(?P<when>[^`]+)`)? \|')

#: The commands and where their options are declared.
COMMANDS = {
    **dict.fromkeys(
        ('ask', 'status', 'watch', 'save', 'plan', 'verify', 'eval', 'events', 'demo', 'replay',
         'serve'),
        'infinipot_ros.cli.main:app'),
    **dict.fromkeys(('bench quality', 'bench speed'), 'benchmarks.command:bench_app'),
    **dict.fromkeys(('tour', 'train'), 'tools.tiny_model.command:world_app'),
}

#: The rooms whose docstrings become pages, and the folders left out of them.
ROOMS = ('kv_cache', 'vlm', 'visual_memory', 'images', 'recordings', 'evaluation')
INTERNAL = ('report', 'benchmarks', 'verify')


# -- interfaces -------------------------------------------------------------------------------


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
            raise ValueError(f'{path}:{number}: expected a field or a constant, got {line!r}')
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
            lines += [f'### `{folder}/{path.stem}`', '', sentence, '',
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


def policy() -> str:
    """
    Return the rules of ``config/infinipot.policy.xml``: the table of interfaces for SROS 2.

    What only a parameter brings is a comment, to be put in by whoever sets the parameter.
    """
    lines: dict[tuple[str, str], list[str]] = {rule: [] for rule in RULES.values()}
    for found in INTERFACE.finditer((REFERENCE / 'interfaces.md').read_text(encoding='utf-8')):
        element, act = RULES[found['kind']]
        for name in re.findall('`(.+?)`', found['names']):
            line = f'<{element}>{name}</{element}>'
            lines[element, act].append(
                f'<!-- {found["when"]} {line} -->' if found['when'] else line)
    return '\n'.join('\n'.join([
        f'          <{element}s {act}="ALLOW">', *(f'            {line}' for line in rules),
        f'          </{element}s>']) for (element, act), rules in lines.items()) + '\n'


def error_codes() -> str:
    """Return the table of the codes of ``srv/Query`` and ``action/Ask``."""
    _, parts = read_interface(ROOT / 'srv' / 'Query.srv')
    rows = [f'| `{name}` | {value} | {_cell(what)} |'
            for name, value, what in parts[1].constants]
    return '\n'.join(['| code | number | meaning |', '|---|---|---|', *rows, ''])


def drop_reasons() -> str:
    """
    Return the table of the reasons frames are dropped for, with the modules that give them.

    :raises ValueError: the code gives a reason that ``REASONS`` lacks, or the other way round.
    """
    meanings: dict[str, str] = import_module('infinipot_ros.drop_reasons').REASONS
    places: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        for reason in given_reasons(path):
            places.setdefault(reason, set()).add(str(path.relative_to(PACKAGE)))
    for reason in set(meanings) - set(places):
        places[reason] = {str(path.relative_to(PACKAGE)) for path in PACKAGE.glob('node/*.py')
                          if f"'{reason}'" in path.read_text(encoding='utf-8')}
    differing = set(places) ^ set(meanings) | {each for each in places if not places[each]}
    if differing:
        raise ValueError('REASONS of infinipot_ros/drop_reasons.py and the code differ: '
                         f'{sorted(differing)}')
    rows = [f'| `{reason}` | {what} | {", ".join(map("`{}`".format, sorted(places[reason])))} |'
            for reason, what in meanings.items()]
    return '\n'.join(
        ['| reason | meaning, and what to do | given in |', '|---|---|---|', *rows, ''])


def given_reasons(path: Path) -> Iterator[str]:
    """Find the words that a module raises ``FrameError`` with, or calls a method to drop with."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
            value = getattr(node.args[0], 'value', None)
            if (name == 'FrameError' or re.search('drop|forget_waiting', name)) and re.fullmatch(
                    '[a-z_]+', str(value)) and isinstance(value, str):
                yield value


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')


# -- parameters, figures, commands ------------------------------------------------------------


def parameters() -> str:
    """Return the table of the node's parameters."""
    return str(import_module('infinipot_ros.node.parameters').markdown_table())


def figures() -> str:
    """Return the table of what a memory takes, by model and budget (imports torch)."""
    table = import_module('infinipot_ros.visual_memory.plan_table')
    return str(table.markdown(('model', *table.PARTS), table.shape_rows()))


def token_costs() -> str:
    """Return the table of what a token takes, by model (imports torch)."""
    costs = import_module('infinipot_ros.visual_memory.token_costs')
    table = import_module('infinipot_ros.visual_memory.plan_table')
    return str(table.markdown(costs.COLUMNS, costs.cost_rows()))


def commands() -> str:
    """Return a section for each command: what it does, its arguments and options."""
    from typer.main import get_command
    lines = []
    for name, where in COMMANDS.items():
        module, app = where.split(':')
        command = get_command(getattr(import_module(module), app))
        while hasattr(command, 'commands'):
            command = command.commands[name.split()[-1]]
        text = ' '.join((command.help or '').split())
        lines += [f'## `infinipot {name}`', '', text, '', '| option | default | what |',
                  '|---|---|---|', *_options(command), '']
    return '\n'.join(lines)


def _options(command: object) -> Iterator[str]:
    for each in command.params:  # type: ignore[attr-defined]
        if each.name == 'help' or getattr(each, 'hidden', False):
            continue
        argument = each.param_type_name == 'argument'
        names = (each.metavar or each.name) if argument else ', '.join(
            [*each.opts, *each.secondary_opts])
        default = each.default() if callable(each.default) else each.default
        shown = '' if default in (None, False, (), [], '') else f'`{default}`'
        yield f'| `{names}` | {shown} | {_cell(getattr(each, "help", None) or "")} |'


# -- tests ------------------------------------------------------------------------------------


def family_cells() -> str:
    """
    Return the table of what is tested for each family: how many tests, by property.

    :raises RuntimeError: the tests cannot be collected.
    """
    served = import_module('infinipot_ros.vlm.families.registry').MODEL_TYPES
    # The checkout's tests on the checkout's code, whatever is built and sourced.
    environment = {
        name: each for name, each in os.environ.items()
        if name != 'PYTHONPATH' and not name.startswith(('PYTEST_', 'INFINIPOT_'))}
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '--collect-only', '-q', '--family-cells', '-m',
         'family_cell', '-p', 'no:cacheprovider', 'test/visual_memory', 'test/vlm'],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f'the tests of the families: {done.stdout}{done.stderr}')
    counts = Counter(
        tuple(line.split('\t')[1:]) for line in done.stdout.splitlines()
        if line.startswith('family-cell\t'))
    kinds = [kind for kind in served if any(kind == known for _, known, _ in counts)]
    rows = [f'| {property_} | {_short(test)} | ' + ' | '.join(
        str(counts[property_, kind, test] or '') for kind in kinds) + ' |'
        for property_, test in dict.fromkeys((each[0], each[2]) for each in counts)]
    head = ['| what | test | ' + ' | '.join(f'`{kind}`' for kind in kinds) + ' |',
            '|---|---' + '|---' * len(kinds) + '|']
    return '\n'.join([*head, *sorted(rows), ''])


def _short(test: str) -> str:
    path, _, name = test.partition('::')
    return f'`{name}` in `{path}`'


# -- measurements -----------------------------------------------------------------------------


def measured() -> str:
    """Return what was sent in: the checks of every record, and its figures by tokens seen."""
    module = import_module('infinipot_ros.evaluation.verify.verification_record')
    figure = import_module('infinipot_ros.evaluation.verify.record_tables').figure
    records = [module.read_record(path) for path in sorted(MEASURED.glob('*.json'))]
    if not records:
        return 'No row has been sent in yet.\n'
    checks = [
        '| model | machine | dtype | equal to the plain pipeline | peak, of the plan | right '
        'answers: full, bounded | date |', '|---' * 7 + '|']
    figures = [
        '| model | machine | memory | tokens seen | frames/s | ms to first token | tokens/s | '
        'cache, MiB | W |', '|---' * 9 + '|']
    for each in records:
        name = f'{each.model.name} | {_machine(each.machine)}'
        checks.append('| ' + ' | '.join([
            name, ' '.join(filter(None, (each.options.dtype, each.options.weights))),
            _equality(each.equality), _peak(each.memory), _right(each.answers),
            each.date[:10]]) + ' |')
        figures += ['| ' + ' | '.join([
            name, f'{row.memory}, {each.options.budget:,}' if row.memory == 'bounded' else 'full',
            f'{row.tokens_seen:,}', *([_cell(row.skipped), *[''] * 4] if row.skipped else [
                *map(figure, (row.frames_per_s, row.first_token_ms, row.tokens_per_s)),
                f'{row.cache_bytes / 2 ** 20:,.0f}',
                '' if row.power_w is None else f'{row.power_w:.1f}'])]) + ' |'
            for row in each.speed]
    return '\n'.join([*checks, '', *figures, ''])


def _machine(machine: Any) -> str:
    if machine.gpu:
        return str(machine.gpu)
    return f'{machine.processor}, {machine.cores} cores'


def _equality(found: list[Any]) -> str:
    words = {True: 'yes', False: 'NO', None: 'not compared'}
    return _cell('; '.join(
        f'{each.dtype} {words[each.passed]}' + (
            f' ({each.difference:.1e}, limit {each.limit:.1e})' if each.limit else '')
        for each in found))


def _peak(memory: Any) -> str:
    if memory.peak_bytes is None:
        return 'not measured'
    return (f'{memory.peak_bytes / 2 ** 20:,.0f} of {memory.planned_bytes / 2 ** 20:,.0f} MiB, '
            f'{"within" if memory.passed else "OVER"}')


def _right(answers: list[Any]) -> str:
    found = {each.policy: each.answers for each in answers}
    return ', '.join(
        f'{sum(one.right for one in found[name])} of {len(found[name])}'
        for name in ('full', import_module(
            'infinipot_ros.visual_memory.policy_names').DEFAULT_POLICY) if name in found)


# -- the API ----------------------------------------------------------------------------------


def modules(room: str) -> list[Path]:
    """List the modules of a room that make its page."""
    return [path for path in sorted((PACKAGE / room).rglob('*.py'))
            if path.name != '__init__.py'
            and not set(INTERNAL) & set(path.relative_to(PACKAGE).parts)]


def api(room: str) -> str:
    """Return a section for each module of a room, for autodoc to fill."""
    lines = []
    for path in modules(room):
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        lines += [f'## `{name.removeprefix("infinipot_ros.")}`', '', '```{eval-rst}',
                  f'.. automodule:: {name}', '```', '']
    return '\n'.join(lines)


# -- pages ------------------------------------------------------------------------------------

#: What is made, and the page it stands in, from docs/reference.
BLOCKS: dict[str, tuple[str, Callable[[], str]]] = {
    'interfaces': ('interfaces.md', interfaces),
    'parameters': ('parameters.md', parameters),
    'error codes': ('codes.md', error_codes),
    'drop reasons': ('codes.md', drop_reasons),
    'figures': ('memory-figures.md', figures),
    'token costs': ('memory-figures.md', token_costs),
    'commands': ('command-line.md', commands),
    'family tests': ('../explanation/equality.md', family_cells),
    'measured': ('measured.md', measured),
    'policy': ('../../config/infinipot.policy.xml', policy),
    **{f'api {room}': (f'api/{room}.md', partial(api, room)) for room in ROOMS},
}


def put(text: str, name: str, block: str) -> str:
    """
    Put a block between its marks.

    :raises ValueError: the page lacks the marks.
    """
    begin, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f'the page lacks {begin.strip()} ... {end}')
    return f'{before}{begin}\n{block}\n{end}{after}'


def update(write: bool) -> list[Path]:
    """
    Make every page from the code again.

    :param write: write them; otherwise nothing is changed.
    :return: the pages that were not current.
    """
    texts: dict[Path, str] = {}
    for name, (page, make) in BLOCKS.items():
        path = REFERENCE / page
        text = texts.get(path) or path.read_text(encoding='utf-8')
        texts[path] = put(text, name, make())
    changed = [path for path, text in texts.items() if path.read_text(encoding='utf-8') != text]
    for path in changed if write else ():
        path.write_text(texts[path], encoding='utf-8')
    return changed


def main(arguments: list[str]) -> int:
    """Print blocks, write them, or check that their pages are current."""
    # The checkout, not an installed copy: benchmarks and tools are only here.
    sys.path.insert(0, str(ROOT))
    if arguments in (['--write'], ['--check']):
        changed = update(write=arguments == ['--write'])
        for path in changed:
            print(path.resolve().relative_to(ROOT))
        return int(arguments == ['--check'] and bool(changed))
    unknown = [name for name in arguments if name not in BLOCKS]
    if unknown:
        print(f'unknown block {unknown[0]!r}: choose from {", ".join(BLOCKS)}, or give --write '
              'or --check', file=sys.stderr)
        return 2
    print(''.join(BLOCKS[name][1]() for name in arguments or BLOCKS), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
