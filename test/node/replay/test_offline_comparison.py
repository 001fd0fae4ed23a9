# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The offline command names every setting in which the node differs from the defaults."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros


def test_the_offline_command_has_what_the_node_was_set_to() -> None:
    from infinipot_ros.node import parameters
    from infinipot_ros.node.replay.offline_comparison import eval_command
    values = parameters.defaults() | {'model': 'infinipot-tiny', 'dtype': 'bfloat16'}
    status = SimpleNamespace(policy='rarity', budget_tokens=1024)

    def command(**changes: object) -> list[str]:
        node = SimpleNamespace(
            parameters=values | changes, client=SimpleNamespace(status=status))
        return eval_command(Path('bag'), None, Path('out'), '/image', node)  # type: ignore

    usual = command()
    assert usual[:3] == ['infinipot', 'eval', 'bag']
    options = dict(zip(usual[3::2], usual[4::2]))
    assert options['--budget'] == '1024' and options['--dtype'] == 'bfloat16'
    assert options['--output'] == 'out-offline'
    assert not {'--device', '--questions', '--tar-ratio', '--duplicate-similarity'} & set(options)
    skipping = command(**{'ingest.duplicate_similarity': 0.95})
    assert skipping[-2:] == ['--duplicate-similarity', '0.95']
