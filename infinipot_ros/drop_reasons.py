# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Why frames are not remembered, in plain words.

The live page shows them, and ``docs/reference/codes.md`` is made from them.
"""

from __future__ import annotations

#: The reasons frames are counted under in ``~/status``: what each means, and what to do about it.
REASONS = {
    'rate': 'Comes sooner than `ingest.fps` allows. Intended; 0 takes every frame.',
    'duplicate': 'Shows what the last remembered frame shows, which stands for it. No loss.',
    'queue': 'The queue was full: the model is slower than the camera. Lower `ingest.fps` or '
             '`ingest.max_pixels`, or raise `block_size`.',
    'inactive': 'It waited when the node was deactivated.',
    'paused': '`~/pause` is on.',
    'reset': 'It waited when `~/reset` was called.',
    'zero_stamp': 'The header has no stamp. Set it in the driver.',
    'stale_stamp': 'The stamp is not later than the last one of this camera. Two publishers on '
                   'one topic, or a driver that repeats stamps.',
    'zero_size': 'No pixels, or no bytes.',
    'wrong_step': '`step` is less than a row of pixels takes, or odd where planes need an even '
                  'one.',
    'short_data': '`data` holds fewer bytes than `step` times `height`, or all planes, take.',
    'long_data': '`data` holds more bytes than `step` times `height`, or all planes, take.',
    'unknown_encoding': 'An encoding that is not read; the log lists those that are.',
    'too_large': 'More pixels than `ingest.max_image_pixels`, or more bytes than a message may '
                 'have.',
    'aspect_ratio': 'Too long and narrow for the model.',
    'decode_failed': 'The jpeg, png or video packet is cut off or damaged, or refers to a packet '
                     'that was lost.',
    'waiting_for_key_frame': 'Video before its first key frame, or between an error and the next '
                             'one. If they stay away, let the encoder send one every second or '
                             'two.',
    'malformed': 'The message itself cannot be read.',
    'too_many_tokens': 'One grid of this image has more tokens than `memory.budget`. Lower '
                       '`ingest.max_pixels` or raise the budget.',
    'memory_full': 'Policy `full` and the budget is used up. Choose another policy.',
    'overflow': 'The model produced numbers that are not finite. Use `bfloat16` or `float32`.',
    'unknown_camera': 'A camera that is not declared; only from Python.',
    'too_many_cameras': 'More cameras than the memory has places for.',
    'bad_pixels': 'Not `uint8 [height, width, 3]`; only from Python.',
    'internal': 'A fault of this package; the log has the traceback. Please report it.',
}
