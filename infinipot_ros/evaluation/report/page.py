# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages from templates: one HTML file each, which loads nothing and needs no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from infinipot_ros.evaluation.report import formatting
from infinipot_ros.evaluation.report.tables import percent
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL

HERE = Path(__file__).parent


def render(template: Path, **context: Any) -> str:
    """
    Fill in a template; every text is escaped unless the template marks it safe.

    :param template: may extend and import those beside this file.
    :param context: what it shows, by name; a name it uses must be there.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {
        'clock': formatting.clock_text, 'count': formatting.count_text,
        'fact_lines': formatting.fact_lines, 'fact_text': formatting.fact_text,
        'percent': percent, 'shorten': formatting.shorten, 'stamp': formatting.stamp_text,
        'thousands': '{:,}'.format}
    environment.globals |= {'DEFAULT_POLICY': DEFAULT_POLICY, 'FULL': FULL}
    return environment.get_template(template.name).render(context)
