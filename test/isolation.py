# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A process of the tests and its children: a ROS domain and a home of their own, no network."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

HIGHEST_DOMAIN = 101  # above, the ports collide with ephemeral ones


def claim_domain() -> tuple[int, TextIO]:
    """Take a ROS domain no other test process of this machine uses; held while it is open."""
    for domain in range(HIGHEST_DOMAIN, 0, -1):
        path = Path(tempfile.gettempdir()) / f'infinipot_ros_test_domain_{domain}.lock'
        try:
            lock = path.open('w')
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        atexit.register(lock.close)
        return domain, lock
    raise RuntimeError(f'all {HIGHEST_DOMAIN} ROS domains are taken by other tests')


def isolate() -> TextIO:
    """Give this process and its children their own domain, home and logs, and no network."""
    domain, lock = claim_domain()
    home = tempfile.mkdtemp(prefix='infinipot_ros_home_')
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        HOME=home,
        ROS_LOG_DIR=f'{home}/ros_log',
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        HF_HUB_OFFLINE='1',
        HF_HOME=f'{home}/huggingface',
        PYTHONSAFEPATH='1',
        # Tiny models on shared cores: a second thread waits longer than it works.
        OMP_NUM_THREADS='1',
    )
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    return lock
