# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How Sphinx builds this folder: ``make docs``, or rosdoc2 with ``rosdoc2.yaml``.

Pages are Markdown that a repository shows as well: MyST adds little more than ``{toctree}`` in
``index.md`` and ``{automodule}`` in ``reference/api``. Nothing of ROS is imported.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
# rosdoc2 runs this text from a folder of its own and sets the path itself.
if (ROOT / 'infinipot_ros').is_dir():
    sys.path.insert(0, str(ROOT))

project = 'infinipot_ros'
author = 'The infinipot_ros authors'
copyright = f'2026 {author}'

extensions = ['myst_parser', 'sphinx.ext.autodoc']
if find_spec('sphinxcontrib') and find_spec('sphinxcontrib.mermaid'):
    extensions.append('sphinxcontrib.mermaid')
    myst_fence_as_directive = ['mermaid']
    mermaid_width = mermaid_height = 'auto'
    mermaid_fullscreen = False

exclude_patterns = ['_build']
html_theme = 'furo'
html_title = 'infinipot_ros'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sourcelink = html_copy_source = False

# Two classes may share a short name that a signature uses.
suppress_warnings = ['ref.python']

# Links to a heading, as a repository makes them: page.md#the-heading.
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
# Shapes and units are in the docstrings; types are read from the signatures.
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
# Where the documentation is built without them, as on a build farm, their names are enough.
autodoc_mock_imports = [name for name in (
    'av', 'backports', 'bitsandbytes', 'cv2', 'httpx', 'lz4', 'matplotlib', 'psutil', 'pydantic',
    'ray', 'rosbags', 'safetensors', 'torch', 'transformers') if find_spec(name) is None]

# What has no page: other packages, private names, what scripts/reference_tables.py leaves out.
nitpick_ignore_regex = [('py:.*', pattern) for pattern in (
    r'(?!infinipot_ros\.).*', r'.*\._\w+', r'infinipot_ros\.evaluation\.(benchmarks|report)\..*')]

rosdoc2_settings = {'allow_other_extensions': True}


def link_bare_name(app: Sphinx, env: Any, node: Any, content: Node) -> Node | None:
    """Link ``:raises StorageError:`` to the one object of that name, wherever it is defined."""
    domain, target = env.domains['py'], node.get('reftarget', '')
    found = [name for name in domain.objects if name.endswith(f'.{target}')]
    if node.get('refdomain') != 'py' or '.' in target or len(found) != 1:
        return None
    return domain.resolve_xref(
        env, node['refdoc'], app.builder, 'obj', found[0], node, content)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect('missing-reference', link_bare_name)
