# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Every parameter of the node, one a row: its name, default, limits and meaning.

Importing this needs neither ROS nor torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.node.image_types import TRANSPORTS
from infinipot_ros.visual_memory.policy_names import (
    DEFAULT_POLICY,
    KV_DTYPES,
    POLICY_NAMES,
    POSITIONS,
)

Value = bool | int | float | str | list[str] | list[float]

#: When a change of a parameter takes effect: while the node runs, only while it is unconfigured
#: (the model or its memory has to be rebuilt), or never after the start.
AT_ONCE = 'at once'
UNCONFIGURED = 'unconfigured'
AT_START = 'at start'
#: Cameras at most, and the characters of a name: it becomes part of a topic.
MAX_CAMERAS = 16
CAMERA_NAME = re.compile('[A-Za-z][A-Za-z0-9_]{0,63}')


@dataclass(frozen=True)
class Parameter:
    """One row: its name, default (which gives the type), limits, and when a change is taken."""

    name: str
    default: Value
    description: str
    changes: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    setting: str = ''
    may_be_empty: bool = False

    @property
    def type_name(self) -> str:
        """The type as ROS writes it."""
        names = {bool: 'bool', int: 'integer', float: 'double', str: 'string'}
        if isinstance(self.default, list):
            return f'{names[type(self.default[0])]}[]'
        return names[type(self.default)]

    def limits(self) -> str:
        """Return the allowed values in words, empty when every value of the type is allowed."""
        if self.choices:
            return ', '.join(map(plain, self.choices))
        if self.low is not None and self.high is not None:
            return f'{plain(self.low)} to {plain(self.high)}'
        return ''

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty where nothing is."""
        if type(value) is not type(self.default):
            return (f"'{self.name}' is a {self.type_name}, not {value!r}; "
                    f'write it like {plain(self.default)}')
        if self.choices and value not in self.choices:
            return f"'{self.name}' is {value!r}, but must be one of: {self.limits()}"
        if self.low is not None and self.high is not None:
            assert isinstance(value, int | float)
            if not self.low <= value <= self.high:
                return f"'{self.name}' is {value}, but must be within {self.limits()}"
        if isinstance(value, str) and not value.strip() and not self.may_be_empty:
            return f"'{self.name}' is empty"
        if isinstance(value, list):
            return share_problem(value) if self.type_name == 'double[]' else camera_problem(value)
        return ''


def camera_problem(names: list[str]) -> str:
    """Return what is wrong with the parameter ``cameras``; empty where nothing is."""
    if names in ([], ['']):
        return ''
    for name in names:
        if not isinstance(name, str) or not CAMERA_NAME.fullmatch(name):
            return (f"'cameras' has {name!r}, but a name is a letter, then up to 63 letters, "
                    'digits and underscores: it becomes part of a topic')
    if len(set(names)) < len(names):
        return f"'cameras' is {names}: two cameras cannot have one name"
    if len(names) > MAX_CAMERAS:
        return f"'cameras' has {len(names)} names, {MAX_CAMERAS} is the most"
    return ''


def share_problem(shares: list[float]) -> str:
    """Return what is wrong with ``memory.camera_shares``; empty where nothing is."""
    if any(type(share) is not float or not 0.0 < share <= 1.0 for share in shares):
        return f"'memory.camera_shares' is {shares}, but a share is a double above 0, at most 1.0"
    return ''


def plain(value: Value) -> str:
    """Write a value as a YAML file or a command line would."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if value == '':
        return "''"
    return str(value)


TABLE = (
    Parameter('model', 'infinipot-tiny',
              'The vision-language model to load, of a family that is served: a directory (`~` is '
              'the home), a hub id that is already on this machine, or `infinipot-tiny`, the '
              'bundled one, which knows its simulated houses only.', UNCONFIGURED,
              setting='model'),
    Parameter('device', 'cpu', 'Where the model runs: `cpu`, `cuda`, `cuda:0`, ...',
              UNCONFIGURED, setting='device'),
    Parameter('dtype', 'float32', 'The number format of weights and memory.',
              UNCONFIGURED, choices=('float32', 'float16', 'bfloat16'), setting='dtype'),
    Parameter('weights', '',
              "`int8` or `int4` keeps the language model's matrices in so many bits "
              '(bitsandbytes); empty: as published.',
              UNCONFIGURED, choices=('', 'int8', 'int4'), setting='weights', may_be_empty=True),
    Parameter('attn_implementation', 'sdpa', 'The attention kernel transformers uses; the last '
              'takes the package flash_attn.',
              UNCONFIGURED, choices=('sdpa', 'eager', 'flash_attention_2'),
              setting='attn_implementation'),
    Parameter('local_files_only', True,
              'Never download a model. `false` fetches what is missing from the hub.',
              UNCONFIGURED, setting='local_files_only'),
    Parameter('image_transport', 'raw',
              '`raw` subscribes sensor_msgs/Image on `image`, `compressed` '
              'sensor_msgs/CompressedImage on `image/compressed`, `ffmpeg` '
              'ffmpeg_image_transport_msgs/FFMPEGPacket on `image/ffmpeg`, `foxglove` '
              'foxglove_msgs/CompressedVideo on `image/foxglove`, `video` whichever of these two '
              'is installed, and published when the node is activated.', UNCONFIGURED,
              choices=TRANSPORTS),
    Parameter('cameras', [''],
              'The names of the cameras, each remembered from a topic of its own, `front/image` '
              'for `front` (remap it). By default one camera without a name, on `image`.',
              UNCONFIGURED),
    Parameter('autostart', True,
              'Configure and activate without a lifecycle manager; if that fails, the process '
              'ends with status 1.', AT_START),
    Parameter('memory.policy', DEFAULT_POLICY, 'What decides which tokens stay.',
              AT_ONCE, choices=POLICY_NAMES, setting='policy'),
    Parameter('memory.budget', 4096,
              'The most tokens a layer and KV head ever remembers; at least those of one grid, '
              '128 at the default `ingest.max_pixels`. A smaller one compresses at once; a larger '
              'one than was allocated takes a new configuration.',
              AT_ONCE, 8, 1_000_000_000, setting='budget'),
    Parameter('memory.keep_ratio', 0.75,
              'The share of the budget left after a compression.',
              AT_ONCE, 0.05, 0.99, setting='keep_ratio'),
    Parameter('memory.tar_ratio', -1.0,
              'The share of what is kept that temporal redundancy (TaR) chooses; value norms '
              '(VaN) choose the rest. Negative: as the policy has it.',
              AT_ONCE, -1.0, 1.0, setting='tar_ratio'),
    Parameter('memory.recent_ratio', -1.0,
              'The share of the grids that counts as recent and stays whole. Negative: as the '
              'policy has it.', AT_ONCE, -1.0, 0.9, setting='recent_ratio'),
    Parameter('memory.positions', 'auto',
              'How positions go on for days: `absolute`, as the stream counts them, or `compact`, '
              "closed up at every compression. `auto`: what suits the model's family.",
              UNCONFIGURED, choices=POSITIONS, setting='positions'),
    Parameter('memory.kv_dtype', '',
              '`int8` or `fp8` stores keys and values in 8 bits a number; empty: in `dtype`.',
              UNCONFIGURED, choices=KV_DTYPES, setting='kv_dtype', may_be_empty=True),
    Parameter('memory.camera_shares', [1.0],
              'The share of the memory each camera is kept to, in the order of `cameras`, in sum '
              '1. By default they share all of it.', UNCONFIGURED),
    Parameter('memory.thumbnail_bytes', 4 * 1024 ** 2,
              'The most bytes of the jpegs of remembered moments; 0 keeps none.',
              UNCONFIGURED, 0, 1_073_741_824, setting='thumbnail_bytes'),
    Parameter('memory.thumbnail_side', 160,
              'The most pixels of the longer side of these jpegs; none is larger than the frame '
              'the model saw (`ingest.max_pixels`).',
              UNCONFIGURED, 16, 4096, setting='thumbnail_side'),
    Parameter('block_size', 2,
              'Frames encoded in one forward pass; whole grids, of two frames for Qwen.',
              UNCONFIGURED, 1, 64, setting='block_size'),
    Parameter('ingest.fps', 2.0,
              'Frames a second of header time that are remembered, the rest is dropped as '
              '`rate`; 0 takes every frame.', AT_ONCE, 0.0, 240.0),
    Parameter('ingest.queue_size', 8, 'Frames that may wait for the model.', AT_ONCE, 1, 1024),
    Parameter('ingest.queue_policy', 'keep_last',
              'Which frame a full queue drops (as `queue`): the oldest, or the new one.',
              AT_ONCE, choices=('keep_last', 'drop_new')),
    Parameter('ingest.max_pixels', 128 * 28 * 28,
              'Frames are resized to at most this many pixels. 784 make a token of Qwen2.5-VL, '
              '1024 one of Qwen3-VL; LLaVA has a size of its own.',
              UNCONFIGURED, 784, 16_777_216, setting='max_pixels'),
    Parameter('ingest.max_image_pixels', MAX_PIXELS,
              'Images of more pixels are dropped as `too_large`, before they are decoded.',
              UNCONFIGURED, 784, 268_435_456),
    Parameter('ingest.max_batch', 8,
              'Frames encoded in one forward pass while more of them wait; `block_size` where '
              'that is more.', UNCONFIGURED, 1, 64, setting='max_batch'),
    Parameter('ingest.duplicate_similarity', 0.0,
              'Skip frames whose similarity to the last stored frame is at least this; they count '
              'as `duplicate`. 0 takes every frame, 0.95 suits a robot that often stands.',
              AT_ONCE, 0.0, 1.0, setting='duplicate_similarity'),
    Parameter('ingest.max_duplicate_age', 10.0,
              'Seconds of header time after which a frame is stored though nothing changed.',
              AT_ONCE, 0.1, 3600.0, setting='max_duplicate_age_s'),
    Parameter('ingest.max_backward_jump', 1.0,
              'Seconds a stamp may lie before the last one and be dropped as `stale_stamp`; a '
              'larger jump (a bag that loops) starts a new segment.', AT_ONCE, 0.0, 86_400.0),
    Parameter('ingest.starvation_timeout', 5.0,
              'Seconds without any image after which /diagnostics warns.',
              AT_ONCE, 0.1, 86_400.0),
    Parameter('recent.frames', 0,
              'The newest frames that every question sees encoded again, whole, in place of '
              'what the memory kept of them; their tokens are kept free within `memory.budget`. '
              '0: none. Not for Qwen3.5, nor with flash_attention_2.',
              UNCONFIGURED, 0, 64, setting='recent_frames'),
    Parameter('recent.max_pixels', 0,
              'They are resized to at most this many pixels; 0: to `ingest.max_pixels`.',
              UNCONFIGURED, 0, 16_777_216, setting='recent_max_pixels'),
    Parameter('second_look.frames', 0,
              'The most frames that a question is answered again with, encoded whole: of the '
              'moments its first answer rests on. Their tokens are kept free within '
              '`memory.budget`. 0: one answer only. Not for Qwen3.5, nor with flash_attention_2.',
              UNCONFIGURED, 0, 64, setting='second_look_frames'),
    Parameter('second_look.store_bytes', 64 * 1024 ** 2,
              'The most bytes of the jpegs of remembered frames that are kept for this.',
              UNCONFIGURED, 1, 1_099_511_627_776, setting='second_look_bytes'),
    Parameter('second_look.directory', '',
              'Where these are kept, a directory of this node alone; what an earlier run left '
              'there is deleted. Empty: in memory.',
              UNCONFIGURED, setting='second_look_directory', may_be_empty=True),
    Parameter('query.max_new_tokens', 64,
              'The longest answer in tokens; a request may ask for less, 0 asks for this. With '
              'a model loaded it can rise no further than it was when that was configured.',
              AT_ONCE, 1, 4096, setting='max_new_tokens'),
    Parameter('query.max_question_chars', 1000,
              'The longest question in characters; may rise as `query.max_new_tokens` may.',
              AT_ONCE, 1, 100_000, setting='max_question_chars'),
    Parameter('query.max_evidence', 5,
              'The most moments an answer names as its evidence; 0 looks for none.',
              AT_ONCE, 0, 32, setting='max_evidence'),
    Parameter('query.cuda_graph', False,
              'Decode answers by a CUDA graph, captured at configure. Takes device `cuda`, '
              'attention by `sdpa` or `eager`, and weights as published.',
              UNCONFIGURED, setting='cuda_graph'),
    Parameter('query.timeout', 30.0,
              'Seconds from the request to its answer, waiting included.',
              AT_ONCE, 0.01, 86_400.0),
    Parameter('session.max_sessions', 16, 'Dialogues kept at once; a new one beyond is refused.',
              UNCONFIGURED, 1, 1024),
    Parameter('session.max_turns', 8, 'Questions and answers kept of a dialogue.',
              UNCONFIGURED, 1, 64),
    Parameter('session.max_tokens', 512, 'Their tokens; the oldest turns go first.',
              UNCONFIGURED, 16, 16_384, setting='session_tokens'),
    Parameter('session.expiry', 600.0, 'Seconds without a question after which a dialogue ends.',
              UNCONFIGURED, 0.1, 86_400.0),
    Parameter('pose_topic', '',
              'Where the robot is: nav_msgs/Odometry, geometry_msgs/PoseStamped or '
              'PoseWithCovarianceStamped, whichever is published there. Empty: none.',
              UNCONFIGURED, may_be_empty=True),
    Parameter('pose_frame', '',
              'The fixed frame (`map`, `odom`) that poses are given in, by tf2: those of '
              "`pose_topic`, where tf2 knows the way, else the camera's own. Empty: no look-up.",
              UNCONFIGURED, may_be_empty=True),
    Parameter('pose_max_gap', 0.5,
              'Seconds between two poses that are interpolated, and between a frame and the '
              'nearest pose; across more, a frame has no pose.', AT_ONCE, 0.001, 3600.0),
    Parameter('storage.directory', '~/.ros/infinipot',
              'Where memories are saved; made when it is needed. Nothing outside is touched.',
              AT_START),
    Parameter('storage.name', '',
              'The file in it that autosave, load at configure, and requests without a path use. '
              "Empty: the node's full name, `robot1.infinipot.memory.safetensors` for "
              '`/robot1/infinipot`. While autosave or load at configure is on, no other node may '
              'use the same.', UNCONFIGURED, may_be_empty=True),
    Parameter('storage.autosave_period', 0.0,
              'Seconds between two saves while the memory changes, and once when it is dropped; '
              '0: none.', UNCONFIGURED, 0.0, 86_400.0),
    Parameter('storage.load_at_configure', False,
              'Begin with the saved memory where there is one.', UNCONFIGURED),
    Parameter('memory_image.period', 1.0,
              'Seconds between two pictures on `~/memory_image`, while somebody looks.',
              AT_ONCE, 0.1, 3600.0),
    Parameter('status.period', 1.0, 'Seconds between two messages on `~/status`.',
              AT_START, 0.05, 3600.0),
)
BY_NAME = {row.name: row for row in TABLE}
#: Parameters that were renamed, old name to new; old ones work in this release, and warn.
RENAMED = {
    'ingest.still_likeness': 'ingest.duplicate_similarity',
    'ingest.max_still': 'ingest.max_duplicate_age',
}
