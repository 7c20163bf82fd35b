"""The command line: bad input in one sentence each, help that is quick, machine-readable answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cli import doctor
from benchmarks.cli import main as cli
from benchmarks.results import run_result as results
from benchmarks.results.cases import network_file
from benchmarks.results.run_result import RESULT_SUFFIX
from llm.tasks.files import files as task_files
from llm.tasks.files import write_shard
from llm.tasks.registry import made
from scenarios import registry
from tests.support.llm_tiny import write_model
from tests.support.records import make_record
from tests.support.synthetic_results import make_network, make_result

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def greenloop(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a user's own, good and bad, under short names."""
    folder = tmp_path_factory.mktemp("files")
    source = registry.load("cologne1")
    net = source.net_file.read_text()
    (folder / "good.net.xml").write_text(net)
    (folder / "good.rou.xml").write_text(source.route_files[0].read_text())
    (folder / "cut.net.xml").write_text(net[: len(net) // 2])
    (folder / "cut.rou.xml").write_text((folder / "good.rou.xml").read_text()[:500])
    (folder / "empty.rou.xml").write_text("<routes/>")
    (folder / "text.net.xml").write_text("hello")
    (folder / "bare.net.xml").write_text(re.sub(r"(?s)<tlLogic.*?</tlLogic>", "", net).replace(' tl="', ' nottl="'))
    one_phase = re.sub(r"(?s)(<tlLogic[^>]*>\s*<phase[^>]*/>).*?(</tlLogic>)", r"\1\2", net)
    (folder / "onephase.net.xml").write_text(one_phase)
    (folder / "bad.yaml").write_text("name: x\nnet_file: good.net.xml\nroute_files: [good.rou.xml]\nend: 5\n")
    (folder / "incident.yaml").write_text(
        "name: x\nnet_file: good.net.xml\nroute_files: [good.rou.xml]\nbegin_s: 25200\nend_s: 28800\n"
        "incidents: [{type: crash, edge: nowhere, lanes: [0], start_s: 0, duration_s: 60}]\n"
    )
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "suite.yaml").write_text("name: x\nversion: 0\nscenarios: [a]\ncontrollers: [b]\nseeds: [1]\n")
    (folder / "syntax.py").write_text("class Mine(\n")
    (folder / "nobody.py").write_text("x = 1\n")
    (folder / "file").write_text("")
    return folder


OWN = ["--net", "{f}/good.net.xml", "--routes", "{f}/good.rou.xml"]
ONE = ["--scenario", "cologne1", "--seeds", "1", "--minutes", "1"]
BAD = {
    "nothing asked": ([], "Say what to run: --scenario"),
    "unknown scenario": (["--scenario", "colonge8"], "no scenario 'colonge8'; did you mean cologne8"),
    "missing scenario file": (["--scenario", "none.yaml"], r"none\.yaml"),
    "scenario with a wrong key": (["--scenario", "{f}/bad.yaml"], r"bad\.yaml.*end"),
    "scenario that is no mapping": (["--scenario", "{f}/list.yaml"], r"list\.yaml must hold a mapping"),
    "missing net": (["--net", "none.net.xml", *OWN[2:]], r"none\.net\.xml cannot be read"),
    "broken net": (["--net", "{f}/cut.net.xml", *OWN[2:]], r"cut\.net\.xml is not complete"),
    "text as net": (["--net", "{f}/text.net.xml", *OWN[2:]], r"text\.net\.xml is not complete"),
    "incident on no road": (["--scenario", "{f}/incident.yaml"], "nowhere"),
    "net without signals": (["--net", "{f}/bare.net.xml", *OWN[2:]], "has no traffic signals"),
    "signal that cannot be controlled": (
        ["--net", "{f}/onephase.net.xml", *OWN[2:]],
        "no signal that can be controlled: Signal .* nothing to choose",
    ),
    "missing routes": ([*OWN[:2], "--routes", "none.rou.xml"], r"none\.rou\.xml cannot be read"),
    "broken routes": ([*OWN[:2], "--routes", "{f}/cut.rou.xml"], r"cut\.rou\.xml is not complete"),
    "empty routes": ([*OWN[:2], "--routes", "{f}/empty.rou.xml"], "nothing to simulate"),
    "net without routes": (OWN[:2], "which traffic drives"),
    "routes without net": (OWN[2:], "Routes need the network"),
    "unknown controller": ([*ONE, "--controller", "greddy"], "no controller 'greddy'; did you mean 'greedy'"),
    "unknown parameter": ([*ONE, "--controller", "greedy:x=1"], "has no parameter 'x'"),
    "missing controller file": ([*ONE, "--controller", "none.py:X"], r"none\.py does not exist"),
    "controller file with an error": ([*ONE, "--controller", "{f}/syntax.py:Mine"], r"syntax\.py.*SyntaxError"),
    "controller file without it": ([*ONE, "--controller", "{f}/nobody.py:Mine"], "no class 'Mine'"),
    "unknown suite": (["--suite", "quik"], "no suite 'quik'; did you mean 'quick'"),
    "suite with a bad value": (["--suite", "{f}/suite.yaml"], r"suite\.yaml: version"),
    "unknown timings": ([*ONE, "--timings", "fast"], "no timings 'fast'; choose native"),
    "too many seeds": (["--scenario", "cologne1", "--seeds", "1-99999999999"], "are more than 10,000"),
    "bad seeds": (["--scenario", "cologne1", "--seeds", "a"], "Seeds 'a' make no sense"),
    "no time": (["--scenario", "cologne1", "--minutes", "0"], "measured time is 0 min"),
    "too much demand": ([*ONE, "--demand-scale", "99"], "scale"),
    "baseline not run": ([*ONE, "--baseline", "sotl"], "'sotl' is not among the controllers"),
    "no workers": ([*ONE, "--workers", "0"], "0 workers make no sense"),
    "folder that cannot be made": ([*ONE, "--out", "{f}/file/out"], "cannot be written"),
    "file as folder": ([*ONE, "--out", "{f}/file"], "file is a file, not a folder"),
    "read-only folder": ([*ONE, "--out", "/proc/greenloop"], "cannot be written"),
    "unknown backend": ([*ONE, "--backend", "carrier-pigeon"], "no backend 'carrier-pigeon'; choose libsumo or traci"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_before_anything_runs(greenloop: Run, files: Path, name: str) -> None:
    arguments, says = BAD[name]
    code, out, err = greenloop("run", *(argument.format(f=files) for argument in arguments))
    assert code == 2, err
    assert out == ""
    assert err.startswith("greenloop: ")
    assert err.count("\n") == 1
    assert re.search(says, err), err
    assert "unexpected" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--sede", "1"],
        ["run", "--minutes", "x"],
        ["run", "--decision-limit-s", "-1"],
        ["run", "--cell-limit-s", "-1"],
        ["rum"],
        ["plot", "--only", "pie", "x"],
        ["validate"],
    ],
)
def test_wrong_options_end_with_code_2_and_no_traceback(greenloop: Run, arguments: list[str]) -> None:
    code, _, err = greenloop(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert err


def test_an_unknown_tag_names_the_nearest(greenloop: Run) -> None:
    code, out, err = greenloop("scenarios", "--tag", "held-out")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"greenloop: No scenario has the tag 'held-out'; did you mean held_out.*\?\n", err)


def test_a_sweep_with_failing_controllers_ranks_the_others(greenloop: Run, files: Path) -> None:
    code = (
        "from greenloop import Controller\n\nclass Mine(Controller):\n    def act(self, seen):\n        return 1 / 0\n"
    )
    (files / "raises.py").write_text(code)
    arguments = [*ONE, "--controller", "fixed_time", "--controller", f"{files}/raises.py:Mine", "--out", "r"]
    status, out, err = greenloop("run", *arguments)
    assert status == 1
    assert "ZeroDivisionError: division by zero (raises.py, line 5)" in " ".join(err.split())
    assert "Signal timings: native (yellow as in the network's programs" in out
    assert "fixed_time" in out
    assert "Figure:" in err
    assert (Path("r") / "figures" / "cologne1_1min_delay.png").exists()
    assert len(list(Path("r").glob("*.failed.json"))) == 1
    status, out, _ = greenloop("run", *ONE, "--controller", "fixed_time", "--out", "r", "--json", "--no-figures")
    answer = json.loads(out)
    assert status == 0
    assert [row["controller"] for row in answer["comparison"]["rows"]] == ["fixed_time"]
    assert answer["failed"] == []


def test_validate_tells_what_is_there(greenloop: Run, files: Path) -> None:
    code, out, _ = greenloop("validate", *(argument.format(f=files) for argument in OWN))
    assert code == 0
    assert "1 signals (1 controllable)" in out
    assert "2015 vehicles in 60 min" in out
    code, out, _ = greenloop("validate", "cologne8", "--json")
    found = json.loads(out)
    assert len(found["signals"]) == 8
    assert all(signal["phases"] >= 2 and signal["neighbours"] for signal in found["signals"])
    code, out, _ = greenloop("validate", files / "onephase.net.xml")
    assert code == 1
    assert "Problem: No signal can be controlled." in out
    assert "nothing to choose" in out


def test_protected_foes_of_native_programs_are_reported(greenloop: Run) -> None:
    """One signal of ingolstadt21 shows protected green to left turns that cross."""
    _, out, _ = greenloop("validate", "ingolstadt21", "--json")
    found = json.loads(out)
    pairs = {signal["id"]: signal["protected_foes"] for signal in found["signals"] if signal["protected_foes"]}
    assert pairs == {"gneJ210": [[6, 8], [7, 9]]}
    assert any("gneJ210" in note and "protected green" in note for note in found["notes"])


def test_lists_are_readable_by_eyes_and_machines(greenloop: Run) -> None:
    _, out, _ = greenloop("scenarios", "--tag", "real")
    assert "ingolstadt21" in out
    assert "non-commercial" in " ".join(out.split())
    _, out, _ = greenloop("scenarios", "--tag", "held_out", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert "cologne1" not in rows
    assert rows["cologne8"]["signals"] == 8
    _, out, _ = greenloop("controllers")
    assert "max_pressure" in out
    _, out, _ = greenloop("controllers", "--json")
    assert {"fixed_time", "greedy", "lookahead"} <= {row["name"] for row in json.loads(out)}


def test_plot_draws_from_a_folder(greenloop: Run, tmp_path: Path) -> None:
    results.write(make_result(), tmp_path / "r" / f"a{RESULT_SUFFIX}")
    results.write(make_network(), network_file(tmp_path / "r", "b" * 64))
    (tmp_path / "r" / f"b{RESULT_SUFFIX}").write_text("{")
    code, out, err = greenloop("plot", "r", "--only", "delay", "--json")
    assert code == 0
    assert re.search(r"Left out: .*b\.result\.json is truncated", err)
    assert [Path(name).name for name in json.loads(out)] == [
        f"cologne1_incidents_60min_delay.{e}" for e in ("pdf", "svg", "png")
    ]
    code, out, _ = greenloop("plot", "--list")
    assert {"delay", "time_space", "phases"} <= {line.split()[0] for line in out.splitlines()}
    code, _, err = greenloop("plot", "nowhere")
    assert code == 2
    assert "holds no results" in err


def test_doctor_has_a_line_for_each_thing(greenloop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = greenloop("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert {"Python", "SUMO", "libsumo", "RESCO networks", "default model", "disk", "packages"} <= set(checks)
    assert checks["SUMO"]["ok"]
    assert checks["libsumo"]["ok"]
    assert code == (0 if all(check["ok"] for check in checks.values()) else 1)
    monkeypatch.setattr(doctor, "_sumo_binary", lambda: doctor.Check("SUMO", False, "missing"))
    code, out, _ = greenloop("doctor")
    assert code == 1
    assert "PROBLEM SUMO" in out


def test_help_is_quick_and_shows_examples() -> None:
    """The best of a few, because the machine may be busy."""
    best_s = 9.0
    for _ in range(5):
        begin_s = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.cli.main", "--help"], capture_output=True, text=True, check=True
        )
        best_s = min(best_s, time.perf_counter() - begin_s)
    assert "greenloop run --suite quick" in done.stdout
    assert best_s < 0.5


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import benchmarks.cli.main", "torch transformers numpy pandas scipy matplotlib pydantic rich sumolib"),
        ("import greenloop", "torch transformers pandas scipy matplotlib typer sumolib"),
        (
            "from benchmarks.cli import main as cli\ntry: cli.main('run --scenario cologne1 --minutes 1 --seeds 1 "
            "--controller fixed_time --out {out}'.split())\nexcept SystemExit as e: assert not e.code",
            "torch transformers peft",
        ),
        (
            "from benchmarks.run.cell import *\nfrom scenarios import registry\ns = registry.load('cologne1')\n"
            "run_cell(Cell(s.with_(end_s=s.begin_s + 60), 'fixed_time', 1))",
            "torch transformers peft pandas scipy matplotlib",
        ),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path: Path, code: str, heavy: str) -> None:
    code = code.replace("{out}", str(tmp_path))
    script = f"{code}\nimport sys\nprint('LOADED', *(set(sys.modules) & set('{heavy}'.split())))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_the_face_names_what_it_has() -> None:
    import greenloop

    assert all(getattr(greenloop, name) is not None for name in greenloop.__all__)
    assert set(greenloop.__all__) == set(greenloop._PLACES) <= set(dir(greenloop))
    with pytest.raises(AttributeError, match="greenloop has no 'conquer'"):
        greenloop.conquer  # noqa: B018


def test_json_of_a_training_is_all_that_stdout_gets(tmp_path: Path) -> None:
    """In a process of its own, since the Trainer's own talk goes to the real stdout."""
    model, records, task = write_model(tmp_path / "llama"), tmp_path / "records", made("decide")
    for split, first, count in (("train", 0, 64), ("validation", 100, 16)):
        rows = [make_record(first + i) for i in range(count)]
        write_shard(task, records / split / "0.jsonl.gz", split, rows)
    task_files(task).write_manifest(records, {})
    options = ["--model", model, "--layers", "1", "--rank", "2", "--teacher", "shipped", "--epochs", "1", "--json"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.cli.main",
        "train",
        "--records",
        records,
        "--out",
        tmp_path / "out",
        *options,
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["taught_records"] > 0
    assert f"{records}: 64 train records, 16 validation records" in done.stderr
    assert done.stderr.count("greenloop train is now: greenloop train decide") == 1


def test_ctrl_c_says_what_is_kept(greenloop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.cli.doctor.doctor", stopped)
    assert greenloop("doctor") == (130, "", f"{cli.STOPPED}\n")
