"""What may be learnt from: held-out networks, seeds and wordings stay out, in whatever form they come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.records.collect import Plan
from llm.records import splits
from llm.records.shards import RecordError, file_sha256
from llm.records.splits import check_split, check_wording
from llm.tasks.decide.task import DecideSettings
from llm.tasks.files import files, write_shard
from llm.tasks.registry import made
from scenarios import registry, resco
from scenarios.city import generator as city
from scenarios.incidents.wordings import WORDINGS
from scenarios.spec import Scenario
from tests.support.records import make_record

FILLED = {"clock": "about 07:10", "street": "Ring 5", "lanes": "one of two lanes", "to": "Am Hof", "vehicles": 120}
REAL = [name for name, row in resco.RESCO.items() if "held_out" in row[0]]
CITY = "city-3-905"

TASK = made("decide")
FILES = files(TASK)


def scenario(*tags: str, net: Path | None = None) -> Scenario:
    return resco.load("cologne1").with_(tags=tags, **({"net_file": net} if net else {}))


def rewritten(net: Path, folder: Path) -> Path:
    """The same network in another file: other bytes, and everything half a kilometre further east."""
    tree = ElementTree.parse(net)
    for junction in tree.iter("junction"):
        junction.set("x", f"{float(junction.attrib['x']) + 500:.2f}")
    tree.write(folder / "mine.net.xml")
    return folder / "mine.net.xml"


# --- networks and seeds


@pytest.mark.parametrize("name", [*REAL, CITY])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_held_out_networks_are_refused(name: str, split: str) -> None:
    with pytest.raises(RecordError, match="held out"):
        check_split(registry.load(name), split, 9000)


@pytest.mark.parametrize("name", ["cologne3", CITY])
def test_a_held_out_network_in_another_file_under_another_name_is_refused(name: str, tmp_path: Path) -> None:
    net = registry.load(name).net_file
    splits._held_out_layouts.cache_clear()  # the city may be new
    for copy in (net, rewritten(net, tmp_path)):
        with pytest.raises(RecordError, match="held out"):
            check_split(scenario("train", net=copy), "train", 9000)


def test_a_scenario_file_cannot_give_a_held_out_network_another_tag(tmp_path: Path) -> None:
    registry.load(CITY).with_(name="mine", tags=("train",)).to_yaml(tmp_path / "mine.yaml")
    splits._held_out_layouts.cache_clear()
    with pytest.raises(RecordError, match="mine is held out"):
        Plan("decide", "train", 1, DecideSettings(), (str(tmp_path / "mine.yaml"),)).drawn()


def test_a_network_of_ones_own_may_be_recorded(tmp_path: Path) -> None:
    check_split(scenario("train", net=rewritten(resco.load("cologne1").net_file, tmp_path)), "train", 9000)


def test_a_network_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.net.xml"
    for text in ("", "<net><junction id='a' x='1' y='north'/></net>", "<net><junction id='a'/></net>"):
        file.write_text(text)
        with pytest.raises(RecordError, match=r"mine\.net\.xml cannot be read"):
            check_split(scenario("train", net=file), "train", 9000)


@pytest.mark.parametrize(
    ("tags", "split", "seed", "words"),
    [
        (("train", "held_out"), "train", 9000, "held out"),
        (("validation",), "train", 9000, "not tagged 'train'"),
        (("train",), "validation", 9000, "not tagged 'validation'"),
        ((), "train", 9000, "not tagged"),
        (("train",), "train", 1, "Seed 1 is kept for results"),
        (("validation",), "validation", 4999, "Seed 4999"),
        (("train",), "test", 9000, "splits train and validation"),
    ],
)
def test_other_splits_and_seeds_are_refused(tags: tuple[str, ...], split: str, seed: int, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        check_split(scenario(*tags), split, seed)


def test_what_may_be_recorded() -> None:
    check_split(scenario("train", "real"), "train", 1000)
    check_split(scenario("validation"), "validation", 5000)


def test_the_cities_of_the_splits_are_others() -> None:
    assert {frozenset({"held_out"} & {*city.tags(seed)}) for seed in (*range(520),)} == {frozenset()}
    assert all("held_out" in city.tags(seed) for seed in range(900, 920))


# --- wordings


def sentences(split: str) -> list[str]:
    templates = [t for w in WORDINGS[split].values() for t in (*w.opened, *w.cleared)]
    return [text[:1].upper() + text[1:] for text in (template.format(**FILLED) for template in templates)]


@pytest.mark.parametrize("text", sentences("held_out"))
def test_held_out_wordings_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="held-out wording"):
        check_wording(text)
    record = make_record()
    prompt = record.prompt.replace("\nBest", f"\nReport before A: {text}\nBest")
    with pytest.raises(RecordError, match="held-out wording"):
        write_shard(TASK, tmp_path / "a.jsonl.gz", "train", [replace(record, prompt=prompt)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", sentences("train"))
def test_training_wordings_are_let_in(text: str) -> None:
    check_wording(f"change3\nReport before A: {text}\nBest phase:")


# --- records from anywhere


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scenario": "cologne3"}, "records of cologne3, which is held out"),
        ({"scenario": CITY}, f"records of {CITY}, which is held out"),
        ({"network_sha256": "cologne8"}, "records of hand, which is held out"),
        ({"seed": 3}, "Seed 3 is kept for results"),
        ({"prompt": sentences("held_out")[0]}, "held-out wording"),
    ],
)
@pytest.mark.parametrize("split", FILES.splits)
def test_records_are_looked_at_again_before_they_are_learnt(
    change: dict[str, str | int], words: str, split: str, tmp_path: Path
) -> None:
    record = make_record()
    if "network_sha256" in change:
        change = {"network_sha256": file_sha256(resco.load(str(change["network_sha256"])).net_file)}
    if "prompt" in change:
        change = {"prompt": record.prompt.replace("\nBest", f"\nReport before A: {change['prompt']}\nBest")}
    bad = replace(record, **change)  # type: ignore[arg-type]
    FILES.write(tmp_path / split / "0.jsonl.gz", [record, bad])  # as another program would
    FILES.write_manifest(tmp_path, {})
    assert json.loads((tmp_path / "manifest.json").read_text())["counts"][split]["records"] == 2
    with pytest.raises(RecordError, match=rf"0\.jsonl\.gz may not be used for {split}: .*{words}"):
        FILES.read_split(tmp_path, split)
