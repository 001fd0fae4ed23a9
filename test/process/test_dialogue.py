# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dialogues over DDS with the bundled model, about the bundled tour: docs/how-to/ask.md's own."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.recordings.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
#: By then a red box was in view in the garage, a blue ball and a pink pillar in the bathroom.
FRAMES = 300


def test_what_it_is_follows_from_the_session(start) -> None:
    _, client = start(model=ROOT / 'models' / 'infinipot-tiny', memory__budget=1024,
                      ingest__max_pixels=112 * 168, query__max_new_tokens=12)
    client.wait_active()
    for _, frame in zip(range(FRAMES), open_source(ROOT / 'demo' / 'tour')):
        client.publish(frame.stamp_ns, height=112, width=168, data=frame.rgb.tobytes())
    client.wait_status(lambda s: s.frames_encoded == FRAMES,
                       'the first frames of the tour')
    rooms = {session: client.ask(f'Which room is the {thing} in?', session=session).answer
             for session, thing in (('anna', 'box'), ('ben', 'ball'))}
    assert rooms == {'anna': 'garage', 'ben': 'bathroom'}
    colours = {session: client.ask('And what colour was it?', session=session).answer
               for session in rooms}
    assert colours == {'anna': 'red', 'ben': 'blue'}
