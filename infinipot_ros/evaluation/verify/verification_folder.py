# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a verification: one record and one page, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.report.formatting import size_text
from infinipot_ros.evaluation.report.page import render
from infinipot_ros.evaluation.run_store import way_out, write_whole
from infinipot_ros.evaluation.verify.record_tables import record_tables
from infinipot_ros.evaluation.verify.verification_record import VerificationRecord, read_record

TEMPLATE = Path(__file__).with_name('verification_page.html.j2')
RECORD, PAGE = 'verify.json', 'verify.html'


class VerificationFolder:
    """
    Where a verification goes; an earlier one there is overwritten.

    :raises ConfigurationError: it holds something else; nothing was made or changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            if folder.exists() and any(folder.iterdir()):
                self._check_own()
        except OSError as error:
            raise self._unwritable(error) from error

    def create(self) -> None:
        """
        Make the folder, if it is missing.

        :raises ConfigurationError: nothing can be written there.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self._folder).close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_own(self) -> None:
        try:
            read_record(self._folder / RECORD)
        except ConfigurationError as error:
            raise ConfigurationError(
                f'{self._folder} holds files, but no {RECORD} of an earlier verification; give '
                'another --output') from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f'{self._folder} cannot be written: {error.strerror}; {way_out(error)}give another '
            '--output')

    def write(self, record: VerificationRecord) -> Path:
        """
        Write record and page.

        :return: the page.
        :raises ConfigurationError: they cannot be written.
        """
        try:
            write_whole(self._folder / RECORD, record.model_dump_json(indent=1) + '\n')
            write_whole(self._folder / PAGE, page_of(record))
        except OSError as error:
            raise self._unwritable(error) from error
        return self._folder / PAGE


def page_of(record: VerificationRecord) -> str:
    """Return the page of a record."""
    options, memory = record.options, record.memory
    tiles = [
        ('pass' if record.passed else 'FAIL', 'verdict'),
        (options.dtype + (f', {options.weights}' if options.weights else ''),
         options.attn_implementation),
        ('?' if memory.peak_bytes is None else size_text(memory.peak_bytes),
         f'memory at most, of {size_text(memory.planned_bytes)} planned'),
        (f'{options.budget:,}', 'tokens of budget'),
        (f'{record.seconds / 60:.1f} min', 'it took')]
    return render(
        TEMPLATE, title=f'{record.model.name} on {record.machine.gpu or record.machine.processor}',
        tiles=tiles, record=record, tables=list(record_tables(record)))
