# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models as ``hf download`` leaves them in the cache of this machine, whole or not."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import constants
from safetensors.torch import load_file, save_file

COMMIT = 'a' * 40
SHARDS = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')


def put_in_cache(folder: Path, name: str) -> Path:
    """
    Cache a folder as hub repository ``owner/name``: blobs, and a snapshot of links to them.

    :return: the snapshot.
    """
    repository = Path(constants.HF_HUB_CACHE) / f'models--{name.replace("/", "--")}'
    snapshot = repository / 'snapshots' / COMMIT
    for part in (repository / 'refs', repository / 'blobs', snapshot):
        part.mkdir(parents=True)
    (repository / 'refs' / 'main').write_text(COMMIT)
    for file in folder.iterdir():
        blob = repository / 'blobs' / f'blob-of-{file.name}'
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path('../../blobs') / blob.name)
    return snapshot


def shard(folder: Path) -> dict[str, str]:
    """
    Split a model's weights into ``SHARDS``, with an index.

    :return: the index's map from weight to file.
    """
    whole = folder / 'model.safetensors'
    weights = load_file(whole)
    whole.unlink()
    names = sorted(weights)
    places: dict[str, str] = {}
    for file, part in zip(SHARDS, (names[::2], names[1::2])):
        save_file({each: weights[each] for each in part}, folder / file,
                  metadata={'format': 'pt'})
        places.update(dict.fromkeys(part, file))
    write_index(folder, places)
    return places


def write_index(folder: Path, places: object) -> None:
    """Write ``model.safetensors.index.json`` with this ``weight_map``."""
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps({'metadata': {'total_size': 0}, 'weight_map': places}))
