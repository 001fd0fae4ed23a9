# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node with the bundled model, which knows no real pictures: it says so wherever it is asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from harness import START_NS

from infinipot_ros.vlm.knowledge import CAVEAT

BUNDLED = Path(__file__).parents[2] / 'models' / 'infinipot-tiny'


@pytest.mark.parametrize('copied', [False, True])
def test_a_node_with_the_bundled_model_says_what_it_knows(start, tmp_path, copied) -> None:
    model = {'model': shutil.copytree(BUNDLED, tmp_path / 'another')} if copied else {}
    process, client = start(query__max_new_tokens=4, **model)
    client.wait_active()
    log = [line for line in process.output().splitlines() if CAVEAT in line]
    assert len(log) == 1 and 'WARN' in log[0]
    found = client.wait_diagnostic('model', CAVEAT)
    assert found.level == b'\x01'
    client.feed(START_NS, 2)
    answer = client.ask('What is there?')
    assert answer.success and answer.message == CAVEAT
    goal = client.result(client.send('What is there?')).result
    assert goal.success and goal.message == CAVEAT
    # Once, however often it is asked.
    assert process.output().count(CAVEAT) == 1


def test_a_node_with_another_model_has_nothing_to_say_of_it(start, tiny) -> None:
    process, client = start(model=tiny, query__max_new_tokens=4)
    client.wait_active()
    assert client.wait_diagnostic('model', str(tiny)).level == b'\x00'
    client.feed(START_NS, 2)
    answer = client.ask('What is there?')
    assert answer.success and answer.message == ''
    assert CAVEAT not in process.output()
