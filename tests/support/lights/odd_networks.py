"""One junction of four arms with any signal programs: built once by netconvert, then written with other programs.

Links 0 to 11 are right, straight and left from north, east, south and west. With ``walks`` the crossings over the
north, east, south and west arm are links 12 to 15; with ``tram`` a tram line is link 12.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from scenarios.common.sumo_tools import sumo_home

Rows = list[tuple[float, str]]

TWO_STAGES: Rows = [(30, "GGgrrrGGgrrr"), (3, "yyyrrryyyrrr"), (30, "rrrGGgrrrGGg"), (3, "rrryyyrrryyy")]
FOUR_STAGES: Rows = [
    (20, "GGgrrrrrrrrr"),
    (4, "yyyrrrrrrrrr"),
    (20, "rrrGGgrrrrrr"),
    (4, "rrryyyrrrrrr"),
    (20, "rrrrrrGGgrrr"),
    (4, "rrrrrryyyrrr"),
    (20, "rrrrrrrrrGGg"),
    (4, "rrrrrrrrryyy"),
]
ALL_RED: Rows = [
    (40, "GGgrrrGGgrrr"),
    (3, "yyyrrryyyrrr"),
    (5, "rrrrrrrrrrrr"),
    (40, "rrrGGgrrrGGg"),
    (3, "rrryyyrrryyy"),
    (2, "rrrrrrrrrrrr"),
]
STAGGERED: Rows = [
    (30, "GGgrrrGGgrrr"),
    (2, "yyyrrrGGgrrr"),
    (2, "yyyrrryyyrrr"),
    (2, "rrrrrryyyrrr"),
    (1, "rrruuurrruuu"),
    (30, "rrrGGgrrrGGg"),
    (1, "rrryyyrrrGGg"),
    (3, "rrryyyrrryyy"),
    (1, "rrrrrrrrryyy"),
    (1, "uuurrruuurrr"),
]
NO_YELLOW: Rows = [(35, "GGgrrrGGgrrr"), (35, "rrrGGgrrrGGg")]
FRACTIONS: Rows = [(30, "GGgrrrGGgrrr"), (3.5, "yyyrrryyyrrr"), (30, "rrrGGgrrrGGg"), (3.5, "rrryyyrrryyy")]
#: All cars, then people alone for 12 s, who then have 8 s to get off the road.
SCRAMBLE: Rows = [
    (30, "GGgrrrGGgrrrrrrr"),
    (3, "yyyrrryyyrrrrrrr"),
    (30, "rrrGGgrrrGGgrrrr"),
    (3, "rrryyyrrryyyrrrr"),
    (12, "rrrrrrrrrrrrGGGG"),
    (8, "rrrrrrrrrrrrrrrr"),
]
#: People walk beside the cars, and stop 6 s before these do.
BESIDE: Rows = [
    (25, "GGgrrrGGgrrrrGrG"),
    (6, "GGgrrrGGgrrrrrrr"),
    (3, "yyyrrryyyrrrrrrr"),
    (25, "rrrGGgrrrGGgGrGr"),
    (6, "rrrGGgrrrGGgrrrr"),
    (3, "rrryyyrrryyyrrrr"),
]
TRAM: Rows = [
    (30, "GGgrrrGGgrrrr"),
    (3, "yyyrrryyyrrrr"),
    (30, "rrrGGgrrrGGgr"),
    (3, "rrryyyrrryyyr"),
    (10, "rrrrrrrrrrrrG"),
    (4, "rrrrrrrrrrrry"),
]
NEMA = """<tlLogic id="c" type="NEMA" programID="0" offset="0">
<phase duration="90" state="GGgrrrrrrrrr" minDur="5" maxDur="30" vehext="2" yellow="4" red="1" name="2"/>
<phase duration="90" state="rrrrrrGGgrrr" minDur="5" maxDur="30" vehext="2" yellow="3" red="2" name="6"/>
<phase duration="90" state="rrrGGgrrrrrr" minDur="5" maxDur="30" vehext="2" yellow="3" red="1" name="4"/>
<phase duration="90" state="rrrrrrrrrGGg" minDur="5" maxDur="30" vehext="2" yellow="3" red="1" name="8"/>
<param key="barrier2Phases" value="2,6"/><param key="barrierPhases" value="4,8"/>
<param key="ring1" value="0,2,0,4"/><param key="ring2" value="0,6,0,8"/></tlLogic>"""


def logic(rows: Rows, program: str = "0", kind: str = "static", offset: str = "0") -> str:
    """A ``tlLogic`` of the junction; greens of adaptive kinds last 5 to 40 s."""
    bounds = ' minDur="5" maxDur="40"'
    phases = "".join(
        f'<phase duration="{duration_s:g}" state="{state}"'
        f"{bounds if kind != 'static' and set(state) & set('Gg') and 'y' not in state else ''}/>"
        for duration_s, state in rows
    )
    return f'<tlLogic id="c" type="{kind}" programID="{program}" offset="{offset}">{phases}</tlLogic>'


def write_network(folder: Path, *logics: str, walks: bool = False, tram: bool = False) -> Path:
    """The junction with these programs."""
    text = _junction(walks, tram)
    path = folder / "cross.net.xml"
    path.write_text(re.sub(r"<tlLogic.*?</tlLogic>", "\n".join(logics), text, count=1, flags=re.DOTALL))
    return path


@cache
def _junction(walks: bool, tram: bool) -> str:
    folder = Path(mkdtemp(prefix="greenloop-test-"))
    ends = {"n": (0, 200), "e": (200, 0), "s": (0, -200), "w": (-200, 0)}
    nodes = ['<node id="c" x="0" y="0" type="traffic_light"/>']
    nodes += [f'<node id="{name}" x="{x}" y="{y}" type="priority"/>' for name, (x, y) in ends.items()]
    sidewalk = ' sidewalkWidth="2"' if walks else ""
    edges = [
        f'<edge id="{a}{b}" from="{a}" to="{b}" numLanes="1" speed="13.89" disallow="tram"{sidewalk}/>'
        for name in ends
        for a, b in ((name, "c"), ("c", name))
    ]
    if tram:
        nodes += ['<node id="t1" x="-150" y="150"/>', '<node id="t2" x="150" y="-150"/>']
        edges += [
            f'<edge id="{name}" from="{a}" to="{b}" numLanes="1" speed="13.89" allow="tram"/>'
            for name, a, b in (("tin", "t1", "c"), ("tout", "c", "t2"))
        ]
    (folder / "x.nod.xml").write_text(f"<nodes>{''.join(nodes)}</nodes>")
    (folder / "x.edg.xml").write_text(f"<edges>{''.join(edges)}</edges>")
    options = ["--no-turnarounds", "true", "--no-warnings", "--crossings.guess", str(walks).lower()]
    files = ["-n", folder / "x.nod.xml", "-e", folder / "x.edg.xml", "-o", folder / "x.net.xml"]
    command = [sumo_home() / "bin" / "netconvert", *files, *options]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return (folder / "x.net.xml").read_text()
