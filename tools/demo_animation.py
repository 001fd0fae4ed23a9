# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Draw the README's animation: the bundled tour, what is remembered of it, questions and answers.

The bundled model watches the tour with the demo's settings, without ROS, and is asked the demo's
questions when their time has come. What is drawn is what it answers::

    python -m tools.demo_animation docs/images/demo.webp
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.node.pictures import Moment, remembered_moments
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.answer import Answer
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.visual_memory.frame import RgbImage
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

BUDGET = 1024  # as in config/demo.yaml
#: Every third frame is drawn, for so many milliseconds; a question, and its answer, stand longer.
EVERY, FRAME_MS, QUESTION_MS, ANSWER_MS, LAST_MS = 3, 70, 1100, 2600, 4000

SIZE = (752, 462)
CAMERA = (12, 34, 504, 336)
PANEL_X, PANEL_WIDTH = 532, 208
STRIP_Y, TILE, TILES = 394, (90, 60), 8
BACKGROUND, TEXT, DIM = (20, 22, 26), (238, 238, 238), (150, 154, 160)
ACCENT, RIGHT, WRONG = (255, 140, 40), (110, 210, 120), (240, 100, 90)


@dataclass(frozen=True)
class Exchange:
    """A question, and the answer once there is one."""

    question: Question
    answer: Answer | None = None


class Animation:
    """
    Draws the state of a memory, picture by picture.

    :param total: frames of the whole recording.
    """

    def __init__(self, memory: VisualMemory, first_ns: int, total: int) -> None:
        self.pictures: list[Image.Image] = []
        self.durations: list[int] = []
        self._memory, self._first_ns, self._total = memory, first_ns, total
        self._fonts = {size: ImageFont.load_default(size) for size in (11, 13, 15, 18)}

    def show(self, rgb: RgbImage, stamp_ns: int, seen: int, duration_ms: int,
             exchange: Exchange | None = None) -> None:
        """
        Add one picture.

        :param rgb: the latest frame, uint8 ``[height, width, 3]``.
        :param seen: frames watched so far.
        """
        picture = Image.new('RGB', SIZE, BACKGROUND)
        draw = ImageDraw.Draw(picture)
        left, top, width, height = CAMERA
        picture.paste(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC),
                      (left, top))
        self._write(draw, (left, 10), f'camera  {self._clock(stamp_ns)}', 15)
        self._draw_memory(draw, seen)
        if exchange is not None:
            self._draw_exchange(picture, draw, exchange)
        self._draw_strip(picture, draw)
        self.pictures.append(picture)
        self.durations.append(duration_ms)

    def save(self, path: Path) -> None:
        """Write an animated WebP, or a GIF by the name's suffix; it repeats for ever."""
        options: dict[str, Any] = {}
        if path.suffix != '.gif':
            options = {'quality': 55, 'method': 4}
        self.pictures[0].save(path, save_all=True, append_images=self.pictures[1:],
                              duration=self.durations, loop=0, **options)

    def _clock(self, stamp_ns: int) -> str:
        seconds = (stamp_ns - self._first_ns) // SECOND_NS
        return f'{seconds // 60}:{seconds % 60:02d}'

    def _write(self, draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int,
               fill: tuple[int, int, int] = TEXT) -> None:
        draw.text(at, text, font=self._fonts[size], fill=fill)

    def _draw_memory(self, draw: ImageDraw.ImageDraw, seen: int) -> None:
        status = self._memory.status()
        self._write(draw, (PANEL_X, 10), 'memory', 15)
        y = 36
        for label, share, text in (
                ('frames watched', seen / self._total, f'{seen}'),
                ('tokens held', status.tokens / status.budget_tokens,
                 f'{status.tokens} of {status.budget_tokens}')):
            self._write(draw, (PANEL_X, y), label, 13, DIM)
            width = draw.textlength(text, font=self._fonts[13])
            self._write(draw, (round(PANEL_X + PANEL_WIDTH - width), y), text, 13)
            draw.rectangle((PANEL_X, y + 19, PANEL_X + PANEL_WIDTH, y + 26), fill=(48, 52, 58))
            draw.rectangle((PANEL_X, y + 19, PANEL_X + round(PANEL_WIDTH * share), y + 26),
                           fill=ACCENT)
            y += 36
        self._write(draw, (PANEL_X, y), f'{status.budget_bytes / 1e6:.1f} MB, allocated once;  '
                    f'compressed {status.compressions}x', 11, DIM)

    def _draw_exchange(
        self, picture: Image.Image, draw: ImageDraw.ImageDraw, exchange: Exchange,
    ) -> None:
        y = 140
        for line in self._wrapped(draw, exchange.question.question):
            self._write(draw, (PANEL_X, y), line, 18)
            y += 24
        answer = exchange.answer
        if answer is None:
            return
        right = same_answer(answer.text, exchange.question.answer)
        self._write(draw, (PANEL_X, y + 4), answer.text, 18, RIGHT if right else WRONG)
        # Of what was never in view no moment is evidence.
        best = answer.evidence[0] if answer.evidence else None
        if not len(exchange.question.evidence) or best is None or best.thumbnail is None:
            return
        self._write(draw, (PANEL_X, y + 32), f'rests on {self._clock(best.stamp_ns)}', 13, DIM)
        image = Image.open(io.BytesIO(best.thumbnail)).convert('RGB')
        scale = min(PANEL_WIDTH / image.width, (CAMERA[1] + CAMERA[3] - y - 54) / image.height)
        image = image.resize((round(scale * image.width), round(scale * image.height)),
                             Image.Resampling.BICUBIC)
        picture.paste(image, (PANEL_X, y + 54))
        draw.rectangle((PANEL_X - 1, y + 53, PANEL_X + image.width, y + 54 + image.height),
                       outline=ACCENT, width=2)

    def _draw_strip(self, picture: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        self._write(draw, (12, STRIP_Y - 18), 'eight of the remembered moments: in colour what is '
                    'kept, in grey what was evicted', 11, DIM)
        for index, moment in enumerate(remembered_moments(self._memory)[:TILES]):
            left = 12 + index * (TILE[0] + 2)
            picture.paste(_kept_in_colour(moment), (left, STRIP_Y))
            draw.rectangle((left, STRIP_Y, left + 40, STRIP_Y + 14), fill=BACKGROUND)
            label = moment.label.strip()
            self._write(draw, (left + 2, STRIP_Y), 'now' if label == '-0 s' else label, 11, DIM)

    def _wrapped(self, draw: ImageDraw.ImageDraw, text: str) -> list[str]:
        lines = ['']
        for word in text.split():
            longer = f'{lines[-1]} {word}'.strip()
            if draw.textlength(longer, font=self._fonts[18]) > PANEL_WIDTH:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines


def _kept_in_colour(moment: Moment) -> Image.Image:
    """Draw a moment in colour where layers and heads still hold it, in dark grey elsewhere."""
    if moment.jpeg is None:
        return Image.new('RGB', TILE, (70, 70, 70))
    image = Image.open(io.BytesIO(moment.jpeg)).convert('RGB').resize(TILE)
    # The square root lifts what a few heads hold out of the dark.
    held = Image.fromarray((255 * np.sqrt(moment.heat)).astype(np.uint8)).resize(
        TILE, Image.Resampling.NEAREST)
    grey = image.convert('L').point(lambda value: round(0.35 * value)).convert('RGB')
    return Image.composite(image, grey, held)


def make_animation(questions: Sequence[Question], tour: Path) -> Animation:
    """Let the bundled model watch a tour and ask it, and draw that."""
    memory = VisualMemory(MemoryConfig(model='infinipot-tiny', budget=BUDGET))
    with open_source(tour) as source:
        frames = list(source)
    animation = Animation(memory, frames[0].stamp_ns, len(frames))
    waiting = list(questions)
    for seen, frame in enumerate(frames, 1):
        rgb = np.asarray(frame.rgb)
        memory.add_frame(rgb, frame.stamp_ns, frame.camera, frame.pose)
        if not seen % EVERY:
            animation.show(rgb, frame.stamp_ns, seen, FRAME_MS)
        following_ns = frames[seen].stamp_ns if seen < len(frames) else None
        while waiting and (following_ns is None or (waiting[0].ask_at_ns or 0) < following_ns):
            question = waiting.pop(0)
            animation.show(rgb, frame.stamp_ns, seen, QUESTION_MS, Exchange(question))
            answer = memory.ask(question.question)
            animation.show(rgb, frame.stamp_ns, seen, ANSWER_MS if waiting else LAST_MS,
                           Exchange(question, answer))
            print(f'{question.question} {answer.text}')
    return animation


def main() -> None:
    """Make the animation and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('output', type=Path, help='demo.webp, or demo.gif')
    path = parser.parse_args().output
    demo = find_share() / 'demo'
    animation = make_animation(read_questions(demo / 'questions.jsonl'), demo / 'tour')
    animation.save(path)
    print(f'{path}: {len(animation.pictures)} pictures, {sum(animation.durations) / 1000:.0f} s, '
          f'{path.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
