# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot replay`` as a person runs it: its files, its exit codes, what it keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recording_files import START, STORE, camera, header, write_bag, write_video

from infinipot_ros.cli.main import main
from infinipot_ros.cli.replay_run import ReplayOptions, ReplayRun
from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.evaluation.report.track import STAGES
from infinipot_ros.node import parameters
from infinipot_ros.node.replay.offline_comparison import compare
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.knowledge import CAVEAT

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'demo'
SMALL = ('--param', 'ingest.max_pixels:=3136', '--budget', '64', '--fps', '0',
         '--param', 'query.max_new_tokens:=5')


pytestmark = pytest.mark.usefixtures('kept_environment')


def begin(*arguments: Any, folder: Path) -> subprocess.Popen[str]:
    """Start the command; not from the checkout, whose package has no messages."""
    return subprocess.Popen(
        [sys.executable, '-c', 'from infinipot_ros.cli.main import main; main()', 'replay',
         *map(str, arguments)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, 'COLUMNS': '200'},
        # A shell's background jobs, and what they start, are deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def run(*arguments: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    process = begin(*arguments, folder=folder)
    out, err = process.communicate(timeout=280)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def image(stamp_ns: int, index: int = 0) -> Any:
    pixels = np.random.default_rng(index).integers(0, 256, 56 * 56 * 3, np.uint8)
    return STORE.types['sensor_msgs/msg/Image'](
        header=header(stamp_ns), height=56, width=56, encoding='rgb8', is_bigendian=0,
        step=56 * 3, data=pixels)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    """A bag of 40 frames, two a second, and two questions in a file by hand."""
    bag = write_bag(tmp_path / 'bag', {'/image': camera(40, image, SECOND // 2)})
    questions = tmp_path / 'asked.yaml'
    questions.write_text(
        'questions:\n'
        '- {id: early, ask: "What is there?", at: 2, answer: a wall}\n'
        '- {id: late, ask: "What was there?", at: end, answer: a wall}\n')
    return bag, questions


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_bundled_tour_is_answered_as_offline(tmp_path) -> None:
    done = run(DEMO / 'tour', '--output', 'out', '--budget', 1024, '--fps', 0, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / 'out'
    outcomes = lines(folder / 'outcomes.jsonl')
    live = {line['id']: line for line in lines(folder / 'live.jsonl')}

    settings = parameters.memory_config({**parameters.defaults(), 'memory.budget': 1024})
    memory, answers, moments = VisualMemory(settings), {}, {}
    asked = read_questions(DEMO / 'questions.jsonl')
    for frame in open_source(DEMO / 'tour'):
        memory.add_frame(frame.rgb, frame.stamp_ns, frame.camera)
        for question in asked:
            if question.ask_at_ns == frame.stamp_ns:
                answer = memory.ask(question.question)
                answers[question.id] = answer.text
                moments[question.id] = [
                    (each.stamp_ns, each.first_ns, each.last_ns) for each in answer.evidence]
    assert {each['id']: each['answer'] for each in outcomes} == answers
    assert len(answers) == 6 and all(each['right'] for each in outcomes)

    for question in asked:
        assert live[question.id]['frames']['complete']
        assert moments[question.id] == [
            (each['stamp_ns'], each['from_ns'], each['to_ns'])
            for each in live[question.id]['evidence']]
        assert live[question.id]['asked_ns'] == question.ask_at_ns
        assert live[question.id]['observed_to_ns'] == question.ask_at_ns
    results = json.loads((folder / 'results.json').read_text())
    assert [each['id'] for each in results['questions']] == [each['id'] for each in outcomes]
    config = results['config']
    assert config['command'] == 'replay' and config['live']['waits_for_node']
    assert config['live']['frames'] == {
        'sent': 450, 'seen': 450, 'encoded': 450, 'dropped': {}, 'lost': 0, 'outstanding': 0,
        'later': False, 'complete': True}
    assert config['live']['complete'] == {'questions': 6, 'right': 6}
    assert config['live']['parameters']['memory.budget'] == 1024
    assert results['provenance']['model']['weights_sha256']
    assert {each['path'] for each in results['provenance']['inputs']} == {
        each['path'] for path in (DEMO / 'tour', DEMO / 'questions.jsonl')
        for each in described(path)}
    for each in outcomes:
        assert (each['policy'], each['budget'], each['budget_tokens']) == (
            'infinipot_v', '1024', 1024)
        assert each['suite'] == 'questions' and each['held'] <= 1024 <= each['seen_tokens']
        assert each['latency_s'] > 0 and each['compressions'] > 0
        # The service does not return these.
        assert each['first_token_s'] is None and each['new_tokens'] is None
        assert (folder / each['frame']).stat().st_size > 0
    samples = lines(folder / 'timeline.jsonl')
    assert 2 <= len(samples) <= 300 and samples[-1]['frames'] > 400
    assert all(each['rss_bytes'] > 0 and each['tokens'] <= 1024 for each in samples)
    assert {each[f'{stage}_ms'] for each in samples for stage in STAGES} == {None}
    assert '<html' in (folder / 'report.html').read_text()
    assert '450 frames sent, 450 reached the node, 450 remembered; dropped: none' in done.stdout
    assert 'infinipot eval' in done.stdout and '--block-size 2' in done.stdout
    assert done.stdout.count(f'note: {CAVEAT}\n') == done.stdout.count(CAVEAT) == 1

    # Its own answers as the offline ones, then one of them changed.
    whole = SimpleNamespace(frames=SimpleNamespace(complete=True))
    pairs = [(whole, SimpleNamespace(**each)) for each in outcomes]
    assert compare(pairs, folder, same_answer).same == [each['id'] for each in outcomes]
    outcomes[0]['answer'] = 'none of these'
    (folder / 'outcomes.jsonl').write_text(''.join(json.dumps(each) + '\n' for each in outcomes))
    found = compare(pairs, folder, same_answer)
    assert found.unexplained == [outcomes[0]['id']] and not found.for_losses


def test_an_answer_with_a_line_separator_is_compared_too(tmp_path) -> None:
    line = {'id': 'q', 'question': 'What?', 'policy': 'rarity', 'budget': '64',
            'answer': 'red\u2028blue\x85'}
    (tmp_path / 'outcomes.jsonl').write_text(json.dumps(line, ensure_ascii=False) + '\n')
    whole = SimpleNamespace(frames=SimpleNamespace(complete=True))
    assert compare([(whole, SimpleNamespace(**line))], tmp_path, same_answer).same == ['q']


def test_what_was_answered_before_ctrl_c_is_kept(recorded, tiny, tmp_path) -> None:
    bag, questions = recorded
    process = begin(bag, '--questions', questions, '--rate', 1.0, '--model', tiny, *SMALL,
                    folder=tmp_path)
    live = tmp_path / 'replay' / 'live.jsonl'
    try:
        end = time.monotonic() + 120.0
        while not (live.exists() and live.read_text().endswith('\n')):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert 'infinipot: interrupted' in err and 'Traceback' not in err
    results = json.loads((tmp_path / 'replay' / 'results.json').read_text())
    assert [each['id'] for each in results['questions']] == ['early']
    assert not results['config']['live']['ended']
    assert results['config']['live']['rate'] == 1.0
    assert (tmp_path / 'replay' / 'report.html').exists()
    assert '1 of 1' not in out

    # A second one does not mix with it.
    with pytest.raises(ConfigurationError, match=r'holds outcomes already, .* --fresh'):
        ReplayRun(ReplayOptions(bag, questions, tmp_path / 'replay')).run()


def test_a_question_before_the_first_frame_is_refused_and_its_file_named(tiny, tmp_path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': camera(4, image)})
    (tmp_path / 'bag.jsonl').write_text(json.dumps(
        {'id': 'q', 'ask_at': START - 1, 'question': 'Who?', 'answer': 'me'}) + '\n')
    arguments = ['-p', f'model:={tiny}', '-p', 'ingest.max_pixels:=3136', '-p',
                 'memory.budget:=64']
    with pytest.raises(SourceError, match=r"bag.jsonl: question 'q' is asked at .* before the"):
        ReplayRun(ReplayOptions(bag, None, tmp_path / 'out', arguments=arguments)).run()


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['--rate', '0'], '--rate is 0.0, but must be above 0'),
    (['--rate', 'nan'], '--rate is nan'),
    (['--listen', '--rate', '2'], 'with --listen others play'),
    (['--node', '/robot', '--budget', '64'], '/robot runs already, with parameters of its own'),
    (['--param', 'memory.budget=64'], '--param expects name:=value, got memory.budget=64'),
    (['--param', 'memory.bugdet:=64'], 'no such parameter; perhaps memory.budget'),
    (['--param', 'robot:memory.budget:=64'], 'is for the node robot, and the one that is started'),
    (['--param', 'infinipot:memory.bugdet:=64'], 'no such parameter; perhaps memory.budget'),
    (['--params-file', 'none.yaml'], '--params-file none.yaml does not exist'),
])
def test_what_cannot_be_meant_is_refused(arguments, reason, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(['replay', 'bag', *arguments])
    assert end.value.code == 2
    assert reason in capsys.readouterr().err


def test_only_bags_can_be_played_and_only_their_images(recorded, tmp_path) -> None:
    bag, questions = recorded
    video = write_video(tmp_path / 'film.mp4', range(0, 400, 40))
    torn = tmp_path / 'torn.mcap'
    torn.write_bytes(next(bag.glob('*.mcap')).read_bytes()[:9000])
    output = tmp_path / 'out'
    with pytest.raises(SourceError, match=r'topic /side does not exist; image topics: /image'):
        ReplayRun(ReplayOptions(bag, questions, output, topic='/side')).run()
    with pytest.raises(SourceError, match='is a video, and only ROS 2 bags'):
        ReplayRun(ReplayOptions(video, questions, output)).run()
    with pytest.raises(SourceError, match='cannot be read as a ROS 2 bag'):
        ReplayRun(ReplayOptions(torn, questions, output)).run()
    assert not output.exists()
