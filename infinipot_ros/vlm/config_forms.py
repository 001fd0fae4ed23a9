# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The forms that transformers 4.4x to 5.x wrote configurations in, brought to that of this release.

4.57 silently takes its own defaults for what it does not find where it looks: the rotary settings
and the ties of a file that 5.x saved.
"""

from __future__ import annotations

from typing import Any

import transformers

# From 5.0 on the rotary embedding's settings are rope_parameters, theta included.
_MODERN = int(transformers.__version__.partition('.')[0]) >= 5


def translate(described: dict[str, Any]) -> dict[str, Any]:
    """
    Return a checked configuration in the form of the installed transformers.

    :param described: what config.json says; it is not changed.
    """
    config = dict(described)
    nested = isinstance(config.get('text_config'), dict)
    text = dict(config['text_config']) if nested else config
    _translate_rope(text)
    tied = _find_tie(described, text)
    if tied is not None:
        text['tie_word_embeddings'] = config['tie_word_embeddings'] = tied
    if nested:
        config['text_config'] = text
    return config


def _translate_rope(text: dict[str, Any]) -> None:
    rope = dict(text.get('rope_parameters') or text.get('rope_scaling') or {})
    if not rope:
        return
    kind = rope.get('rope_type') or rope.get('type') or 'default'
    kind = 'default' if kind == 'mrope' else kind
    theta = rope.pop('rope_theta', None) or text.get('rope_theta')
    rope |= {'rope_type': kind, 'type': kind}
    if kind == 'default':
        # Left over by who switched scaling off.
        rope.pop('factor', None)
    for name in ('rope_parameters', 'rope_scaling', 'rope_theta'):
        text.pop(name, None)
    if _MODERN:
        del rope['type']
        text['rope_parameters'] = {**rope, 'rope_theta': theta} if theta else rope
    else:
        text['rope_scaling'] = rope
        if theta:
            text['rope_theta'] = theta


def _find_tie(described: dict[str, Any], text: dict[str, Any]) -> bool | None:
    """Return whether the head is tied to the embeddings; None: the family's default."""
    given = [
        each['tie_word_embeddings'] for each in (described, text)
        if isinstance(each.get('tie_word_embeddings'), bool)]
    if given:
        return any(given)
    # Before 5.0 tied was the default of all models, and defaults are not written.
    version = str(described.get('transformers_version') or '5')
    return True if version.partition('.')[0] < '5' else None
