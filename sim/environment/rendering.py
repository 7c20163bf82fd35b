"""Pictures of the simulation: the network, its lights and vehicles, drawn with pillow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scenarios.spec import ScenarioError
from sim.engine.scene import LaneShape, Scene
from sim.network import Network

#: Longer side of a picture, in pixels, its margin, and how much finer it is drawn before it is reduced.
SIZE, MARGIN, FINER = 800, 24, 2
GROUND, ROAD, JUNCTION, INK = (248, 247, 243), (205, 205, 201), (218, 218, 214), (40, 40, 40)
#: Vehicles that stand, and that drive as fast as they may.
STANDING, FREE = np.array([196, 60, 40]), np.array([30, 105, 165])
LIGHTS = {"green": (20, 150, 80), "yellow": (235, 170, 0), "red": (200, 40, 40)}
#: Backends of matplotlib that write files only.
_NO_WINDOW = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
_LEAST_VEHICLE_PX, _LIGHT_M = 3.0, 3.0

Point = tuple[float, float]


class Painter:
    """Draws one network; roads are drawn once.

    Args:
        network: its signals' lights are drawn at their stop lines.
        shapes: every lane by id.
    """

    def __init__(self, network: Network, shapes: Mapping[str, LaneShape]) -> None:
        points = np.concatenate([shape.points_m for shape in shapes.values()])
        self.low_m, self.high_m = points.min(axis=0), points.max(axis=0)
        extent_m = np.maximum(self.high_m - self.low_m, 1.0)
        self.scale = (SIZE - 2 * MARGIN) * FINER / float(extent_m.max())
        pixels = extent_m * self.scale + 2 * MARGIN * FINER
        # even numbers of pixels: video encoders ask for them
        self.size = (2 * round(float(pixels[0]) / FINER / 2), 2 * round(float(pixels[1]) / FINER / 2))
        self.lines = self._stop_lines(network, shapes)
        self.ground = self._ground(shapes)

    def frame(self, scene: Scene) -> NDArray[np.uint8]:
        """The picture of a moment, (height, width, 3)."""
        image = self.ground.copy()
        draw = ImageDraw.Draw(image)
        for corners, colour in self._vehicles(scene):
            draw.polygon(corners, fill=colour)
        for signal, lanes in self.lines.items():
            state = scene.lights.get(signal, "")
            for line, links in lanes:
                draw.line(line, fill=_light(state, links), width=max(2 * FINER, int(1.2 * self.scale)))
        small = image.resize(self.size, Image.Resampling.BOX)
        hours, seconds = divmod(int(scene.time_s), 3600)
        text = f"{hours:02}:{seconds // 60:02}:{seconds % 60:02}   {len(scene.length_m)} vehicles"
        ImageDraw.Draw(small).text((8, 6), text, fill=INK, font=ImageFont.load_default(14))
        return np.asarray(small, np.uint8).copy()

    def _pixels(self, points_m: NDArray[np.float64]) -> list[Point]:
        """North is up."""
        x = (points_m[..., 0] - self.low_m[0]) * self.scale + MARGIN * FINER
        y = (self.high_m[1] - points_m[..., 1]) * self.scale + MARGIN * FINER
        return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]

    def _ground(self, shapes: Mapping[str, LaneShape]) -> Image.Image:
        image = Image.new("RGB", (self.size[0] * FINER, self.size[1] * FINER), GROUND)
        draw = ImageDraw.Draw(image)
        for shape in sorted(shapes.values(), key=lambda shape: not shape.inside):  # junctions lie below
            width = max(FINER, round(shape.width_m * self.scale))
            draw.line(self._pixels(shape.points_m), fill=JUNCTION if shape.inside else ROAD, width=width, joint="curve")
        return image

    def _stop_lines(
        self, network: Network, shapes: Mapping[str, LaneShape]
    ) -> dict[str, list[tuple[list[Point], tuple[int, ...]]]]:
        """Per signal and incoming lane: a line across the lane's end, and the links that the lane leads to."""
        lines: dict[str, list[tuple[list[Point], tuple[int, ...]]]] = {}
        for signal in network.signals:
            for lane in signal.lanes:
                shape = shapes.get(network.lanes[lane])
                if shape is None or len(shape.points_m) < 2:
                    continue
                along = shape.points_m[-1] - shape.points_m[-2]
                across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
                half_m = max(shape.width_m / 2, _LIGHT_M * FINER / self.scale)
                ends = np.array([shape.points_m[-1] - half_m * across, shape.points_m[-1] + half_m * across])
                links = tuple(movement.link for movement in signal.movements if movement.lane == lane)
                lines.setdefault(signal.id, []).append((self._pixels(ends), links))
        return lines

    def _vehicles(self, scene: Scene) -> list[tuple[list[Point], tuple[int, int, int]]]:
        """Corners and colour of each; small ones are drawn large enough to see."""
        least_m = _LEAST_VEHICLE_PX * FINER / self.scale
        length_m, half_m = np.maximum(scene.length_m, 1.5 * least_m), max(0.9, least_m / 2)
        along = np.column_stack([np.cos(scene.heading_rad), np.sin(scene.heading_rad)])
        across = np.column_stack([-along[:, 1], along[:, 0]]) * half_m
        front, back = scene.position_m, scene.position_m - along * length_m[:, None]
        corners = np.stack([front + across, front - across, back - across, back + across], axis=1)
        share = scene.speed_share[:, None]
        colours = np.round(STANDING * (1 - share) + FREE * share).astype(int).tolist()
        return [(self._pixels(corner), (r, g, b)) for corner, (r, g, b) in zip(corners, colours, strict=True)]


class Window:
    """A window that shows frames, by matplotlib.

    Raises:
        ScenarioError: no window can be opened here.
    """

    def __init__(self) -> None:
        import matplotlib as mpl
        import matplotlib.pyplot as plt

        self.plt: Any = plt
        self.image: Any = None
        backend = mpl.get_backend()
        try:
            if backend.lower() in _NO_WINDOW:
                raise RuntimeError("it writes files only")
            self.figure, self.axes = plt.subplots(layout="constrained")
        except Exception as error:  # each toolkit has errors of its own
            said = " ".join(str(error).split())
            raise ScenarioError(
                f"render_mode='human' cannot open a window with matplotlib's {backend} ({said}); "
                "use 'rgb_array', or a machine with a display."
            ) from error
        self.axes.axis("off")

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Show a frame and let the window draw."""
        if self.image is None:
            self.image = self.axes.imshow(frame)
            self.plt.show(block=False)
        else:
            self.image.set_data(frame)
        self.plt.pause(0.001)

    def close(self) -> None:
        """Close the window."""
        self.plt.close(self.figure)


def _light(state: str, links: tuple[int, ...]) -> tuple[int, int, int]:
    """Green if any link of the lane may go, otherwise yellow if any has it."""
    shown = {state[link] for link in links if link < len(state)}
    if shown & set("Gg"):
        return LIGHTS["green"]
    return LIGHTS["yellow"] if shown & set("yYu") else LIGHTS["red"]
