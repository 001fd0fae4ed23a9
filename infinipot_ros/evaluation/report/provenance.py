# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When, where, on what and with what the outcomes of a folder came about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from infinipot_ros.evaluation.report.quality_table import ALL_SUITES, Summary
from infinipot_ros.evaluation.report.statistics import FEW, LEVEL, RESAMPLES, SEED
from infinipot_ros.evaluation.run_store import RunStore


def provenance(journal: RunStore, summary: Summary) -> dict[str, Any]:
    """Tell it in plain types."""
    seeds: dict[str, set[int]] = {}
    tokens: dict[str, set[int]] = {}
    of_stream = {run['stream']: run['stream_tokens'] for run in journal.runs}
    for outcome in journal.outcomes:
        seeds.setdefault(outcome.suite, set()).add(outcome.seed)
        tokens.setdefault(outcome.suite, set()).add(of_stream[outcome.stream])
    dates = sorted(run['date'] for run in journal.runs)
    versions: dict[str, set[str]] = {}
    for run in journal.runs:
        for name, found in run['versions'].items():
            versions.setdefault(name, set()).add(found or 'not installed')
    clusters = f'streams, seeds for {ALL_SUITES}' if summary.shared_seeds else 'streams'
    return {
        'model': {'id': journal.config.get('model'),
                  'weights_sha256': journal.config.get('weights_sha256')},
        'measured': ' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        'reported': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'seeds': {suite: sorted(found) for suite, found in seeds.items()},
        'stream_tokens': {suite: sorted(found) for suite, found in tokens.items()},
        'inputs': _inputs(journal),
        'versions': {name: ', '.join(sorted(found)) for name, found in versions.items()},
        'code': sorted({run['code'] for run in journal.runs}),
        'hosts': _different([run['host'] for run in journal.runs]),
        'torch_threads': 1,
        'process_seconds': round(sum(run['seconds'] for run in journal.runs), 1),
        'frames_observed': sum(run['frames'] for run in journal.runs),
        'frames_left_out': _frames_left_out(journal),
        'intervals': f'{100 * LEVEL:.0f} %, bootstrap over {clusters}, {RESAMPLES} resamples, '
                     f'seed {SEED}; of one stream, of fewer than {FEW} if that is wider, and '
                     'where all came out alike, over questions: Wilson, for differences Bonett '
                     'and Price'}


def _different(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for each in values:
        if each not in found:
            found.append(each)
    return found


def _inputs(journal: RunStore) -> list[dict[str, Any]]:
    """List each file that was read once: ``path``, ``sha256``, ``bytes``."""
    found = {}
    for run in journal.runs:
        for each in run.get('inputs', ()):
            found[each['path'], each['sha256']] = each
    return [found[key] for key in sorted(found)]


def _frames_left_out(journal: RunStore) -> dict[str, int]:
    """Count frames that memories did not take, by reason, of all cells together."""
    reasons: dict[str, int] = {}
    for run in journal.runs:
        for reason, count in {
                'by the rate': run.get('skipped', 0), 'still': run.get('still', 0),
                **run.get('dropped', {})}.items():
            if count:
                reasons[reason] = reasons.get(reason, 0) + count
    return reasons
