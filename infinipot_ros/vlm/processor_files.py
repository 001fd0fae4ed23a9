# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the files of a model's processor say: how pixels are prepared, and the chat template.

The processor itself is not used, because it needs torchvision and whole videos. Files take
precedence over each other as in transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infinipot_ros.vlm.model_folder import read_json

PROCESSOR = 'processor_config.json'
PIXELS = ('video_preprocessor_config.json', 'preprocessor_config.json')
TEMPLATE = 'chat_template.json'


def read_video_settings(folder: Path) -> dict[str, Any]:
    """
    Return the settings of a model's video processor, or else of its image processor.

    :return: empty: it has no such file.
    :raises ConfigurationError: a file cannot be read.
    """
    if (folder / PROCESSOR).is_file():
        nested = read_json(folder / PROCESSOR).get('video_processor')
        if isinstance(nested, dict):
            return nested
    for name in PIXELS:
        if (folder / name).is_file():
            return read_json(folder / name)
    return {}


def read_chat_template(folder: Path) -> str | None:
    """
    Return the chat template of a model's processor, where that is not the tokenizer's.

    A tokenizer reads chat_template.jinja itself, but not what older processors saved, and may have
    a template of its own that knows no videos.

    :raises ConfigurationError: a file cannot be read.
    """
    for name in (PROCESSOR, TEMPLATE):
        if (folder / name).is_file():
            template = read_json(folder / name).get('chat_template')
            if isinstance(template, str) and template:
                return template
    return None
