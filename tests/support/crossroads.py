"""A crossroads with one signal: roads nc, sc, ec, wc lead in and cn, cs, ce, cw lead out, 200 m each."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scenarios.common.sumo_tools import sumo_home

ENDS = {"n": (0, 200), "s": (0, -200), "e": (200, 0), "w": (-200, 0)}


def write_crossroads(folder: Path) -> Path:
    """Write ``cross.net.xml`` into a folder."""
    nodes = '<node id="c" x="0" y="0" type="traffic_light"/>' + "".join(
        f'<node id="{end}" x="{x}" y="{y}"/>' for end, (x, y) in ENDS.items()
    )
    edges = "".join(
        f'<edge id="{start}{goal}" from="{start}" to="{goal}" numLanes="1" speed="13.9"/>'
        for end in ENDS
        for start, goal in ((end, "c"), ("c", end))
    )
    (folder / "cross.nod.xml").write_text(f"<nodes>{nodes}</nodes>")
    (folder / "cross.edg.xml").write_text(f"<edges>{edges}</edges>")
    net = folder / "cross.net.xml"
    arguments = ["-n", folder / "cross.nod.xml", "-e", folder / "cross.edg.xml", "-o", net, "--no-turnarounds"]
    subprocess.run([sumo_home() / "bin" / "netconvert", *arguments], check=True, capture_output=True)
    return net


def routes(body: str, folder: Path, name: str = "r.rou.xml", root: str = "routes") -> Path:
    """Write a routes file, or an additional one with ``root="additional"``."""
    file = folder / name
    file.write_text(f"<{root}>{body}</{root}>", encoding="utf-8")
    return file
