# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compare a replay with the offline path: its command, and its answers to the same questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.run_store import OUTCOMES
from infinipot_ros.node.replay.node_handle import NodeHandle
from infinipot_ros.node.replay.question_scheduler import Result

#: Options of ``infinipot eval`` and the parameters of the node they take their values from.
ALWAYS = {
    '--model': 'model', '--block-size': 'block_size', '--fps': 'ingest.fps',
    '--max-pixels': 'ingest.max_pixels', '--keep-ratio': 'memory.keep_ratio',
    '--max-new-tokens': 'query.max_new_tokens'}
#: The same, left out at the given default; a ratio below 0 is the policy's own.
UNLESS_DEFAULT = {
    '--device': ('device', 'cpu'), '--dtype': ('dtype', 'float32'),
    '--duplicate-similarity': ('ingest.duplicate_similarity', 0.0)}
UNLESS_NEGATIVE = {'--tar-ratio': 'memory.tar_ratio', '--recent-ratio': 'memory.recent_ratio'}


def eval_command(
    bag: Path, questions: Path | None, output: Path, topic: str, node: NodeHandle,
) -> list[str]:
    """Return the ``infinipot eval`` command that shows a memory like the node's the same bag."""
    values, status = node.parameters, node.client.status
    options: dict[str, Any] = {
        '--policy': status.policy, '--budget': status.budget_tokens, '--topic': topic,
        '--output': f'{output}-offline'}
    options |= {option: values[name] for option, name in ALWAYS.items()}
    if questions is not None:
        options['--questions'] = questions
    options |= {option: values[name] for option, (name, default) in UNLESS_DEFAULT.items()
                if values[name] != default}
    options |= {option: values[name] for option, name in UNLESS_NEGATIVE.items()
                if values[name] >= 0}
    return ['infinipot', 'eval', str(bag),
            *(str(part) for option in options.items() for part in option)]


@dataclass(frozen=True)
class OfflineComparison:
    """
    Answers of a replay beside those of the offline path, as question IDs.

    :param same: answered alike.
    :param for_losses: answered differently, with frames missing; ``unexplained`` without.
    :param unknown: not asked offline, or not with this policy and budget.
    """

    same: list[str] = field(default_factory=list)
    for_losses: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def compare(results: Sequence[tuple[Result, Outcome]], folder: Path,
            same: Callable[[str, str], bool]) -> OfflineComparison:
    """
    Compare with an output folder of ``infinipot eval``.

    :param same: whether two answers are alike.
    :raises ConfigurationError: there are no outcomes in it.
    """
    try:
        # Not splitlines(): an answer may hold any other line separator of Unicode.
        lines = (folder / OUTCOMES).read_text(encoding='utf-8').split('\n')[:-1]
        offline = {_key(line): str(line['answer']) for line in map(json.loads, lines)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{folder} holds no outcomes to compare with ({error}); give the --output of an '
            '`infinipot eval` of this bag') from error
    found = OfflineComparison()
    for result, outcome in results:
        answer = offline.get(_key(vars(outcome)))
        if answer is None:
            found.unknown.append(outcome.id)
        elif same(outcome.answer, answer):
            found.same.append(outcome.id)
        elif result.frames.complete:
            found.unexplained.append(outcome.id)
        else:
            found.for_losses.append(outcome.id)
    return found


def _key(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(line[name]) for name in ('id', 'question', 'policy', 'budget'))
