# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What was measured, as one file: every section that came about, and on what machine with what code.

The file is written anew after each section, so what was measured is there whatever comes next.
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

from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.evaluation.journal import code_digest, host, versions, write_whole
from infinipot_ros.evaluation.speed.section import Curves, Section, SpeedOptions, Table, Target
from infinipot_ros.vlm.loading import weights_digest

FORMAT = 1
BUNDLED = 'infinipot-tiny'


class Results:
    """
    The file of a run, section by section.

    :param path: overwritten; its folder is made.
    :raises StorageError: it cannot be written.
    """

    def __init__(self, path: Path, options: SpeedOptions) -> None:
        self.path = path
        self.sections: list[Section] = []
        self._about = {
            'format': FORMAT, 'measured': datetime.now(timezone.utc).isoformat(timespec='minutes'),
            'options': asdict(options), 'host': {**host(), 'gpu': gpu(options.device)},
            'versions': versions(), 'torch_threads': torch.get_num_threads(),
            'code': code_digest(),
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

    def add(self, section: Section) -> None:
        """Note a section that was measured."""
        self.sections.append(section)
        self.write()

    def leave_out(self, name: str, reason: str) -> None:
        """Note a section that cannot be measured here."""
        self.left_out[name] = reason
        self.write()

    def fail(self, name: str, reason: str) -> None:
        """Note a section that broke off."""
        self.failed[name] = reason
        self.write()

    def to_json(self) -> dict[str, Any]:
        """Give all of it in plain types."""
        return {
            **self._about, 'left_out': self.left_out, 'failed': self.failed,
            'sections': [section.to_json() for section in self.sections]}

    def write(self) -> None:
        """Put the file in place, whole."""
        write_whole(self.path, json.dumps(self.to_json(), indent=1, allow_nan=False) + '\n')


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
    if not isinstance(found, dict) or found.get('format') != FORMAT:
        raise ConfigurationError(
            f'{path} holds no figures of format {FORMAT}; measure anew with `infinipot bench '
            'speed`')
    return found


def section_of(data: Mapping[str, Any]) -> Section:
    """Read a section from plain types."""
    return Section(
        data['name'], data['title'], data['about'],
        tables=[Table(**table) for table in data['tables']],
        curves=[Curves(**curves) for curves in data['curves']],
        targets=[Target(**target) for target in data['targets']])
