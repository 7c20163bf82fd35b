"""Bulletins of a user's own, labelled ones with placeholders, and named mixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios.common.errors import ScenarioError
from scenarios.words.files import WordsError, labelled, read_bulletins
from scenarios.words.gazetteer import Gazetteer, invented
from scenarios.words.mixes import MIXES, mix, shares
from scenarios.words.truth import TYPES, Bulletin

PLACES = invented(5)
ROW = {
    "text": "{s1} shut at {s2} towards {s3} from {t+15}, {p1}",
    "source": "police",
    "kind": "announcement",
    "type": "road_closure",
    "streets": ["{s1}", "{s2}", "{p1}"],
    "direction": "{s3}",
    "starts_in_min": 15,
    "lasts_min": None,
    "length_class": None,
    "lanes_blocked": "all",
    "vehicles": None,
    "certain": True,
}


def write(folder: Path, name: str, *rows: Any) -> Path:
    file = folder / name
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


def test_bulletins_of_ones_own(tmp_path: Path) -> None:
    table = write(
        tmp_path, "own.csv", "time,source,text", '07:30,police,"Crash, Mill Street"', "90.5,,Rain", "25:00,radio,x"
    )
    found = read_bulletins(table)
    assert found.bulletins == (Bulletin(27_000.0, "police", "Crash, Mill Street"), Bulletin(90.5, "unknown", "Rain"))
    assert found.problems == (f"{table}, line 4: the time '25:00' is none; give seconds from 0 on, or HH:MM.",)
    lines = write(tmp_path, "own.jsonl", {"time": 60, "source": "radio", "text": "é\x00"}, "{", "[1]", {"time": 1}, "")
    found = read_bulletins(lines)
    assert [bulletin.text for bulletin in found.bulletins] == ["é\x00"]
    assert len(found.problems) == 3
    assert "line 4: there is no text" in found.problems[2]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("own.txt", b"x", "neither .csv nor .jsonl"),
        ("own.csv", b"when,what\n1,2\n", "no column 'text'"),
        ("own.csv", b"\xff\xfe", "not in UTF-8"),
        ("missing.csv", None, "missing.csv"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ScenarioError, match=sentence):
        read_bulletins(tmp_path / name)


def test_placeholders_are_filled_from_the_gazetteer(tmp_path: Path) -> None:
    (label,) = labelled(write(tmp_path, "words.jsonl", ROW), PLACES)
    truth, text = label.truth, label.bulletin.text
    assert "{" not in text
    main, second, landmark = truth.streets
    assert text.startswith(f"{main} shut at {second} towards {truth.direction} from ")
    assert second in PLACES.crossing[main]
    assert landmark in {place.name for place in PLACES.landmarks}
    minute = int(label.bulletin.time_s // 60) + 15
    assert f"from {minute // 60:02d}:{minute % 60:02d}," in text
    assert labelled(tmp_path / "words.jsonl", PLACES) == [label]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "poem"}, "line 1: 'kind' is 'poem'; give one of new"),
        ({"lanes_blocked": "some"}, "'lanes_blocked' is 'some'"),
        ({"streets": "{s1}"}, "'streets' is"),
        ({"text": "{x1}"}, "the placeholder '{x1}' is unknown"),
        ({"lasts_min": True}, "'lasts_min' is True"),
    ],
)
def test_labels_that_are_none(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=sentence):
        labelled(write(tmp_path, "words.jsonl", {**ROW, **changes}), PLACES)


def test_a_network_with_too_few_places_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="needs 1 streets, and the network has 0"):
        labelled(write(tmp_path, "words.jsonl", ROW), Gazetteer(()))
    with pytest.raises(WordsError, match="holds no bulletins"):
        labelled(write(tmp_path, "words.jsonl", ""), PLACES)


@pytest.mark.parametrize("name", MIXES)
def test_mixes_name_types(name: str) -> None:
    assert set(mix(name).events_per_h) <= set(TYPES) - {"none"}
    assert sum(shares(mix(name)).values()) == pytest.approx(1)


def test_a_mix_that_there_is_not() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'storm'"):
        mix("strom")
