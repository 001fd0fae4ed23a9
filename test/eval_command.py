# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot eval`` run by tests, and small recordings for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from recording_files import START, write_video
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.evaluation.run_store import OUTCOMES

TENTH = 100_000_000


def evaluate(model, *arguments):
    """Run the command in this process alone, unless ``--workers`` are given."""
    if '--workers' not in arguments:
        # Starting processes takes far longer than what they have to do.
        arguments += ('--workers', 1)
    return CliRunner().invoke(
        app, ['eval', *map(str, arguments), '--model', str(model), '--max-new-tokens', '3'],
        prog_name='infinipot')


def process(model, *arguments):
    """Run it in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main', 'eval', *map(str, arguments), '--model',
         str(model), '--max-new-tokens', '3'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def write_lines(path, times, start=START):
    """Questions at these frames of a camera of ten frames a second."""
    path.write_text(''.join(json.dumps({
        'id': f'q{number}', 'ask_at': start + frame * TENTH, 'question': f'What at {frame}?',
        'answer': 'grey', 'kind': 'colour',
        'evidence': [[start + (frame - 2) * TENTH, start + (frame - 1) * TENTH]]}) + '\n'
        for number, frame in enumerate(times)))
    return path


def outcomes(folder):
    return [json.loads(line) for line in (folder / OUTCOMES).read_text().splitlines()]


def asked_at_the_end(folder, name, frames, shift=0):
    """A video with a question at its end, the same whatever the video."""
    folder.mkdir(exist_ok=True)
    (folder / 'questions.yaml').write_text('questions:\n- {ask: "What?", answer: grey}\n')
    return write_video(folder / f'{name}.mp4', [shift + 100 * each for each in range(frames)])
