# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robot that carries the camera: a point that turns, drives and dwells, frame by frame."""

from __future__ import annotations

import numpy as np

from tools.tiny_model.house import House


class Driver:
    """Moves a point robot in small steps and notes every pose."""

    def __init__(self, house: House, rng: np.random.Generator, room: int = 0) -> None:
        self.rng = rng
        self.x, self.z = house.centre(room)
        self.heading = float(rng.uniform(0, 2 * np.pi))
        self.poses: list[tuple[float, float, float]] = []

    def note(self) -> None:
        """Be here for one frame."""
        self.poses.append((self.x, self.z, self.heading))

    def dwell(self, frames: int) -> None:
        """Stand still."""
        for _ in range(frames):
            self.note()

    def turn(self, angle: float) -> None:
        """Turn by ``angle`` radians, 10 to 16 degrees a frame."""
        step = np.radians(self.rng.uniform(10, 16))
        for share in np.diff(np.linspace(0, angle, max(1, round(abs(angle) / step)) + 1)):
            self.heading += float(share)
            self.note()

    def bearing(self, x: float, z: float) -> float:
        """Return by how many radians, -pi to pi, the robot must turn to face a point."""
        wanted = np.arctan2(-(z - self.z), x - self.x)
        return float((wanted - self.heading + np.pi) % (2 * np.pi) - np.pi)

    def face(self, x: float, z: float) -> None:
        """Turn to a point, the short way round."""
        self.turn(self.bearing(x, z))

    def drive(self, x: float, z: float) -> None:
        """Face a point and drive there, 0.2 to 0.35 m a frame."""
        distance = float(np.hypot(x - self.x, z - self.z))
        if distance < 0.05:
            return
        self.face(x, z)
        steps = max(1, round(distance / float(self.rng.uniform(0.2, 0.35))))
        for px, pz in zip(
                np.linspace(self.x, x, steps + 1)[1:], np.linspace(self.z, z, steps + 1)[1:],
                strict=True):
            self.x, self.z = float(px), float(pz)
            self.note()


def route(house: House, start: int, seen: set[int], rng: np.random.Generator) -> list[int]:
    """Find a shortest way, as room numbers, to a random unvisited room; else to a neighbour."""
    ways = {start: [start]}
    queue = [start]
    for room in queue:
        for following in rng.permutation(house.neighbours(room)).tolist():
            if following not in ways:
                ways[following] = [*ways[room], following]
                queue.append(following)
    fresh = [way for room, way in ways.items() if room not in seen]
    if fresh:
        return min(fresh, key=len)
    return ways[int(rng.choice(house.neighbours(start)))]
