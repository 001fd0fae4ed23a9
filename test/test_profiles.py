# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What property tests draw: the same every time, or with the profile ``fuzz`` something fresh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
DRAWS = """
from pathlib import Path
from hypothesis import given, settings, strategies as st

@settings(max_examples=20)
@given(st.integers())
def test_draws(number):
    with Path('draws').open('a') as file:
        file.write(f'{number} ')
    assert FINE
"""


def draw(folder: Path, fine: str = 'True', **environment: str) -> tuple[list[int], str]:
    """Run one property test on its own; the numbers it drew and what was printed."""
    (folder / 'draws').unlink(missing_ok=True)
    (folder / 'test_it.py').write_text(DRAWS.replace('FINE', fine))
    # The test needs no ROS, and finds no built package.
    own = {'HYPOTHESIS_PROFILE', 'INFINIPOT_REQUIRE_ROS'}
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'conftest', '-p', 'no:cacheprovider',
         '--rootdir', folder, '-c', os.devnull, 'test_it.py'],
        cwd=folder, env={**inherited, 'PYTHONPATH': str(TESTS), **environment},
        capture_output=True, text=True)
    assert done.returncode == (0 if fine == 'True' else 1), done.stdout + done.stderr
    return [*map(int, (folder / 'draws').read_text().split())], done.stdout


def test_property_tests_draw_the_same_every_time(tmp_path: Path) -> None:
    first, _ = draw(tmp_path)
    assert draw(tmp_path)[0] == first
    assert len(first) == 20


def test_fuzzing_draws_something_fresh_in_each_of_its_rounds(tmp_path: Path) -> None:
    usual, _ = draw(tmp_path)
    fresh, _ = draw(tmp_path, HYPOTHESIS_PROFILE='fuzz', FUZZ_ROUNDS='3')
    assert len(fresh) == 60
    assert len({tuple(fresh[:20]), tuple(fresh[20:40]), tuple(fresh[40:]), tuple(usual)}) == 4


def test_what_fuzzing_finds_is_printed_and_tried_again(tmp_path: Path) -> None:
    _, output = draw(tmp_path, 'number == 0', HYPOTHESIS_PROFILE='fuzz', FUZZ_ROUNDS='9')
    assert '@reproduce_failure(' in output
    again, _ = draw(tmp_path, 'number == 0', HYPOTHESIS_PROFILE='fuzz', FUZZ_ROUNDS='1')
    assert again[0] == 1, 'the smallest number that fails'
