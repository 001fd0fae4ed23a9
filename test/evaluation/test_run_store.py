# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a store keeps, it gives back: any text a model may come up with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from report_folders import CONFIG, write_folder

from infinipot_ros.evaluation.run_store import RunStore

# What Python takes for the end of a line and JSON does not escape.
SEPARATORS = '\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029'


@given(answer=st.text(st.one_of(st.sampled_from(SEPARATORS), st.characters(codec='utf-8'))))
def test_any_answer_comes_back(answer):
    with TemporaryDirectory() as folder:
        write_folder(
            folder, policies=('full',), streams=1, questions=1, pictures=False, timeline=False,
            change=lambda outcome: replace(outcome, answer=answer))
        with RunStore(Path(folder), CONFIG) as store:
            assert [outcome.answer for outcome in store.outcomes] == [answer]
