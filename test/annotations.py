# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Annotation files of public benchmarks: small ones of our own, and the real ones where they are.

The small ones are made up, in the fields and forms of the published files. Real files are looked
for in ``../shared/data`` or ``$INFINIPOT_SHARED_DATA``; tests marked ``shared_data(PATH)`` are
deselected where the file is missing (test/conftest.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def shared_data(name: str) -> Path:
    """Return where a file of the shared data would lie, below its folder."""
    root = os.environ.get('INFINIPOT_SHARED_DATA')
    folder = Path(root) if root else Path(__file__).resolve().parents[2] / 'shared' / 'data'
    return folder / name


OVOBENCH = [
    {'id': 0, 'task': 'EPM', 'video': 'walks/hall.mp4', 'realtime': 40, 'answer': 'on the stove',
     'question': 'Where did I leave the kettle?', 'gt': 1,
     'options': ['on the floor', 'on the stove', 'in the sink']},
    {'id': 1, 'task': 'HLD', 'video': 'walks/hall.mp4', 'realtime': 51.5, 'gt': 0,
     'question': 'What did I pour into the vase?', 'answer': 'Unable to answer',
     'options': ['Unable to answer', 'milk']},
    {'id': 2, 'task': 'OCR', 'video': 'walks/yard.mp4', 'realtime': 9.25, 'gt': 1,
     'question': 'What does the sign read?', 'answer': 'EXIT', 'options': ['ENTER', 'EXIT']},
    {'id': 3, 'task': 'REC', 'video': 'walks/yard.mp4', 'activity': 'clap hands',
     'start_times': [4, 12], 'end_times': [6, 15],
     'test_info': [{'realtime': 6, 'count': 1}, {'realtime': 20, 'count': 2}]},
    {'id': 4, 'task': 'SSR', 'video': 'walks/tent.mp4', 'tutorial': 'PitchTent',
     'all_steps': ['lay out the sheet', 'raise the pole'], 'start_time': [2, 10],
     'end_time': [8, 18], 'test_info': [
         {'realtime': 5, 'step': 'lay out the sheet', 'type': 1},
         {'realtime': 12, 'step': 'lay out the sheet', 'type': 0}]},
    {'id': 5, 'task': 'CRR', 'video': 'walks/hall.mp4', 'question': 'Who opens the parcel?',
     'answer': 'The girl.', 'ask_time': 60, 'clue_time': 70, 'test_info': [
         {'realtime': 60, 'type': 0}, {'realtime': 72, 'type': 1}]},
]
STREAMING_REAL = [
    {'video_path': './videos/sample_1_real.mp4', 'video_categories': 'sports', 'time': '[0:00]',
     'questions': [
         {'task_type': 'Counting', 'question': 'How many boats are there right now?',
          'time_stamp': '00:00:08', 'answer': 'B', 'options': ['A. One.', 'B. Two.', 'C. Six.'],
          'required_ability': 'working memory', 'time': '[0:00:00 - 0:00:20]'},
         # Such a slip is in the published file, and is mended.
         {'task_type': 'Object Recognition', 'question': 'What lies on the pier?',
          'time_stamp': '00:12450', 'answer': 'A', 'options': ['A. A rope.', 'B. A net.']}]},
]
STREAMING_SQA = [[
    {'video_path': './videos/sample_2_sqa.mp4', 'questions': [
        {'task_type': 'Sequential Question Answering', 'question': 'Who holds the map?',
         'time_stamp': '00:00:30', 'answer': 'A', 'options': ['The guide.', 'The driver.']},
        {'task_type': 'Sequential Question Answering', 'question': 'Where does that person go?',
         'time_stamp': '00:01:00', 'answer': 'B', 'options': ['To the left.', 'Uphill.']}]},
    {'video_path': './videos/sample_2_sqa.mp4', 'questions': [
        {'task_type': 'Sequential Question Answering', 'question': 'And then?',
         'time_stamp': '00:02:00', 'answer': 'A', 'options': ['Back.', 'On.']}]},
]]
STREAMING_PROACTIVE = [
    {'video_path': './videos/sample_3_proactive.mp4', 'questions': [
        {'task_type': 'Proactive Output', 'time_stamp': '00:01:00',
         'question': 'When the lamp turns green, output "Go".',
         'ground_truth_time_stamp': '00:01:06', 'ground_truth_output': 'Go'}]},
]
OPENEQA = [
    {'question': 'What stands beside the red block?', 'answer': 'A lamp',
     'category': 'object recognition', 'question_id': 'a1', 'episode_history': 'walks/room',
     'extra_answers': ['the lamp', 'a desk lamp']},
    {'question': 'Is the room bright?', 'answer': 'Yes', 'category': 'attribute recognition',
     'question_id': 'a2', 'episode_history': 'walks/room'},
    {'question': 'Where is the red block?', 'answer': 'In the corner',
     'category': 'object localization', 'question_id': 'a3', 'episode_history': 'walks/room'},
]
EGOSCHEMA_FLASH = [
    {'video_id': 'ego-1', 'id': 7, 'answer': 2, 'duration': 180.0, 'question': (
        'Select the best answer to the following multiple-choice question based on the '
        'egocentric video.\nQuestion: What is the person mostly doing?\n(A) Folding paper.\n'
        '(B) Sorting tools.\n(C) Painting a door.\n(D) Feeding hens.\n(E) Reading aloud.\n'
        'Only give the best option.')},
]
VIDEOMME_FLASH = [
    {'video_id': f'web-{number}', 'url': f'https://example.org/{number}', 'answer': number % 2,
     'question': f'Which ball rolls first in part {number}?\nA. The blue one.\nB. The old one.',
     'duration': length, 'domain': 'Sports', 'sub_category': 'Ball games',
     'task_type': 'Action Recognition', 'id': f'{number}-1'}
    for number, length in enumerate(('short', 'medium', 'long'))
]
MLVU_FLASH = [
    {'id': '000001', 'video_id': '3_ego/walk_1', 'type': 'ego', 'duration': 300, 'answer': 1,
     'question': 'What did I hang up?\nOptions:\n(A) A coat\n(B) A picture\n(C) A lamp\n'},
]
OWN: dict[str, tuple[str, Any]] = {
    'ovobench.json': ('ovobench', OVOBENCH),
    'streamingbench_real_stream.json': ('streamingbench', STREAMING_REAL),
    'streamingbench_sqa_stream.json': ('streamingbench', STREAMING_SQA),
    'streamingbench_proactive.json': ('streamingbench', STREAMING_PROACTIVE),
    'openeqa.json': ('openeqa', OPENEQA),
    'egoschema_flashvstream.json': ('egoschema', EGOSCHEMA_FLASH),
    'videomme_flashvstream.json': ('videomme', VIDEOMME_FLASH),
    'mlvu_flashvstream.json': ('mlvu', MLVU_FLASH),
}
"""Format and entries of our own files, by the names of the real ones."""


def write_own(folder: Path, name: str) -> Path:
    """Write one of our own annotation files into a folder."""
    path = folder / name
    path.write_text(json.dumps(OWN[name][1]))
    return path
