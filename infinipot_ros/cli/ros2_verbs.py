# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``ros2 infinipot``: ``infinipot ask --node`` and ``infinipot status`` as a command of ros2.

ros2cli finds it by its entry point. It is read at every ``ros2 --help``, so it imports nothing.
"""

from __future__ import annotations

import argparse
from typing import Any

NODE = '/infinipot'


class Ros2Command:
    """Ask a visual memory that runs, or show its status."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str, **_: Any) -> None:
        """
        Declare the verbs and their arguments.

        :param cli_name: what has been typed so far: ``ros2 infinipot``.
        """
        verbs = parser.add_subparsers(title='verbs', dest='verb', required=True, metavar='VERB')
        ask = verbs.add_parser('ask', help='ask questions', description=f'{cli_name} ask')
        ask.add_argument('question', nargs='+', help='one or more questions, each in quotes')
        ask.add_argument('--session', help='continue this dialogue, or begin it')
        ask.add_argument('--camera', action='append', help='ask about this camera only')
        ask.add_argument('--since', help='of what was seen from then on: "-10 min", a date')
        ask.add_argument('--until', help='of what was seen until then')
        ask.add_argument('--max-new-tokens', help='most tokens of an answer')
        status = verbs.add_parser('status', help='show what it remembers',
                                  description=f'{cli_name} status')
        for verb in (ask, status):
            verb.add_argument('--node', default=NODE, help='full name of the node (%(default)s)')
            verb.add_argument('--json', action='store_true', help='print one JSON object')

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Run the verb as ``infinipot`` does; return its exit status."""
        from infinipot_ros.cli.main import main

        given = [args.verb, '--node', args.node, *(['--json'] if args.json else [])]
        given += [f'--{name.replace("_", "-")}={getattr(args, name)}'
                  for name in ('session', 'since', 'until', 'max_new_tokens')
                  if getattr(args, name, None) is not None]
        given += [f'--camera={name}' for name in getattr(args, 'camera', None) or ()]
        try:
            main([*given, '--', *getattr(args, 'question', ())])
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(bool(end.code))
        return 0
