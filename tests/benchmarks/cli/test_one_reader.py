"""What ``validate`` says, ``run`` does: both read every odd file, with the same verdict and the same sentence."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.cli import validate
from benchmarks.run.benchmark import Request, plan
from benchmarks.run.cell import run_cell
from scenarios.spec import ScenarioError
from sim.network import NetworkError
from tests.support.crossroads import routes, write_crossroads

CAR = '<vehicle id="v" depart="5"><route edges="nc cs"/></vehicle>'
LOST = '<vehicle id="lost" depart="6"><route edges="nc cn"/></vehicle>'


@dataclass
class Files:
    """A network and routes, to be made odd."""

    net: Path
    routes: list[Path]

    def rewrite(self, pattern: str, value: str) -> None:
        text = self.net.read_text(encoding="utf-8")
        changed = re.sub(pattern, value, text, count=1)
        assert changed != text
        self.net.write_text(changed, encoding="utf-8")

    def traffic(self, body: str) -> None:
        self.routes = [routes(body, self.net.parent)]

    def pack(self) -> None:
        for file in (self.net, *self.routes):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        self.net = self.net.with_name(f"{self.net.name}.gz")
        self.routes = [file.with_name(f"{file.name}.gz") for file in self.routes]

    def move(self, name: str) -> None:
        folder = self.net.parent / name
        folder.mkdir()
        self.net = self.net.rename(folder / self.net.name)
        self.routes = [file.rename(folder / file.name) for file in self.routes]

    def zones(self) -> None:
        taz = routes('<taz id="a" edges="nc"/><taz id="b" edges="cs"/>', self.net.parent, "t.add.xml", "additional")
        self.routes = [taz, routes('<trip id="t" depart="3" fromTaz="a" toTaz="b"/>', self.net.parent)]

    def pipe(self) -> None:
        self.routes[0].unlink()
        os.mkfifo(self.routes[0])


#: What is done to the files, and whether they can be used then.
ODD: dict[str, tuple[Callable[[Files], object], bool]] = {
    "nothing odd": (lambda files: None, True),
    "packed": (Files.pack, True),
    "commas, spaces and umlauts": (lambda files: files.move("a,b $c ü"), True),
    "one without a route": (lambda files: files.traffic(CAR + LOST), True),
    "none with a route": (lambda files: files.traffic(LOST), False),
    "zones": (Files.zones, True),
    "no such zone": (lambda files: files.traffic(CAR + '<trip id="t" depart="9" fromTaz="a" toTaz="b"/>'), True),
    "junctions": (lambda files: files.traffic('<trip id="t" depart="3" fromJunction="n" toJunction="s"/>'), True),
    "late clock": (lambda files: files.traffic(CAR.replace('"5"', '"1709251205.5"')), True),
    "persons": (lambda files: files.traffic(CAR + '<person id="p" depart="9"><walk edges="nc"/></person>'), True),
    "unknown road": (lambda files: files.traffic(CAR.replace("cs", "xx")), False),
    "unknown type": (lambda files: files.traffic(CAR.replace("<vehicle", '<vehicle type="q"')), False),
    "unknown stop": (lambda files: files.traffic(CAR.replace("</v", '<stop lane="x" duration="1"/></v')), False),
    "no such lane": (lambda files: files.traffic(CAR.replace("<vehicle", '<vehicle departLane="3"')), False),
    "too fast": (lambda files: files.traffic(CAR.replace("<vehicle", '<vehicle departSpeed="99"')), False),
    "one id twice": (lambda files: files.traffic(CAR + CAR), False),
    "a pipe": (Files.pipe, False),
    "closed to cars": (lambda files: files.rewrite('<lane id="nc_0"', '<lane id="nc_0" allow="bus"'), False),
    "foes of another size": (lambda files: files.rewrite(r'foes="\d+"', 'foes="1"'), False),
    "a phase of no length": (lambda files: files.rewrite(r'<phase duration="\d+"', '<phase duration="0"'), False),
    "one way over the junction less": (lambda files: files.rewrite(r"<connection from=\"nc\"[^>]*/>", ""), False),
    "a negative length": (lambda files: files.rewrite(r' length="[\d.]+"', ' length="-1"'), False),
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_crossroads(tmp_path_factory.mktemp("cross")).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", ODD)
def test_validate_and_run_agree(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    make, usable = ODD[case]
    (tmp_path / "x.net.xml").write_text(net, encoding="utf-8")
    files = Files(tmp_path / "x.net.xml", [routes(CAR, tmp_path)])
    make(files)
    validated = _verdict(lambda: validate.execute(None, files.net, tuple(files.routes), as_json=True))
    ran = _verdict(lambda: _run(files, tmp_path / "results"))
    assert validated == ran
    assert (validated == "usable") == usable


def _verdict(command: Callable[[], int]) -> str:
    try:
        return "usable" if command() == 0 else "not usable"
    except (NetworkError, ScenarioError) as error:
        return str(error)


def _run(files: Files, out: Path) -> int:
    request = Request(net=files.net, routes=tuple(files.routes), controllers=("fixed_time",), seeds=(1,), out=out)
    (cell,) = plan(request).cells
    return 0 if run_cell(cell).metrics["scheduled_veh"] == 1 else 1


def test_the_clock_of_the_day_since_1970_changes_nothing(net: str, tmp_path: Path) -> None:
    """Shifted by whole cycles, the same vehicles meet the same lights."""
    (tmp_path / "x.net.xml").write_text(net, encoding="utf-8")
    delays_s = []
    for shift_s in (0, 90 * 18_991_680):
        body = "".join(
            f'<vehicle id="v{k}" depart="{shift_s + 3.5 * k:.1f}"><route edges="{road}"/></vehicle>'
            for k, road in enumerate(["nc cs", "ec cw", "nc cw"] * 3)
        )
        files = Files(tmp_path / "x.net.xml", [routes(body, tmp_path)])
        request = Request(
            net=files.net, routes=tuple(files.routes), controllers=("fixed_time",), seeds=(1,), out=tmp_path
        )
        (cell,) = plan(request).cells
        delays_s.append(run_cell(cell).metrics["delay_s"])
    assert delays_s[0] == pytest.approx(delays_s[1], abs=1e-6)
