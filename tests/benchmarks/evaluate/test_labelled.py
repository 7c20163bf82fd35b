"""``greenloop evaluate read --words`` and ``greenloop read``, from the command line to the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cli.main import main

LINES = (
    '{"text": "Crash on {s1} near {s2}, one lane blocked", "source": "police", "kind": "new", "type": "crash", '
    '"streets": ["{s1}", "{s2}"], "lanes_blocked": 1}\n'
    '{"text": "Lovely tickets for sale", "source": "radio", "kind": "irrelevant", "type": "none", "streets": []}\n'
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def test_a_labelled_file_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "words.jsonl"
    file.write_text(LINES)
    command = ("evaluate", "read", "--words", str(file), "--scenario", "cologne3", "--answerer", "rules")
    code, out, _ = run(capsys, *command, "--json")
    found = json.loads(out)
    assert (code, found["slot_f1"], found["exact"], found["records"]) == (0, 1.0, 1.0, 2)
    assert found["answerers"]["rules"]["kinds"]["new"]["bulletins"] == 1
    assert found["slots"]["place"] == 1.0
    code, out, _ = run(capsys, *command)
    assert "slot F1" in out
    code, _, err = run(capsys, "evaluate", "forecast", "--words", str(file))
    assert code == 2
    assert "Task 'forecast' has no files of its own" in err


def test_ones_own_bulletins_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.csv"
    file.write_text("time,source,text\n07:00,radio,Heavy rain from 07:20\n07:00,radio,\n99:00,radio,x\n")
    code, out, err = run(capsys, "read", str(file), "--scenario", "cologne3", "--json")
    rain, empty = json.loads(out)
    assert (code, rain["type"], rain["starts_in_min"], empty["kind"]) == (0, "weather", 20.0, "irrelevant")
    assert "line 4: the time '99:00' is none" in err
    assert "bulletin 2: The bulletin is empty" in err
