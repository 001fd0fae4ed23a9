# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The camera in a simulated house: MiniWorld draws what a robot sees, and which pixel shows what.

Besides the picture a second, flat pass paints every pixel with the number of its room and of its
object, so that the truth about what is in view is the rendered one: what is hidden is not seen.
Needs MiniWorld and a headless EGL (Debian: libegl1 libgl1-mesa-dri libglu1-mesa); nothing but
this module imports them, and only when a renderer is made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.house import COLOURS, DOOR_WIDTH, LOOKS, ROOM_SIZE, House, Thing

WIDTH, HEIGHT = 168, 112
CAMERA_HEIGHT = 1.1
CEILING = 'ceiling_tile_noborder'

Picture = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def _environment(width: int, height: int) -> Any:
    """
    Import MiniWorld and define the house environment on it.

    One a process: textures and drawing lists belong to a drawing context, of which MiniWorld keeps
    track in globals.
    """
    import pyglet
    pyglet.options['headless'] = True
    pyglet.options['shadow_window'] = False
    from miniworld.entity import Entity
    from miniworld.miniworld import MiniWorldEnv, Room
    from miniworld.opengl import FrameBuffer, Texture
    from miniworld.params import DEFAULT_PARAMS
    from miniworld.utils import get_file_path
    from pyglet import gl

    def load_textures() -> None:
        """Load what the houses need; MiniWorld's own way takes a second for each."""
        for name in {*(look[0] for look in LOOKS.values()), *(look[2] for look in LOOKS.values()),
                     CEILING, 'floor_tiles_bw', 'concrete', 'concrete_tiles'}:
            for number in range(1, 10):
                path = get_file_path('textures', f'{name}_{number}', 'png')
                if not Path(path).is_file():
                    break
                with Image.open(path) as picture:
                    pixels = np.ascontiguousarray(np.array(picture.convert('RGBA'))[::-1])
                rows, columns = pixels.shape[:2]
                data = pyglet.image.ImageData(
                    columns, rows, 'RGBA', pixels.tobytes(), pitch=4 * columns)
                texture = data.get_texture()
                gl.glBindTexture(texture.target, texture.id)
                gl.glTexImage2D(
                    gl.GL_TEXTURE_2D, 0, gl.GL_RGB, columns, rows, 0, gl.GL_RGBA,
                    gl.GL_UNSIGNED_BYTE, pixels.tobytes())
                gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
                for which, how in (
                        (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
                        (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)):
                    gl.glTexParameteri(gl.GL_TEXTURE_2D, which, how)
                gl.glBindTexture(gl.GL_TEXTURE_2D, 0)
                Texture.tex_cache[path] = Texture(texture, name)

    class LookRoom(Room):  # type: ignore[misc]
        """A room whose walls and floor are tinted, or painted with one flat number."""

        wall_tint = floor_tint = (1.0, 1.0, 1.0)

        def _render(self, flat: int | None = None) -> None:
            def colour(tint: tuple[float, ...]) -> None:
                if flat is None:
                    gl.glColor3f(*tint)
                else:
                    gl.glColor3f(flat / 255, 0, 0)

            colour(self.floor_tint)
            self.floor_tex.bind()
            gl.glBegin(gl.GL_POLYGON)
            gl.glNormal3f(0, 1, 0)
            for vertex, coordinate in zip(self.floor_verts, self.floor_texcs, strict=True):
                gl.glTexCoord2f(*coordinate)
                gl.glVertex3f(*vertex)
            gl.glEnd()
            colour((1.0, 1.0, 1.0))
            self.ceil_tex.bind()
            gl.glBegin(gl.GL_POLYGON)
            gl.glNormal3f(0, -1, 0)
            for vertex, coordinate in zip(self.ceil_verts, self.ceil_texcs, strict=True):
                gl.glTexCoord2f(*coordinate)
                gl.glVertex3f(*vertex)
            gl.glEnd()
            colour(self.wall_tint)
            self.wall_tex.bind()
            gl.glBegin(gl.GL_QUADS)
            for vertex, normal, coordinate in zip(
                    self.wall_verts, self.wall_norms, self.wall_texcs, strict=True):
                gl.glNormal3f(*normal)
                gl.glTexCoord2f(*coordinate)
                gl.glVertex3f(*vertex)
            gl.glEnd()

    class Solid(Entity):  # type: ignore[misc]
        """A large plain object: box, ball, cone or pillar."""

        def __init__(self, thing: Thing, colour: npt.NDArray[np.float64], size: float) -> None:
            super().__init__()
            self.thing, self.colour, self.size = thing, colour, size
            self.pos = np.array([thing.x, 0.0, thing.z])
            self.dir = thing.turn
            self.radius, self.height = 0.6, 1.0
            self.present = True

        @property
        def is_static(self) -> bool:
            return False

        def render(self, flat: int | None = None) -> None:
            if not self.present:
                return
            if flat is None:
                gl.glColor3f(*self.colour)
            else:
                gl.glColor3f(0, flat / 255, 0)
            gl.glDisable(gl.GL_TEXTURE_2D)
            gl.glEnable(gl.GL_NORMALIZE)
            gl.glPushMatrix()
            gl.glTranslatef(*self.pos)
            gl.glRotatef(self.dir * 180 / np.pi, 0, 1, 0)
            gl.glScalef(self.size, self.size, self.size)
            quadric = gl.gluNewQuadric()
            if self.thing.shape == 'ball':
                gl.glTranslatef(0, 0.55, 0)
                gl.gluSphere(quadric, 0.55, 20, 14)
            elif self.thing.shape == 'box':
                from miniworld.opengl import drawBox
                drawBox(-0.45, 0.45, 0, 0.9, -0.45, 0.45)
            else:
                gl.glRotatef(-90, 1, 0, 0)
                if self.thing.shape == 'cone':
                    gl.gluCylinder(quadric, 0.6, 0.0, 1.4, 20, 1)
                else:
                    gl.gluCylinder(quadric, 0.24, 0.24, 2.3, 16, 1)
            gl.gluDeleteQuadric(quadric)
            gl.glPopMatrix()

    class HouseEnvironment(MiniWorldEnv):  # type: ignore[misc]
        """MiniWorld with one of our houses in it."""

        house: House | None = None
        rng = np.random.default_rng(0)
        flat_fb: Any = None

        def __init__(self) -> None:
            params = DEFAULT_PARAMS.copy()
            params.set('cam_height', CAMERA_HEIGHT, CAMERA_HEIGHT - 0.05, CAMERA_HEIGHT + 0.05)
            params.set('cam_pitch', -4, -6, -2)
            params.set('cam_fov_y', 60, 58, 62)
            params.set('light_pos', [7.5, 6.0, 5.0], [4.0, 5.0, 2.0], [11.0, 8.0, 8.0])
            params.set(
                'light_color', [0.55, 0.55, 0.55], [0.45, 0.45, 0.45], [0.65, 0.65, 0.65])
            params.set(
                'light_ambient', [0.5, 0.5, 0.5], [0.42, 0.42, 0.42], [0.58, 0.58, 0.58])
            super().__init__(
                obs_width=width, obs_height=height, window_width=width, window_height=height,
                params=params, domain_rand=True)
            self.flat_fb = FrameBuffer(width, height, 1)

        def _gen_world(self) -> None:
            house = self.house
            if house is None:
                load_textures()
                self.add_rect_room(0, 5, 0, 5)
                self.agent.pos, self.agent.dir = np.array([2.5, 0, 2.5]), 0.0
                self.entities.append(self.agent)
                return
            for name, (column, row) in zip(house.rooms, house.cells, strict=True):
                wall, wall_tint, floor, floor_tint = LOOKS[name]
                x, z = column * ROOM_SIZE, row * ROOM_SIZE
                outline = np.array([
                    [x + ROOM_SIZE, z + ROOM_SIZE], [x + ROOM_SIZE, z], [x, z],
                    [x, z + ROOM_SIZE]])
                room = LookRoom(
                    outline, wall_tex=wall, floor_tex=floor, ceil_tex=CEILING)
                shade = self.rng.uniform(0.92, 1.0)
                room.wall_tint = tuple(shade * np.array(wall_tint))
                room.floor_tint = tuple(shade * np.array(floor_tint))
                self.rooms.append(room)
            half = DOOR_WIDTH / 2
            for one, other in house.doors:
                x, z = house.door(one, other)
                for here, away in ((one, other), (other, one)):
                    step = np.subtract(house.cells[away], house.cells[here])
                    edge = {(1, 0): 0, (0, -1): 1, (-1, 0): 2, (0, 1): 3}[tuple(step.tolist())]
                    if step[0]:
                        self.rooms[here].add_portal(
                            edge, min_z=z - half, max_z=z + half, max_y=2.3)
                    else:
                        self.rooms[here].add_portal(
                            edge, min_x=x - half, max_x=x + half, max_y=2.3)
            for thing in house.things:
                colour = np.clip(
                    np.array(COLOURS[thing.colour]) + self.rng.uniform(-0.04, 0.04, 3), 0, 1)
                self.entities.append(Solid(thing, colour, float(self.rng.uniform(0.95, 1.1))))
            self.agent.pos, self.agent.dir = np.array([*house.centre(0), 0])[[0, 2, 1]], 0.0
            self.entities.append(self.agent)

        def _render_world(self, frame_buffer: Any, render_agent: bool) -> Any:
            if frame_buffer is not self.flat_fb:
                return super()._render_world(frame_buffer, render_agent)
            gl.glDisable(gl.GL_LIGHTING)
            gl.glDisable(gl.GL_TEXTURE_2D)
            gl.glDisable(gl.GL_DITHER)
            # Else the numbers of neighbours would be mixed along their edges.
            gl.glDisable(gl.GL_MULTISAMPLE)
            gl.glCallList(2)
            number = 0
            for entity in self.entities:
                if entity is not self.agent:
                    number += 1
                    entity.render(flat=number)
            return frame_buffer.resolve()

        def _render_static(self) -> None:
            super()._render_static()
            gl.glDeleteLists(2, 1)
            gl.glNewList(2, gl.GL_COMPILE)
            for number, room in enumerate(self.rooms):
                if isinstance(room, LookRoom):
                    room._render(flat=number + 1)
            gl.glEndList()

    return HouseEnvironment()


class Renderer:
    """
    Draws frames of one house at a time; all renderers of a process share one drawing context.

    :raises ConfigurationError: MiniWorld or headless EGL is missing.
    """

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        try:
            with redirect_stdout(io.StringIO()):  # remarks on multisampling
                self._environment = _environment(width, height)
        except ImportError as error:
            raise ConfigurationError(
                f"the simulator is not installed ({error}): pip install '.[world]' in a clone",
            ) from error
        except Exception as error:  # pyglet raises what the driver makes it raise
            raise ConfigurationError(
                f'the simulator cannot draw here ({type(error).__name__}: {error}); install '
                'libegl1 libgl1-mesa-dri libglu1-mesa with apt') from error

    def enter(self, house: House) -> None:
        """Build a house; its lights, tints and camera mount follow from its seed."""
        self._environment.house = house
        self._environment.rng = np.random.default_rng([house.seed, 2])
        self._environment.reset(seed=house.seed)

    def look(
        self, x: float, z: float, heading: float,
        present: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    ) -> tuple[Picture, Picture, Picture]:
        """
        Draw one view.

        :param heading: radians, counter-clockwise seen from above; 0 looks along +x.
        :param present: which of the house's things stand there, in their order; None: all.
        :return: the picture uint8 [H, W, 3]; each pixel's room number + 1 and each pixel's object
            number + 1 (0: none), uint8 [H, W].
        """
        agent = self._environment.agent
        agent.pos, agent.dir = np.array([x, 0.0, z]), heading
        things = [entity for entity in self._environment.entities if entity is not agent]
        for index, thing in enumerate(things):
            thing.present = present is None or bool(present[index])
        picture = self._environment.render_obs()
        flat = self._environment.render_obs(self._environment.flat_fb)
        return picture, flat[..., 0], flat[..., 1]
