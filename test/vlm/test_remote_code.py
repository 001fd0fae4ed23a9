# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Python that comes with a model: never asked about, never run."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import make_tiny
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.vlm.loading import load_config, load_model

ROOT = Path(__file__).resolve().parents[2]
AUTO_MAP = {
    'AutoConfig': 'own_code.Config', 'AutoModel': 'own_code.Model',
    'AutoModelForImageTextToText': 'own_code.Model', 'AutoProcessor': 'own_code.Processor',
    'AutoTokenizer': ['own_code.Tokenizer', None]}
CODE = """
from pathlib import Path
Path({marker!r}).write_text('ran')
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class Config(PretrainedConfig):
    model_type = 'own'
class Model(PreTrainedModel):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
"""


def bring_code(folder: Path, **config: object) -> Path:
    """
    Have a model folder name code of its own wherever transformers looks for some.

    :return: the file that would be there if any of it had run.
    """
    marker = folder.parent / 'ran'
    code = CODE.format(marker=str(marker))
    (folder / 'own_code.py').write_text(code)
    (folder / 'custom_generate').mkdir()
    (folder / 'custom_generate' / 'generate.py').write_text(code)
    for name in ('config.json', 'tokenizer_config.json'):
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**content, 'auto_map': AUTO_MAP, **config}))
    return marker


@pytest.fixture
def strange(tmp_path) -> Path:
    """A folder of a kind of model that only the code in it knows."""
    folder = tmp_path / 'strange'
    folder.mkdir()
    bring_code(folder, model_type='own')
    return folder


@pytest.mark.parametrize('command', ['plan', 'ask'])
def test_no_command_asks_whether_to_run_a_models_code_or_runs_it(command, strange, tmp_path):
    Image.fromarray(np.zeros((56, 56, 3), np.uint8)).save(tmp_path / '0.png')
    arguments = {'plan': [strange], 'ask': [tmp_path, 'What?', '--model', strange]}[command]
    done = CliRunner().invoke(
        app, [command, *map(str, arguments)], input='y\n' * 9, prog_name='infinipot')
    assert not (tmp_path / 'ran').exists()
    assert 'y/N' not in done.output
    assert done.exit_code == 2
    assert "is a 'own' model" in done.stderr and 'auto_map' in done.stderr


def test_a_qwen_with_code_of_its_own_is_loaded_without_it(tmp_path):
    folder = make_tiny('qwen2_5_vl', tmp_path / 'tiny')
    plain = load_model(str(folder)).fingerprint
    marker = bring_code(folder)
    assert not load_model(str(folder)).fingerprint.difference(plain)
    assert not marker.exists()


def test_a_tokenizer_that_only_its_own_code_knows_is_not_run(tmp_path):
    folder = make_tiny('qwen2_vl', tmp_path / 'tiny')
    marker = bring_code(folder, tokenizer_class='Tokenizer')
    try:
        load_model(str(folder))
    except ConfigurationError as error:
        assert 'tokenizer' in str(error).lower()
    assert not marker.exists()


@pytest.mark.parametrize('entry', ['attn_implementation', '_attn_implementation'])
def test_a_kernel_that_the_configuration_names_is_not_looked_for(entry, tmp_path):
    # From a hub, as machine code, where the package kernels is; else an ImportError.
    folder = make_tiny('qwen2_5_vl', tmp_path / 'tiny')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, entry: 'someone/kernel'}))
    settings = MemoryConfig(str(folder), budget=64, max_pixels=56 * 56)
    assert plan_memory(load_config(str(folder)), settings).total > 0
    assert load_model(str(folder)).supports_hook


def test_a_configuration_without_a_kind_is_refused(tmp_path):
    # transformers 4.57 would guess one from the folder's name.
    folder = tmp_path / 'qwen2_vl'
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    with pytest.raises(ConfigurationError, match='is a None model'):
        load_config(str(folder))


def test_every_call_that_may_run_a_models_code_forbids_it():
    calls = {}
    for path in (*ROOT.glob('infinipot_ros/**/*.py'), *ROOT.glob('benchmarks/**/*.py'),
                 *ROOT.glob('tools/**/*.py'), *ROOT.glob('scripts/*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ('from_pretrained', 'from_config')
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id.startswith('Auto')):
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                calls[f'{path.relative_to(ROOT)}:{node.lineno}'] = given.get('trust_remote_code')
    assert len(calls) >= 9
    assert {place for place, given in calls.items() if given != 'False'} == set()
