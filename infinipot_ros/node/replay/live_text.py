# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``infinipot replay`` says about frames and answers on a terminal."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.node.replay.frame_accounting import FrameCounts
from infinipot_ros.node.replay.live_record import LiveRecord
from infinipot_ros.node.replay.node_handle import NodeHandle


def missing_text(count: FrameCounts) -> str:
    """Say which frames an answer was given without."""
    if count.saw_later_frame and not count.lost and not count.outstanding:
        return 'a later frame was faster than the question'
    return f'{count.lost} frames dropped, {count.outstanding} not there yet, of {count.sent}'


def count_right(record: LiveRecord, complete: bool) -> dict[str, int]:
    """Count ``questions`` answered with every frame, or not, and those ``right``."""
    rights = [outcome.right for result, outcome in record.results
              if result.frames.complete == complete]
    return {'questions': len(rights), 'right': sum(rights)}


def frames_text(count: FrameCounts, ended: bool) -> str:
    """Say what became of all frames."""
    dropped = ', '.join(f'{each} {reason}' for reason, each in count.dropped.items()) or 'none'
    rest = 'lost on the way' if ended else 'still on the way'
    return (f'{count.sent} frames sent, {count.seen} reached the node, {count.encoded} '
            f'remembered; dropped: {dropped}; {rest}: {count.outstanding}')


def eval_command(
    bag: Path, questions: Path | None, output: Path, topic: str, node: NodeHandle,
) -> list[str]:
    """Write the command that watches the same bag offline as the node did."""
    values, status = node.parameters, node.client.status
    options = {
        '--policy': status.policy, '--budget': status.budget_tokens, '--model': values['model'],
        '--block-size': values['block_size'], '--fps': values['ingest.fps'],
        '--max-pixels': values['ingest.max_pixels'], '--keep-ratio': values['memory.keep_ratio'],
        '--max-new-tokens': values['query.max_new_tokens'], '--topic': topic,
        '--output': f'{output}-offline'}
    if questions is not None:
        options['--questions'] = questions
    for option, name, default in (('--device', 'device', 'cpu'), ('--dtype', 'dtype', 'float32')):
        if values[name] != default:
            options[option] = values[name]
    for option, name in (('--tar-ratio', 'memory.tar_ratio'),
                         ('--recent-ratio', 'memory.recent_ratio')):
        if values[name] >= 0:
            options[option] = values[name]
    if values['ingest.duplicate_similarity']:
        options['--duplicate-similarity'] = values['ingest.duplicate_similarity']
    return ['infinipot', 'eval', str(bag),
            *(str(part) for option in options.items() for part in option)]
