# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is fetched from a hub where that is allowed, from one on this machine's loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_cache import SHARDS, shard, write_index
from loopback_hub import LoopbackHub, serve
from tiny_models import make_tiny

# What a hub is and where its cache lies is read when the library is imported, so it takes a
# process of its own: each line of its input is a call, each line of its output what came of it.
CALLS = """
import json, sys
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm import loading
for line in sys.stdin:
    function, name, options = json.loads(line)
    try:
        getattr(loading, function)(name, **options)
        print('loaded', flush=True)
    except ConfigurationError as error:
        print(error, flush=True)
"""
Call = Callable[..., str]


@pytest.fixture(scope='module')
def hub() -> Iterator[LoopbackHub]:
    with serve() as served:
        yield served


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('hf')


@pytest.fixture(scope='module')
def process(hub, cache) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ, 'HF_ENDPOINT': hub.url, 'HF_HUB_OFFLINE': '0', 'HF_HOME': str(cache),
        'NO_PROXY': '*', 'no_proxy': '*',
        'PYTHONPATH': os.pathsep.join(each for each in sys.path if each)}
    with subprocess.Popen(
            [sys.executable, '-c', CALLS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment) as child:
        yield child
        child.stdin.close()


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    """A repository with a model in two shards, and much that is no part of it."""
    folder = make_tiny('qwen2_vl', tmp_path_factory.mktemp('made') / 'served')
    shard(folder)
    (folder / 'own_code.py').write_text('raise SystemExit')
    (folder / 'pytorch_model.bin').write_bytes(b'pickled')
    (folder / 'other.safetensors').write_bytes(b'no part of it')
    (folder / 'onnx').mkdir()
    (folder / 'onnx' / 'below.json').write_text('{}')
    return folder


@pytest.fixture
def served(hub, made, tmp_path) -> Path:
    """The files of a repository of this test alone, which goes by the test's name."""
    hub.taken.clear()
    folder = Path(shutil.copytree(made, tmp_path / 'served'))
    hub.folders = {f'someone/{tmp_path.name}': folder}
    return folder


@pytest.fixture
def call(served, hub, process) -> Call:
    """Call a function of ``loading`` with the name of this test's repository."""
    (name,) = hub.folders

    def run(function: str, **options: bool) -> str:
        process.stdin.write(json.dumps([function, name, options]) + '\n')
        process.stdin.flush()
        return process.stdout.readline().strip()
    return run


def test_a_model_is_fetched_whole_and_nothing_besides(hub, call):
    assert 'not on this machine' in call('load_model')
    assert not hub.taken
    assert call('load_config', local_files_only=False) == 'loaded'
    assert hub.taken == {'config.json'}
    assert 'has no weights' in call('load_model')
    assert call('load_model', local_files_only=False) == 'loaded'
    assert {*SHARDS, 'tokenizer.json'} <= hub.taken
    assert not hub.taken & {
        'own_code.py', 'pytorch_model.bin', 'other.safetensors', 'below.json'}
    # From then on neither permission nor the hub is needed.
    assert call('load_model') == 'loaded'
    hub.folders.clear()
    assert call('load_model', local_files_only=False) == 'loaded'


def test_evaluation_reads_the_weights_of_a_model_that_is_fetched(call):
    assert call('weights_digest', local_files_only=False) == 'loaded'


def test_a_download_goes_on_where_it_was_cut_off(hub, cache, call, tmp_path):
    assert call('load_model', local_files_only=False) == 'loaded'
    (lost,) = cache.glob(f'hub/models--someone--{tmp_path.name}/snapshots/*/{SHARDS[0]}')
    lost.resolve().unlink()
    lost.unlink()
    hub.taken.clear()
    assert f'{SHARDS[0]} first' in call('load_model')
    assert call('load_model', local_files_only=False) == 'loaded'
    assert hub.taken == {SHARDS[0]}


def test_no_weights_are_fetched_for_an_index_that_is_refused(hub, served, call):
    write_index(served, {'lm_head.weight': 'pytorch_model.bin'})
    assert "names 'pytorch_model.bin'" in call('load_model', local_files_only=False)
    assert not [each for each in hub.taken if each.endswith(('.bin', '.safetensors'))]


def test_what_the_hub_says_is_the_reason_where_a_model_cannot_be_fetched(hub, call):
    hub.folders.clear()
    message = call('load_model', local_files_only=False)
    assert 'cannot be fetched from the hub' in message and 'not on this machine' not in message
