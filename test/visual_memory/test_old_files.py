# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory that an earlier release saved is loaded and goes on."""

from pathlib import Path

from camera import noise, stamp

from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.snapshot_file import read_snapshot
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory

# Version 2 of the format, written by commit 5d1a2b6: 31 frames of ``noise`` at 2 frames a second,
# of two cameras in turn, every third without a pose, by the bundled model with these settings.
SAVED = Path(__file__).resolve().parents[1] / 'data' / 'memory_of_0_1.safetensors'
SETTINGS = MemoryConfig(
    'infinipot-tiny', budget=24, max_pixels=6 * 784, max_new_tokens=4, max_question_chars=60,
    block_size=4, thumbnail_bytes=6000)


def pose_of(index):
    return Pose(index / 3, -1.0, 0.5, 0.0, 0.0, 0.6, 0.8, 'map')


def test_a_memory_saved_by_an_earlier_release_is_loaded_and_goes_on():
    memory = VisualMemory(SETTINGS)
    loaded = load(memory, SAVED)
    assert (loaded.tokens, loaded.saved_tokens, loaded.observations) == (18, 18, 3)
    assert (loaded.dtype, loaded.frames_lost) == ('', 0)
    status = memory.status()
    assert (status.frames_encoded, status.frames_pending, status.compressions) == (30, 1, 12)
    assert status.camera_tokens == {'front': 12, 'rear': 6}
    seen = [each for _, each in memory.moments()]
    assert seen[0] == Observation(stamp(24), stamp(26), 'front', None)
    assert seen[-1] == Observation(stamp(28), stamp(30), 'front', pose_of(28))
    answer = memory.ask('What was there?')
    assert (answer.text, answer.memory_tokens) == ('no', 24)
    assert (answer.observed_from_ns, answer.observed_to_ns) == (stamp(24), stamp(30))
    assert any(each.thumbnail for each in answer.evidence)
    for index in range(31, 41):
        memory.add_frame(noise(index), stamp(index), ('front', 'rear')[index % 2], pose_of(index))
    assert memory.ask('What was there?').observed_to_ns == stamp(40)


def test_saved_again_it_is_the_same_file(tmp_path):
    # With the policy that was the default when it was written.
    memory = VisualMemory(replace(SETTINGS, policy='rarity'))
    load(memory, SAVED)
    save(memory, tmp_path / 'memory')
    with read_snapshot(SAVED) as old, read_snapshot(tmp_path / 'memory') as new:
        assert new.facts == old.facts
        assert new.tensors.keys() == old.tensors.keys()
        assert all(tensor.equal(new.tensors[name]) for name, tensor in old.tensors.items())
