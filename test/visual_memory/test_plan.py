# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a device can still give."""

import sys

import pytest

from infinipot_ros.visual_memory.plan import available_bytes, container_bytes


@pytest.mark.parametrize(('folder', 'limit', 'usage'), [
    ('.', 'memory.max', 'memory.current'),
    ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes')])
def test_a_container_limits_what_is_available(tmp_path, folder, limit, usage):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / limit).write_text('1000\n')
    (tmp_path / folder / usage).write_text('700\n')
    (tmp_path / folder / 'memory.stat').write_text('anon 500\ninactive_file 150\n')
    assert container_bytes(tmp_path) == 450
    (tmp_path / folder / usage).write_text('2000\n')
    assert container_bytes(tmp_path) == 0


def test_without_a_limit_the_machine_decides(tmp_path):
    assert container_bytes(tmp_path) == sys.maxsize
    (tmp_path / 'memory.max').write_text('max\n')
    (tmp_path / 'memory.current').write_text('5\n')
    assert container_bytes(tmp_path) == sys.maxsize
    assert 0 < available_bytes('cpu') < sys.maxsize
