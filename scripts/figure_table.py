# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The README's table of what a memory takes, made from the published configurations.

    python scripts/figure_table.py            # print it
    python scripts/figure_table.py --write    # put it into the README, between its marks
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinipot_ros.evaluation.speed.bounds import readme_block

README = Path(__file__).resolve().parent.parent / 'README.md'
BEGIN, END = '<!-- figures -->\n', '<!-- /figures -->\n'


def main(arguments: list[str]) -> int:
    """Print the table, or write it into the README."""
    if arguments != ['--write']:
        print(readme_block(), end='')
        return 0
    before, _, rest = README.read_text(encoding='utf-8').partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        print(f'README.md has no {BEGIN.strip()} ... {END}', file=sys.stderr)
        return 1
    README.write_text(f'{before}{BEGIN}{readme_block()}{END}{after}', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
