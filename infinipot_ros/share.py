# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where ``demo/`` and ``config/`` lie: in the source tree, or in an installed share."""

from __future__ import annotations

import sys
from pathlib import Path

from infinipot_ros.errors import SourceError


def find_share() -> Path:
    """
    Find the folder that holds ``demo/`` and ``config/``.

    :raises SourceError: neither the source tree nor a share has a demo.
    """
    candidates = [Path(__file__).resolve().parents[1]]
    candidates += [parent / 'share' / 'infinipot_ros' for parent in Path(__file__).parents]
    candidates.append(Path(sys.prefix) / 'share' / 'infinipot_ros')
    for folder in candidates:
        if (folder / 'demo' / 'questions.jsonl').is_file():
            return folder
    raise SourceError('demo/questions.jsonl is not in the source tree nor in share/infinipot_ros: '
                      'install the package completely, or clone it again')
