# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a container's /dev/shm: a small tmpfs in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infinipot_ros.node.shared_memory import MIB, profile_variable

TESTS = Path(__file__).resolve().parents[1]
PROFILE = TESTS.parent / 'config' / 'fastdds_shm.xml'
INSIDE = """
import json, sys
from pathlib import Path
from harness import START_NS, Client, NamespacedNode
from segments import own_segments
process = NamespacedNode(Path(sys.argv[1]), model=sys.argv[2], memory__budget=64, ingest__fps=0.0,
                      ingest__max_pixels=3136, status__period=0.1)
client = Client(process)
try:
    client.wait_active()
    status = client.wait_diagnostic('shared memory', '')
    client.feed(START_NS, 2)
    answer = client.ask('What is there?', max_new_tokens=2)
    largest = max(segment.stat().st_size for segment in own_segments(process.pid))
finally:
    client.close()
    ended = process.stop()
values = {each.key: each.value for each in status.values}
print(json.dumps([status.level[0], status.message, int(values['segment bytes']), largest,
                  answer.success, ended]))
"""


def within(size: str, *command: str) -> list[str]:
    """Have a command see a /dev/shm of that size; whoever runs it is root in there."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    return ['unshare', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh', *command]


def namespaces() -> bool:
    try:
        return subprocess.run(within('1m', 'true'), capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not namespaces(), reason='no mount namespaces for this user')
@pytest.mark.parametrize(('size', 'warns'), [('64m', True), ('512m', False)])
def test_a_node_warns_of_a_small_shared_memory_and_works(size, warns, tiny, tmp_path) -> None:
    path = os.pathsep.join([str(TESTS / 'process'), str(TESTS), os.environ['PYTHONPATH']])
    variable = profile_variable(os.environ.get('ROS_DISTRO', ''))
    environment = {**os.environ, 'PYTHONPATH': path, variable: str(PROFILE)}
    done = subprocess.run(
        within(size, sys.executable, '-c', INSIDE, str(tmp_path), str(tiny)), env=environment,
        cwd=tmp_path, capture_output=True, text=True, timeout=120.0)
    log = (tmp_path / 'node.log').read_text()
    assert done.returncode == 0, f'{done.stderr}\n{log}'
    level, message, needed, largest, answered, ended = json.loads(done.stdout.splitlines()[-1])
    assert (level, answered, ended) == (int(warns), True, 0)
    # What the node reckons with is what Fast DDS then makes; where that does not fit, less.
    smaller = re.search(r'one of ([\d.]+) MiB is made instead', message)
    made = float(smaller[1]) * MIB * 21 / 20 if smaller else needed
    assert 0.99 * made < largest <= made
    for words in ('64.0 MiB', '67.2 MiB', 'is made instead', '--shm-size=512m', '--ipc=host'):
        assert (words in message) == warns
        assert (words in log) == warns
