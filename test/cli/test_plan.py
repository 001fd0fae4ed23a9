# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command plan."""

from __future__ import annotations

import re

import pytest
from command_runs import process, run


@pytest.mark.parametrize(('device', 'where'), [('cpu', 'of the same memory'),
                                               ('cuda', "of the host's memory, not the GPU's")])
def test_plan_says_what_the_interpreter_takes(device, where):
    child = process('plan', '2B', '--budget', 2048, '--device', device)
    text, warnings = child.communicate(timeout=60)
    assert child.returncode == 0, warnings
    [taken] = re.findall(r'Python, torch and transformers take ([\d,]+) MiB besides, (.*?):',
                         ' '.join(text.split()))
    # torch alone takes more than 100 MiB.
    assert 100 < int(taken[0].replace(',', '')) < 2000
    assert taken[1] == where
    # Not part of the sum.
    row = [int(cell.replace(',', '')) for cell in re.findall(r' ([\d,]+)$', text, re.MULTILINE)]
    assert row[0] == 2048
    assert abs(row[-1] - (row[1] + row[2] + row[3] + max(row[4], row[5]) + row[6])) <= 4


@pytest.mark.parametrize('budgets', [[], [500], [10**4, 10**5, 10**6, 2048, 4096]])
def test_plan_fits_a_terminal_of_80_columns(budgets):
    result = run('plan', '7B', *(word for each in budgets for word in ('--budget', each)))
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    # Every budget has a column of its own, with its sum.
    tables = result.stdout.split('\n\n')[1:-1]
    columns = [text for table in tables for text in table.splitlines()[0].split()[1:]]
    assert columns == [f'{each:,}' for each in budgets or (2048, 4096, 8192)]
    assert all(len(table.splitlines()[-1].split()) == 2 + len(table.splitlines()[0].split()) - 1
               for table in tables)


def test_plan_counts_quantised_weights():
    stored, quantised = (
        run('plan', '7B', '--budget', 4096, *options)
        for options in ((), ('--weights', 'int4')))
    figures = [int(re.search(r'^weights +([0-9,]+)$', result.stdout, re.M)[1].replace(',', ''))
               for result in (stored, quantised)]
    # The language model's matrices take 4 of 16 bits; vision tower and embeddings stay.
    assert 0.25 < figures[1] / figures[0] < 0.5
    assert 'weights in int4' in quantised.stdout and 'weights in' not in stored.stdout
