# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command that watches offline what a node watched names all the node has of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros


def test_the_offline_command_has_what_the_node_was_set_to() -> None:
    from infinipot_ros.node import parameters
    from infinipot_ros.node.replay.live_text import eval_command
    values = parameters.defaults() | {'model': 'infinipot-tiny', 'dtype': 'bfloat16'}
    status = SimpleNamespace(policy='rarity', budget_tokens=1024)

    def command(**changes: object) -> list[str]:
        node = SimpleNamespace(
            parameters=values | changes, client=SimpleNamespace(status=status))
        return eval_command(Path('bag'), None, Path('out'), '/image', node)  # type: ignore

    usual = command()
    assert usual[:3] == ['infinipot', 'eval', 'bag']
    told = dict(zip(usual[3::2], usual[4::2]))
    assert told['--budget'] == '1024' and told['--dtype'] == 'bfloat16'
    assert told['--output'] == 'out-offline'
    assert not {'--device', '--questions', '--tar-ratio', '--duplicate-similarity'} & set(told)
    skipping = command(**{'ingest.duplicate_similarity': 0.95})
    assert skipping[-2:] == ['--duplicate-similarity', '0.95']
