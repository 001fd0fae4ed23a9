# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A memory as a model of lmms-eval: each video is watched once and asked all its questions.

lmms-eval finds it by the entry point ``lmms_eval.models``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from loguru import logger
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.playback import replay
from infinipot_ros.recordings.frame_source import checked_fps
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import load_shared_model, use_few_threads
from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: The least room for a question, characters: those of later rounds are not known beforehand.
QUESTION_CHARS = 2000
#: Tokens of an answer where the task names no number, and the text that lmms-eval ends answers
#: at where the task names none: an answer may well begin with it.
NEW_TOKENS, DEFAULT_UNTIL = 64, '\n\n'
#: What ``--model_args`` may set beside ``pretrained`` and ``fps``.
SETTINGS = {each.name for each in fields(MemoryConfig)} - {
    'model', 'max_new_tokens', 'max_question_chars'}


def manifest() -> ModelManifest:
    """Describe the model to lmms-eval's registry."""
    return ModelManifest(
        'infinipot', simple_class_path=f'{__name__}.{LmmsEvalModel.__qualname__}')


class LmmsEvalModel(lmms):
    """
    What lmms-eval calls; questions are answered one after another, whatever ``batch_size`` says.

    :param pretrained: the model, as ``MemoryConfig.model``.
    :param fps: frames a second to watch; 0: all.
    :param settings: others of ``SETTINGS``; the task says how long an answer may be.
    :raises ConfigurationError: a setting that there is not or that cannot work, or one of several
        processes.
    """

    def __init__(
        self, pretrained: str = 'infinipot-tiny', fps: float = 2.0, batch_size: object = 1,
        max_batch_size: object = None, **settings: Any,
    ) -> None:
        super().__init__()
        if int(os.environ.get('WORLD_SIZE', '1')) > 1:
            raise ConfigurationError(
                f'WORLD_SIZE is {os.environ["WORLD_SIZE"]}, but a memory is asked by one process: '
                'start lmms-eval without accelerate or torchrun, or share the work out with '
                '--offset and --limit, or with infinipot eval --ray')
        if unknown := settings.keys() - SETTINGS:
            raise ConfigurationError(
                f'--model_args: there is no {", ".join(sorted(unknown))}; there are pretrained, '
                f'fps, {", ".join(sorted(SETTINGS))}')
        try:
            self._settings = TypeAdapter(MemoryConfig).validate_python(
                settings | {'model': pretrained})
            rate = TypeAdapter(float).validate_python(fps)
        except ValidationError as error:
            raise ConfigurationError('--model_args: ' + '; '.join(
                f'{".".join(map(str, each["loc"])) or "fps"}: {each["msg"]}'
                for each in error.errors(include_url=False))) from error
        self._fps = checked_fps(rate) if rate else None
        self._settings.validate()
        self._model = load_shared_model(self._settings)
        self._settings.max_grid_tokens(self._model.family)

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Return an answer a request, in their order."""
        memory, of_video = self._memory_for(requests), defaultdict(list)
        for number, request in enumerate(requests):
            _, _, to_visual, doc_id, task, split = request.args
            doc = self.task_dict[task][split][doc_id]
            of_video[_one_path(task, doc_id, to_visual(doc))].append(number)
        answers = [''] * len(requests)
        for path, numbers in tqdm(of_video.items(), 'videos'):
            self._watch(memory, path)
            for number in numbers:
                answers[number] = _answer(memory, *requests[number].args[:2])
        return answers

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """Return the answers of each request's rounds; each round may have a video of its own."""
        memory, found, watched = self._memory_for(requests), [], ''
        for request in tqdm(requests, 'requests'):
            text, options, to_visual, to_text, doc_id, task, split = request.args
            doc, info, ended = self.task_dict[task][split][doc_id], None, False
            visuals, answers = to_visual(doc), list[str]()
            while not ended:
                path = _one_path(task, doc_id, visuals) if visuals else watched
                if path != watched:
                    self._watch(memory, path)
                    watched = path
                answers.append(_answer(memory, text, options))
                visuals, text, ended, _, info = to_text(
                    doc, previous_output=list(answers), round_idx=len(answers),
                    previous_round_info=info)
            found.append(answers)
        return found

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """:raises ConfigurationError: always."""
        raise ConfigurationError(
            f'{requests[0].task_name} compares the likelihood of given answers, but a memory '
            'answers in words: choose a task whose output_type is generate_until')

    def _memory_for(self, requests: Sequence[Instance]) -> VisualMemory:
        """Return an empty memory with room for these questions and their answers."""
        chars = max(len(request.args[0]) for request in requests)
        tokens = max(_new_tokens(request.args[1]) for request in requests)
        memory = VisualMemory(replace(
            self._settings, max_question_chars=max(QUESTION_CHARS, chars),
            max_new_tokens=tokens), self._model)
        use_few_threads(memory.plan.weights, self._settings.device)
        if memory.caveat:
            logger.warning(memory.caveat)
        return memory

    def _watch(self, memory: VisualMemory, path: str) -> None:
        memory.reset()
        with open_source(path, fps=self._fps) as recording:
            replay(recording, memory)


def _one_path(task: str, doc_id: int, visuals: Sequence[object]) -> str:
    """:raises ConfigurationError: they are not one recording."""
    if len(visuals) != 1 or not isinstance(visuals[0], str | os.PathLike):
        kinds = ', '.join(type(each).__name__ for each in visuals) or 'nothing'
        raise ConfigurationError(
            f'{task}, document {doc_id}, shows {kinds}, but a memory watches one recording a '
            'question: choose a task of videos whose doc_to_visual returns one path')
    return os.fspath(visuals[0])


def _new_tokens(options: dict[str, Any]) -> int:
    return int(options.get('max_new_tokens', NEW_TOKENS))


def _answer(memory: VisualMemory, question: str, options: dict[str, Any]) -> str:
    text = memory.ask(question, max_new_tokens=_new_tokens(options)).text
    until = options.get('until') or []
    for end in [until] if isinstance(until, str) else until:
        if end != DEFAULT_UNTIL:
            text = text.partition(end)[0]
    return text
