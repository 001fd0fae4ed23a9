# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What was measured, as one file: every section that came about, and on what machine with what code.

The file is written anew after each section, so what was measured is there whatever comes next.
Sections of an earlier run stay in it where only others are measured, each with its date and code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from benchmarks.speed.floor import Rates
from benchmarks.speed.section import Curves, Section, SpeedOptions, Table, Target
from infinipot_ros.cli.checkout import ROOT
from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.evaluation.provenance import digest_of, host, versions
from infinipot_ros.evaluation.run_store import write_whole
from infinipot_ros.vlm.loading import weights_digest

FORMAT = 2
#: Without floors, and each repeat one pass: a page can still be made of them.
EARLIER = 1
BUNDLED = 'infinipot-tiny'
ROOMS = (
    'infinipot_ros/kv_cache', 'infinipot_ros/visual_memory', 'infinipot_ros/vlm',
    'infinipot_ros/node', 'benchmarks/speed')
#: Of these, what writes figures down and makes none.
WRITERS = ('page.py', 'results.py')
#: What sections of one file have in common, and the format and the number of threads.
COMMON = ('options', 'host', 'versions', 'model')


def speed_digest() -> str:
    """Identify the source a figure comes from: of what is measured, and of what measures it."""
    paths = [path for room in ROOMS for path in (ROOT / room).rglob('*.py')
             if path.name not in WRITERS]
    return digest_of(paths, ROOT)


class Results:
    """
    The file of a run, section by section; there is none before the first one is measured.

    :param path: overwritten; its folder is made.
    :param keep: sections of an earlier run stay until they are measured anew.
    :raises StorageError: it cannot be written.
    :raises ConfigurationError: what is to be kept was measured otherwise, or elsewhere.
    """

    def __init__(self, path: Path, options: SpeedOptions, *, keep: bool = False) -> None:
        self.path = path
        self.sections: list[Section] = []
        self._kept: dict[str, dict[str, Any]] = {}
        self._about = {
            'format': FORMAT, 'measured': datetime.now(timezone.utc).isoformat(timespec='minutes'),
            'options': asdict(options), 'host': {**host(), 'gpu': gpu(options.device)},
            'versions': versions(), 'torch_threads': torch.get_num_threads(),
            'code': speed_digest(),
            'model': {'name': BUNDLED, 'weights_sha256': weights_digest(BUNDLED)}}
        self.left_out: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Told before anything is measured; what the file holds stays until there is more.
            if path.is_dir():
                raise IsADirectoryError(EISDIR, 'it is a folder')
            TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise StorageError(f'{path} cannot be written ({error}); name another') from error
        if keep and path.exists():
            self._keep(read_results(path))

    def _keep(self, found: Mapping[str, Any]) -> None:
        before, now = _flat(found), _flat(self._about)
        differing = [f'{name} {before.get(name)} is {now.get(name)} now'
                     for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if differing:
            raise ConfigurationError(
                f'{self.path} holds figures that were not taken like these would be '
                f'({", ".join(differing)}), so they do not go into one file; give another '
                '--output, or leave out --only to measure all anew')
        for data in found['sections']:
            self._kept[data['name']] = {
                'measured': found['measured'], 'code': found['code'], **data}

    def add(self, section: Section) -> None:
        """Note a section that was measured."""
        self.sections.append(section)
        self.write()

    def leave_out(self, name: str, reason: str) -> None:
        """Note a section that is not measured."""
        self.left_out[name] = reason
        self.write()

    def fail(self, name: str, reason: str) -> None:
        """Note a section that broke off."""
        self.failed[name] = reason
        self.write()

    def to_json(self) -> dict[str, Any]:
        """Give all of it in plain types."""
        measured = {section.name: section.to_json() for section in self.sections}
        sections = self._kept | measured
        return {
            **self._about,
            'left_out': {name: reason for name, reason in self.left_out.items()
                         if name not in sections},
            # Figures of before may stand beside the news that they could not be taken again.
            'failed': {name: reason for name, reason in self.failed.items()
                       if name not in measured},
            'sections': list(sections.values())}

    def write(self) -> None:
        """Put the file in place, whole, unless nothing was measured yet."""
        if self.sections:
            write_whole(
                self.path, json.dumps(self.to_json(), indent=1, allow_nan=False) + '\n')


def _flat(about: Mapping[str, Any]) -> dict[str, Any]:
    """Spread what sections of one file have in common: ``host.cores``, ..."""
    return {f'{key}.{name}': value for key in COMMON for name, value in about[key].items()} | {
        'format': about['format'], 'torch_threads': about['torch_threads']}


def gpu(device: str) -> str | None:
    """Name the GPU that is measured, if one is."""
    if not device.startswith('cuda'):
        return None
    name: str = torch.cuda.get_device_name(device)
    return name


def read_results(path: Path) -> dict[str, Any]:
    """
    Read a file that ``Results`` wrote.

    :raises ConfigurationError: it is none, or another version's.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'{path} is no file of figures: {error}') from error
    if not isinstance(found, dict) or found.get('format') not in (EARLIER, FORMAT):
        raise ConfigurationError(
            f'{path} holds no figures of format {EARLIER} or {FORMAT}; measure again with '
            '`infinipot bench speed`')
    return found


def section_of(data: Mapping[str, Any]) -> Section:
    """Read a section from plain types."""
    rates = data.get('rates')
    return Section(
        data['name'], data['title'], data['about'],
        tables=[Table(**table) for table in data['tables']],
        curves=[Curves(**curves) for curves in data['curves']],
        targets=[Target(**target) for target in data['targets']],
        rates=None if rates is None else Rates(**rates))
