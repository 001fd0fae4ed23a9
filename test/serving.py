# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The live page's server, in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from infinipot_ros.integrations.web.page_app import build_app
from infinipot_ros.integrations.web.page_server import PageServer


@contextmanager
def served(source, *, host='127.0.0.1', port=0, token='', plan=None):
    """Serve a source; yields the address."""
    server = PageServer(build_app(source, token, plan), host, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.address
    server.stop()
    thread.join(20.0)
    assert not thread.is_alive()
