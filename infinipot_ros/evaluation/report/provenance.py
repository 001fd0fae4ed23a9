# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When, where, with what and from what the outcomes of a folder were measured."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import Any

from infinipot_ros.evaluation.report.statistics import FEW, LEVEL, RESAMPLES, SEED
from infinipot_ros.evaluation.report.summary import ALL_SUITES, Summary
from infinipot_ros.evaluation.run_store import RunStore


def provenance(store: RunStore, summary: Summary) -> dict[str, Any]:
    """Collect it in plain types, for ``results.json`` and the page."""
    seeds: dict[str, set[int]] = {}
    tokens: dict[str, set[int]] = {}
    versions: dict[str, set[str]] = {}
    inputs: dict[tuple[str, str], dict[str, Any]] = {}
    hosts: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    of_stream = {run['stream']: run['stream_tokens'] for run in store.runs}
    for outcome in store.outcomes:
        seeds.setdefault(outcome.suite, set()).add(outcome.seed)
        tokens.setdefault(outcome.suite, set()).add(of_stream[outcome.stream])
    for run in store.runs:
        for name, found in run['versions'].items():
            versions.setdefault(name, set()).add(found or 'not installed')
        inputs |= {(each['path'], each['sha256']): each for each in run.get('inputs', ())}
        if run['host'] not in hosts:
            hosts.append(run['host'])
        # 'still' in runs of earlier versions.
        duplicates = run.get('duplicates', run.get('still', 0))
        left_out.update({'by the rate': run.get('skipped', 0), 'duplicates': duplicates})
        left_out.update(run.get('dropped', {}))
    dates = sorted(run['date'] for run in store.runs)
    clusters = f'streams, seeds for {ALL_SUITES}' if summary.shared_seeds else 'streams'
    return {
        'model': {'id': store.config.get('model'),
                  'weights_sha256': store.config.get('weights_sha256')},
        'measured': ' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        'reported': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'seeds': {suite: sorted(found) for suite, found in seeds.items()},
        'stream_tokens': {suite: sorted(found) for suite, found in tokens.items()},
        'inputs': [inputs[key] for key in sorted(inputs)],
        'versions': {name: ', '.join(sorted(found)) for name, found in versions.items()},
        'code': sorted({run['code'] for run in store.runs}),
        'hosts': hosts,
        'torch_threads': 1,
        'process_seconds': round(sum(run['seconds'] for run in store.runs), 1),
        'frames_observed': sum(run['frames'] for run in store.runs),
        # Of all memories together, by reason.
        'frames_left_out': {reason: count for reason, count in left_out.items() if count},
        'intervals': f'{100 * LEVEL:.0f} %, bootstrap over {clusters}, {RESAMPLES} resamples, '
                     f'seed {SEED}; of one stream, of fewer than {FEW} if that is wider, and '
                     'where all came out alike, over questions: Wilson, for differences Bonett '
                     'and Price'}
