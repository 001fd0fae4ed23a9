# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot verify`` as it is called: page, record, exit codes, refusals."""

import json
import re
import shutil

import pytest
from tiny_models import make_tiny
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.evaluation.verify.verification_folder import VerificationFolder
from infinipot_ros.evaluation.verify.verification_record import read_record
from infinipot_ros.vlm.families.qwen2_vl import Qwen2VL

MODEL_OPTIONS = ('--max-pixels', 24 * 784, '--budget', 200)
BRIEF = ('--tokens-seen', 150, '--tokens-seen', 400, '--policy', 'recent', '--policy', 'full')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """As published ones are, with the file that says how pixels are normalised."""
    folder = make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('models') / 'tiny')
    (folder / 'preprocessor_config.json').write_text(json.dumps(
        {'image_mean': list(Qwen2VL.MEAN), 'image_std': list(Qwen2VL.STD)}))
    return folder


def run(*arguments):
    return CliRunner().invoke(
        app, ['verify', *map(str, arguments)], prog_name='infinipot', env={'COLUMNS': '120'})


def test_a_quick_run_writes_page_and_record(model, tmp_path):
    output = tmp_path / 'out'
    done = run(model, '--quick', '--policy', 'infinipot_v', '--policy', 'full', '--output',
               output, *MODEL_OPTIONS)
    assert done.exit_code == 0, done.output
    # A log shows how far it is, a line a step.
    assert {f'loading {model}', 'equality in bfloat16: the memory', 'answers of full',
            '5,000 tokens, full KV'} <= set(done.stderr.splitlines())
    record = read_record(output / 'verify.json')
    assert record.passed and record.options.quick
    assert record.model.name == 'tiny'
    assert [each.dtype for each in record.equality] == ['float32', 'bfloat16']
    rows = {(each.memory, each.tokens_seen): each for each in record.speed}
    assert set(rows) == {(memory, seen) for memory in ('bounded', 'full')
                         for seen in (1000, 5000)}
    for each in rows.values():
        assert min(each.frames_per_s, each.first_token_ms, each.tokens_per_s) > 0
        assert each.power_w is None and 'tegrastats' in record.power_is
    assert rows['bounded', 1000].cache_bytes == rows['bounded', 5000].cache_bytes
    assert rows['full', 5000].cache_bytes > 4 * rows['full', 1000].cache_bytes
    memory = record.memory
    assert 0 < memory.peak_bytes <= memory.planned_bytes + memory.allowed_bytes
    assert memory.passed
    found = {each.policy: each for each in record.answers}
    assert found['infinipot_v'].compressions > 0 == found['full'].compressions
    for each in found.values():
        assert [bool(one.expected) for one in each.answers] == [True] * 6
    page = (output / 'verify.html').read_text()
    for text in ('bfloat16', 'infinipot_v', 'Most memory', 'pass', '5,000', 'no tegrastats'):
        assert text in page
    assert str(model.parent) not in page + (output / 'verify.json').read_text()
    # A second run may replace what is there.
    VerificationFolder(output).create()


def test_wrong_pixels_end_with_1_and_say_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Qwen2VL, 'MEAN', (0.5, 0.5, 0.5))
    done = run(model, *BRIEF, '--output', tmp_path / 'out', *MODEL_OPTIONS)
    assert done.exit_code == 1, done.output
    assert 'FAIL' in done.output
    record = read_record(tmp_path / 'out' / 'verify.json')
    assert not record.passed and record.equality[0].passed is False
    assert 'FAIL' in (tmp_path / 'out' / 'verify.html').read_text()


@pytest.mark.parametrize(('options', 'words'), [
    (('--device', 'cuda:77'), "device 'cuda:77' cannot be used"),
    (('--device', 'abacus'), "device 'abacus' cannot be used"),
    (('--dtype', 'int3'), "dtype 'int3' is not one of"),
    (('--budget', 5), 'more than the budget of 5'),
    (('--budget', 10 ** 9), 'MiB too little'),
    (('--policy', 'best'), "there is no policy 'best'"),
    (('--weights', 'int2'), 'int2'),
    (('--attn-implementation', 'magic'), "attn_implementation 'magic' is not one of"),
])
def test_what_cannot_work_is_refused_before_loading(model, tmp_path, options, words):
    # Without weights: loading would fail, with another message.
    empty = tmp_path / 'model'
    shutil.copytree(model, empty)
    (empty / 'model.safetensors').write_bytes(b'')
    done = run(empty, *MODEL_OPTIONS, *options, '--output', tmp_path / 'out')
    assert done.exit_code == 2
    assert words in re.sub(r'\s+', ' ', done.output)
    assert not (tmp_path / 'out').exists()


def test_a_folder_of_something_else_is_refused_and_stays(model, tmp_path):
    note = tmp_path / 'verify.json'
    note.write_text('{"mine": 1}')
    done = run(model, *BRIEF, '--output', tmp_path, *MODEL_OPTIONS)
    assert done.exit_code == 2 and 'give another --output' in re.sub(r'\s+', ' ', done.output)
    assert note.read_text() == '{"mine": 1}'
    assert [each.name for each in tmp_path.iterdir()] == ['verify.json']
