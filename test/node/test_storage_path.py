# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The declared directory: made when it is needed, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinipot_ros.errors import StorageError
from infinipot_ros.node.storage_path import saved_path


def test_the_directory_is_made_and_names_stay_in_it(tmp_path: Path) -> None:
    root = tmp_path / 'new' / 'memories'
    assert saved_path(str(root), 'kitchen') == root.resolve() / 'kitchen'
    assert root.is_dir()
    with pytest.raises(StorageError, match='leads out'):
        saved_path(str(root), '../kitchen')


@pytest.mark.parametrize('directory', ['~nobody_of_this_name/memories', '/dev/null/memories'])
def test_a_directory_that_cannot_be_is_refused(directory: str) -> None:
    with pytest.raises(StorageError, match=r'storage\.directory'):
        saved_path(directory, 'kitchen')
