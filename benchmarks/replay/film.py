"""A short film of one run, or of two side by side, for slides: an animated GIF, or MP4 where imageio-ffmpeg is there.

Drawn with Pillow, twice as large as shown and then made smaller, which smooths all edges. The colours are those of the
page (light), read from its style sheet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures.maps.credit import credit
from benchmarks.replay.choice import Chosen, ReplayError
from benchmarks.replay.data import CAR, EMERGENCY, STANDING_MPS, WRECK, incidents, place_of, vehicle_kind
from benchmarks.trace.lane_shapes import Floats, Ints
from benchmarks.trace.trace_file import Trace

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

#: Pixels across the whole film, and how much larger it is drawn.
WIDTH_PX, ENLARGED = 960, 2
HEAD_PX, FOOT_PX, MARGIN_PX = 46, 30, 14
FRAMES_PER_S, STEP_S = 12, 2
DEFAULT_MINUTES = 4.0
#: As in ``map.js``: so many standing vehicles colour a lane in each shade.
SHADES = (1, 4, 8, 14)
CAR_M, CAR_WIDTH_M = 4.6, 1.9
ENDINGS = (".gif", ".mp4")


@dataclass(frozen=True)
class Span:
    """Which part of the run is shown, s on SUMO's clock; the busiest minutes where nothing is said."""

    begin_s: float | None = None
    minutes: float | None = None


def write(chosen: Sequence[Chosen], names: Sequence[str], out: Path, span: Span | None = None) -> tuple[int, float]:
    """Write the film; its ending says which kind. Returns the number of frames and the size in MB.

    Raises:
        ReplayError: another ending, MP4 without imageio-ffmpeg, or the file cannot be written.
        FigureError: the time asked for lies outside the run.
    """
    from benchmarks.figures.selection import Choice, window

    if out.suffix.lower() not in ENDINGS:
        raise ReplayError(f"A film is a .gif or an .mp4, not {out.name}; name it so.")
    span = span or Span()
    wish = Choice(begin_s=span.begin_s, minutes=span.minutes)
    begin_s, end_s = window([one.trace for one in chosen], wish, DEFAULT_MINUTES)
    film = Film(chosen, names)
    times_s = range(int(begin_s), max(int(end_s), int(begin_s) + STEP_S), STEP_S)
    save = _save_gif if out.suffix.lower() == ".gif" else _save_mp4
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save((film.frame(time_s) for time_s in times_s), film.size, out)
    except OSError as error:
        raise ReplayError(f"The film {out} cannot be written ({error.strerror or error}); choose another.") from error
    return len(times_s), out.stat().st_size / 1e6


def _save_gif(frames: Iterator[Image.Image], _size: tuple[int, int], out: Path) -> None:
    from PIL import Image

    palette = _palette()
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    shown[0].save(out, save_all=True, append_images=shown[1:], duration=round(1000 / FRAMES_PER_S), loop=0)


def _palette() -> Image.Image:
    """The film's colours and their mixtures at smoothed edges: one palette of 256 for all frames."""
    from PIL import Image, ImageColor

    shades = {name: np.array(ImageColor.getrgb(value)) for name, value in colours().items()}
    grounds = [shades[name] for name in ("ground", "street", "paper")]
    mixed = [*grounds, *shades.values()]
    for part in (0.66, 0.33):
        mixed += [part * shade + (1 - part) * ground for shade in shades.values() for ground in grounds]
    unique = np.unique(np.rint(mixed).astype(np.uint8), axis=0)[:256]
    made = Image.new("P", (1, 1))
    made.putpalette(np.vstack([unique, np.repeat(unique[:1], 256 - len(unique), 0)]).ravel().tolist())
    return made


def _save_mp4(frames: Iterator[Image.Image], size: tuple[int, int], out: Path) -> None:
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]
    except ImportError as error:
        raise ReplayError(
            "An .mp4 needs imageio-ffmpeg, which is not installed: pip install 'greenloop[video]', or make a .gif."
        ) from error
    writer = imageio_ffmpeg.write_frames(str(out), size, fps=FRAMES_PER_S, macro_block_size=2, ffmpeg_log_level="error")
    writer.send(None)
    for frame in frames:
        writer.send(frame.convert("RGB").tobytes())
    writer.close()


class Film:
    """Draws a second of all runs."""

    def __init__(self, chosen: Sequence[Chosen], names: Sequence[str]) -> None:
        about = chosen[0].trace.about
        self.title = f"{about.scenario}, seed {about.seed}"
        self.credit = credit(about.licence)
        low_m, high_m = _extent(chosen[0].trace)
        ratio = float((high_m[1] - low_m[1]) / max(high_m[0] - low_m[0], 1.0))
        across = 1 if ratio < 0.6 or len(chosen) == 1 else 2
        width = WIDTH_PX // across
        height = int(np.clip(width * ratio, 180, 620 if across == 2 else 460))
        rows = -(-len(chosen) // across)
        self.size = (WIDTH_PX, 2 * ((rows * (height + HEAD_PX) + FOOT_PX) // 2))
        self.panels = [
            Panel(one.trace, name, number, _Place(low_m, high_m, width, height, number, across))
            for number, (one, name) in enumerate(zip(chosen, names, strict=True))
        ]
        self.ground = self._ground()

    def frame(self, time_s: int) -> Image.Image:
        """One frame, as shown."""
        from PIL import Image, ImageDraw

        image = self.ground.copy()
        draw = ImageDraw.Draw(image)
        for panel in self.panels:
            panel.draw(draw, time_s)
        y = image.height - FOOT_PX * ENLARGED // 2
        clock = f"{time_s // 3600 % 24:02d}:{time_s // 60 % 60:02d}:{time_s % 60:02d}"
        _text(draw, (MARGIN_PX, y / ENLARGED), clock, 17, "ink", bold=True, anchor="lm")
        _text(draw, (MARGIN_PX + 96, y / ENLARGED), self.title, 13, "quiet", anchor="lm")
        return image.resize(self.size, Image.Resampling.LANCZOS)

    def _ground(self) -> Image.Image:
        """Everything that stays."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (self.size[0] * ENLARGED, self.size[1] * ENLARGED), colours()["paper"])
        draw = ImageDraw.Draw(image)
        for panel in self.panels:
            panel.draw_ground(draw)
        if self.credit:
            at = (self.size[0] - MARGIN_PX, self.size[1] - FOOT_PX / 2)
            _text(draw, at, self.credit, 11, "quiet", anchor="rm")
        return image


class _Place:
    """Where a panel lies in the film, and how its metres become pixels of the enlarged drawing."""

    def __init__(self, low_m: Floats, high_m: Floats, width: int, height: int, number: int, across: int) -> None:
        column, row = number % across, number // across
        self.left, self.top = column * width, row * (height + HEAD_PX)
        self.width, self.height = width, height
        size_m = np.maximum(high_m - low_m, 1.0)
        fits = min((width - 2 * MARGIN_PX) / size_m[0], (height - 2 * MARGIN_PX) / size_m[1])
        self.scale = ENLARGED * float(fits)
        self.middle_m = (low_m + high_m) / 2
        self.middle = np.array([self.left + width / 2, self.top + HEAD_PX + height / 2]) * ENLARGED

    def pixels(self, points_m: Floats) -> Floats:
        """(N, 2) metres to pixels, y downwards."""
        return np.asarray(self.middle + (points_m - self.middle_m) * self.scale * np.array([1.0, -1.0]), np.float64)

    def metres(self, length_m: float, least_px: float) -> float:
        """A length in pixels, at least so many of the film's."""
        return max(length_m * self.scale, least_px * ENLARGED)


class Panel:
    """One run in its place."""

    def __init__(self, trace: Trace, name: str, number: int, place: _Place) -> None:
        self.trace, self.name, self.number, self.place = trace, name, number, place
        streets, vehicles = trace.map, trace.vehicles
        self.lines = [place.pixels(streets.lines.of(lane)) for lane in range(len(streets.lanes))]
        numbers = {lane: k for k, lane in enumerate(streets.lanes)}
        self.lane_of = np.array([numbers.get(lane, -1) for lane in trace.lanes], np.int64)
        self.order = np.argsort(vehicles.time_s, kind="stable")
        self.sorted_s = vehicles.time_s[self.order]
        self.turn = headings(trace)
        self.kinds = np.array([vehicle_kind(kind) for kind in vehicles.types], np.int64)
        self.incidents = [
            (incident, place.pixels(place_of(trace, incident))) for incident in incidents(trace) if incident["lanes"]
        ]

    def draw_ground(self, draw: ImageDraw.ImageDraw) -> None:
        """Streets, in their place."""
        place, shade = self.place, colours()
        corner = (place.left * ENLARGED, (place.top + HEAD_PX) * ENLARGED)
        draw.rectangle(
            (*corner, corner[0] + place.width * ENLARGED, corner[1] + place.height * ENLARGED), shade["ground"]
        )
        junctions = self.trace.map.junctions
        for outline in (place.pixels(junctions.of(k)) for k in range(len(junctions))):
            draw.polygon(_flat(outline), fill=shade["junction"])
        for lane, line in enumerate(self.lines):
            motor = bool(self.trace.map.motor[lane])
            width = place.metres(0.9 * self.trace.map.width_m[lane], 1.2 if motor else 0.6)
            draw.line(_flat(line), fill=shade["street" if motor else "path"], width=round(width), joint="curve")
        at = (place.left + MARGIN_PX, place.top + 15)
        draw.rectangle(_box(at[0], at[1] - 2, 14, 4), fill=shade[f"run-{self.number}"])
        _text(draw, (at[0] + 20, at[1]), self.name, 15, "ink", bold=True, anchor="lm")

    def draw(self, draw: ImageDraw.ImageDraw, time_s: int) -> None:
        """All that changes."""
        low, high = np.searchsorted(self.sorted_s, [time_s, time_s + 1])
        rows = self.order[low:high]
        vehicles = self.trace.vehicles
        traffic = rows[self.kinds[vehicles.vehicle[rows]] != WRECK]
        standing = traffic[vehicles.speed_mps[traffic] < STANDING_MPS]
        self._queues(draw, standing)
        self._vehicles(draw, rows)
        self._lights(draw, time_s)
        self._incidents(draw, time_s)
        delay_s = self.trace.journeys.delay_s(time_s)
        delay = "" if np.isnan(delay_s) else f"delay so far {delay_s:.1f} s/veh    "
        said = f"{delay}{len(traffic)} driving, {len(standing)} standing"
        _text(draw, (self.place.left + MARGIN_PX, self.place.top + 34), said, 13, "quiet", anchor="lm")

    def _queues(self, draw: ImageDraw.ImageDraw, standing: Ints) -> None:
        lanes = self.lane_of[self.trace.vehicles.lane[standing]]
        found, counts = np.unique(lanes[lanes >= 0], return_counts=True)
        for lane, queue_veh in zip(found, counts, strict=True):
            shade = sum(queue_veh >= bound for bound in SHADES) - 1
            width = self.place.metres(0.9 * self.trace.map.width_m[lane], 1.6 + shade)
            draw.line(_flat(self.lines[lane]), fill=colours()[f"queue-{shade}"], width=round(width), joint="curve")

    def _vehicles(self, draw: ImageDraw.ImageDraw, rows: Ints) -> None:
        vehicles, shade = self.trace.vehicles, colours()
        front = self.place.pixels(np.stack([vehicles.x_m[rows], vehicles.y_m[rows]], 1))
        along = np.stack([np.cos(self.turn[rows]), -np.sin(self.turn[rows])], 1)
        across = along[:, ::-1] * [-1.0, 1.0] * self.place.metres(CAR_WIDTH_M, 2.2) / 2
        back = front - along * self.place.metres(CAR_M, 4.2)
        corners = np.stack([front + across, front - across, back - across, back + across], 1)
        kinds, speeds = self.kinds[vehicles.vehicle[rows]], vehicles.speed_mps[rows]
        for outline, kind, speed_mps in zip(corners, kinds, speeds, strict=True):
            pace = "standing" if speed_mps < STANDING_MPS else "slow" if speed_mps < 5 else "moving"
            draw.polygon(_flat(outline), fill=shade[{CAR: pace, WRECK: "wreck", EMERGENCY: "emergency"}[int(kind)]])

    def _lights(self, draw: ImageDraw.ImageDraw, time_s: int) -> None:
        """A stroke towards each approach, in the colour that it sees; green where any of its lanes has it."""
        lamps = {"G": "green", "g": "green", "y": "yellow", "Y": "yellow", "u": "yellow", "r": "red", "s": "red"}
        rank = ("off", "red", "yellow", "green")
        numbers = {lane: k for k, lane in enumerate(self.trace.map.lanes)}
        for name, signal in self.trace.about.signals.items():
            state, middle = self.trace.signals[name].at(time_s), self.place.pixels(np.array(signal.position_m))
            seen: dict[str, tuple[int, Floats]] = {}
            for link in signal.links:
                lane = numbers.get(link.from_lane)
                lamp = rank.index(lamps.get(state[link.link], "off")) if link.link < len(state) else 0
                if lane is not None and lamp >= seen.get(link.from_road, (-1,))[0]:
                    seen[link.from_road] = lamp, self.lines[lane][-1]
            for lamp, stop in sorted(seen.values(), key=lambda pair: pair[0]):
                way = (stop - middle) / max(float(np.hypot(*(stop - middle))), 1e-6)
                ends = [*(middle + way * 5 * ENLARGED), *(middle + way * 9 * ENLARGED)]
                draw.line(ends, fill=colours()[rank[lamp]], width=round(3.6 * ENLARGED))

    def _incidents(self, draw: ImageDraw.ImageDraw, time_s: int) -> None:
        for incident, (x, y) in self.incidents:
            if not incident["begin_s"] <= time_s < incident["end_s"]:
                continue
            size = 8 * ENLARGED
            triangle = [(x, y - size), (x + size, y + 0.8 * size), (x - size, y + 0.8 * size)]
            draw.polygon(triangle, fill=colours()["incident"], outline=colours()["ground"])
            left = x / ENLARGED > self.place.left + 0.6 * self.place.width
            at = (x / ENLARGED + (-12 if left else 12), y / ENLARGED)
            _text(draw, at, incident["what"], 12, "ink", bold=True, anchor="rm" if left else "lm")


def headings(trace: Trace) -> Floats:
    """(N,) where each vehicle points in each sample, radians from east; a standing one points as it last came."""
    vehicles = trace.vehicles
    if not len(vehicles.time_s):
        return np.zeros(0)
    owner = vehicles.vehicle
    dx, dy = np.diff(vehicles.x_m, append=0.0), np.diff(vehicles.y_m, append=0.0)
    moves = (np.hypot(dx, dy) > 0.5) & (np.diff(owner, append=-1) == 0)
    known = np.where(moves, np.arange(len(owner)), -1)
    latest = np.maximum.accumulate(known)
    following = np.minimum.accumulate(np.where(moves, np.arange(len(owner)), len(owner))[::-1])[::-1]
    own = (latest >= 0) & (owner[np.maximum(latest, 0)] == owner)
    source = np.where(own, latest, np.minimum(following, len(owner) - 1))
    return np.arctan2(dy[source], dx[source])


def _extent(trace: Trace) -> tuple[Floats, Floats]:
    lines = trace.map.lines
    return np.array([lines.x_m.min(), lines.y_m.min()]), np.array([lines.x_m.max(), lines.y_m.max()])


def _flat(points: Floats) -> list[float]:
    return [float(value) for value in points.ravel()]


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x * ENLARGED, y * ENLARGED, (x + width) * ENLARGED, (y + height) * ENLARGED


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: str, *, anchor: str,
    bold: bool = False,
) -> None:  # fmt: skip
    """Text on a pale halo, so that it can be read on streets, too; places and sizes in the film's pixels."""
    place, halo = (at[0] * ENLARGED, at[1] * ENLARGED), ENLARGED if bold and size < 15 else 0
    draw.text(
        place, text, fill=colours()[colour], font=_font(size * ENLARGED, bold), anchor=anchor, stroke_width=2 * halo,
        stroke_fill=colours()["paper"],
    )  # fmt: skip


@cache
def _font(size: int, bold: bool) -> Any:
    """DejaVu, which comes with matplotlib and has every letter of a street name."""
    from matplotlib import font_manager
    from PIL import ImageFont

    wanted = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return ImageFont.truetype(font_manager.findfont(wanted), size)


@cache
def colours() -> dict[str, str]:
    """The page's light colours by name."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style.partition("@media")[0]))
