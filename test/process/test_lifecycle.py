# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions, configurations that cannot work, and leaving cleanly."""

from __future__ import annotations

import json
import signal
import time

import pytest
from harness import SECOND, START_NS, drops, wait_until
from rcl_interfaces.srv import GetParameters
from std_srvs.srv import Trigger

from infinipot_ros.srv import Query

AS_A_USER = True
STOP_S = 5.0
STUCK = """
import sys, time
from infinipot_ros.node.main import main
from infinipot_ros.visual_memory.visual_memory import VisualMemory
VisualMemory.add_frame = lambda *_, **__: time.sleep(60)
sys.exit(main())
"""


def test_transitions_and_bad_configurations(start, tiny, tmp_path) -> None:
    """One node without autostart, through every state."""
    file = tmp_path / 'params.yaml'
    file.write_text('# of another\n/camera:\n  ros__parameters: {block_size: 4}\n')
    process, client = start('--params-file', str(file), autostart=False, model='/no/such/model')
    client.wait_status(lambda s: s.state == 'unconfigured', 'unconfigured')
    wait_until(lambda: f'{file} has parameters for /camera (line 2), none for {client.name}'
               in process.output(), 5.0, 'a warning of the file')
    assert client.state() == 'unconfigured'
    assert client.statuses[-1].model == ''
    response = client.ask('Anybody there?')
    assert (response.success, response.error_code) == (False, Query.Response.INACTIVE)
    assert 'configure' in response.message

    # A model that is missing, of another kind, or a budget that does not fit: FAILURE, with the
    # reason, and the next attempt works.
    other = tmp_path / 'bert'
    other.mkdir()
    (other / 'config.json').write_text(json.dumps({'model_type': 'bert'}))
    for changes, words in (
            ({}, ('/no/such/model',)),
            ({'model': str(other)}, ("'bert'", 'qwen2_5_vl')),
            ({'model': str(tiny), 'memory__budget': 900_000_000},
             ('MiB too little', 'lower the budget')),
            ({'memory__budget': 64, 'block_size': 3}, ('block_size is 3', 'a multiple of 2')),
    ):
        assert client.set(**changes).successful if changes else True
        assert not client.change('configure')
        assert client.state() == 'unconfigured'
        wait_until(lambda w=words: all(word in process.output() for word in w), 5.0, str(words))
        assert process.running()
    assert client.set(block_size=2).successful
    assert client.change('configure')
    assert f'loading {tiny} on cpu (float32), for a memory of 64 tokens' in process.output()
    status = client.wait_status(lambda s: s.state == 'inactive', 'inactive')
    assert status.budget_tokens == 64 and status.model == str(tiny)
    assert client.ask('Anybody there?').error_code == Query.Response.INACTIVE
    client.wait_diagnostic('images', 'not subscribed')

    assert client.change('activate')
    client.wait_active()
    for index in range(6):
        client.publish(START_NS + index * SECOND)
    client.wait_status(lambda s: s.frames_encoded == 6, 'six frames')
    client.wait_diagnostic('images', 'images arrive')
    client.wait_diagnostic('worker', 'ready')
    client.wait_diagnostic('memory', 'of 64 tokens')

    # Deactivated, it keeps its memory and hears nothing.
    assert client.change('deactivate')
    tokens = client.wait_status(lambda s: s.state == 'inactive', 'inactive').memory_tokens
    assert tokens > 0
    wait_until(lambda: client.images.get_subscription_count() == 0, 5.0, 'no subscription')
    assert client.ask('What is there?').error_code == Query.Response.INACTIVE
    assert client.change('activate')
    client.wait_active()
    assert client.statuses[-1].memory_tokens == tokens
    assert client.ask('What is there?', max_new_tokens=2).success

    # Cleaned up, it holds nothing and takes other settings.
    assert client.change('deactivate')
    assert not client.set(memory__budget=128).successful
    assert client.change('cleanup')
    status = client.wait_status(lambda s: s.state == 'unconfigured', 'unconfigured')
    assert (status.memory_bytes, status.frames_encoded) == (0, 0)
    assert client.set(memory__budget=128).successful
    assert client.change('configure') and client.change('activate')
    client.wait_active()
    assert client.statuses[-1].budget_tokens == 128
    assert client.ask('What is there?').error_code == Query.Response.NOTHING_OBSERVED

    # Two SIGINTs, as ros2 launch and the terminal send them.
    process.send(signal.SIGINT)
    time.sleep(0.05)
    process.send(signal.SIGINT)
    assert process.wait(STOP_S) == 0
    # All it printed is its log: no warning of a library, no traceback.
    assert [line for line in process.output().splitlines()
            if not line.startswith(('[INFO] ', '[WARN] ', '[ERROR] '))] == []


def test_a_configuration_that_cannot_work_ends_an_autostarted_node(start) -> None:
    process, _ = start(model='/no/such/model')
    assert process.wait(60.0) == 1
    assert '/no/such/model' in process.output() and 'autostart' in process.output()
    assert 'Traceback' not in process.output()


def test_a_qos_override_that_cannot_work_ends_the_node_with_a_reason(start, tiny) -> None:
    process, _ = start(
        '-r', 'image:=/camera', '-p', 'qos_overrides./camera.subscription.reliability:=sometimes',
        model=tiny)
    assert process.wait(60.0) == 1
    assert 'cannot activate' in process.output() and 'sometimes' in process.output()


@pytest.mark.parametrize(('text', 'words'), [
    ('/**:\n  ros__parameters:\n    cameras: [a\n    model: x\n', 'near line 3'),
    ('/**:\n  model: x\n', 'at line 2'), (None, 'Error opening YAML file')])
def test_a_params_file_that_cannot_be_read_ends_the_node_with_a_reason(
        start, tmp_path, text, words: str) -> None:
    file = tmp_path / 'params.yaml'
    if text is not None:
        file.write_text(text)
    process, _ = start('--params-file', str(file))
    assert process.wait(30.0) == 1
    assert str(file) in process.output() and words in process.output()
    assert 'Traceback' not in process.output()


@pytest.mark.parametrize('parameter', [{'ingest__queue_size': 'many'}, {'block_size': 0}])
def test_a_parameter_of_a_wrong_kind_ends_the_node_with_a_reason(start, tiny, parameter) -> None:
    process, _ = start(model=tiny, **parameter)
    assert process.wait(30.0) == 1
    assert next(iter(parameter)).replace('__', '.') in process.output()
    assert 'Traceback' not in process.output()


def test_sigint_while_the_model_loads(start, tiny) -> None:
    process, client = start(model=tiny)
    client.wait_status(lambda s: s.state == 'configuring', 'configuring', 30.0)
    # Whoever asks is answered meanwhile, and what is set is not lost unseen.
    assert client.state() == 'configuring'
    [value] = client.do(GetParameters, 'get_parameters', names=['memory.budget']).values
    assert value.integer_value == 64
    for changes, words in (({'ingest__fps': 1.0}, 'loading its model'),
                           ({'memory__keep_ratio': 0.5}, 'loading its model'),
                           ({'block_size': 4}, 'cleanup')):
        refused = client.set(**changes)
        assert not refused.successful and words in refused.reason
    response = client.do(Trigger, 'reset')
    assert not response.success and 'it has no memory to reset yet' in response.message
    assert client.statuses[-1].state == 'configuring', 'the model loaded too soon for this test'
    process.send(signal.SIGINT)
    assert process.wait(STOP_S) == 0, process.output()
    assert 'Traceback' not in process.output()


def test_sigint_while_a_cleanup_waits_for_the_model(start, tiny) -> None:
    process, client = start(model=tiny, program=('-c', STUCK))
    client.wait_active()
    client.publish(START_NS)
    client.wait_message(
        client.diagnostics, lambda message: any(
            (value.key, value.value) == ('job', 'frame')
            for status in message.status for value in status.values), 30.0, 'a busy model')
    assert client.change('deactivate')
    client.begin('cleanup')
    client.wait_status(lambda s: s.state == 'cleaningup', 'cleaning up')
    process.send(signal.SIGINT)
    assert process.wait(STOP_S) == 0
    assert 'Traceback' not in process.output()


def test_sigterm_during_a_long_answer(start, tiny) -> None:
    process, client = start(
        model=tiny, image_transport='raw', query__max_new_tokens=4000, memory__bugdet=1)
    client.wait_active()
    assert "'memory.bugdet' is unknown" in process.output()
    client.publish(START_NS)
    client.wait_status(lambda s: s.frames_encoded == 1, 'a frame')
    future = client.query.call_async(Query.Request(question='Tell me everything.'))
    client.wait_diagnostic('worker', 'ready')
    time.sleep(0.5)
    answered = future.done()
    process.send(signal.SIGTERM)
    assert process.wait(STOP_S) == 0
    assert not answered, 'the answer was not long enough to test anything'
    assert drops(client.statuses[-1]) == {}
