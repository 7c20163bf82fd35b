"""``greenloop train-rl`` on real simulations: what it leaves, how it goes on after a stop, what it refuses."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main as cli
from benchmarks.rl import curves as rl_curves
from benchmarks.rl import training as train_rl
from benchmarks.rl import training_folder as rl_runs
from benchmarks.rl.training_folder import FIRST_SEED, Episode, Training, TrainingError
from benchmarks.run.cell import Cell, run_cell, stem
from controllers.learnt.reinforcement import CARD, COLUMNS, WEIGHTS, load_policy
from llm.records.shards import only_writer
from scenarios import registry

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (pip install 'greenloop[rl]')")

from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.rl import checkpoints
from benchmarks.rl.policies import make_model
from benchmarks.rl.vector_env import SignalsVecEnv

#: Three rounds of two minutes on cologne1: 72 decisions.
SHORT = Training("ppo", ("cologne1",), steps=60, minutes=2.0)


def quiet(episode: Episode, share: float) -> None:
    """Tell nobody."""


def weights(folder: Path) -> list[np.ndarray]:
    return [array for layer in load_policy(folder)[0].layers for array in layer]


@pytest.mark.parametrize("algorithm", rl_runs.ALGORITHMS)
def test_a_stopped_training_goes_on_to_the_same_policy(algorithm: str, tmp_path: Path) -> None:
    training = replace(SHORT, algorithm=algorithm)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    cards = train_rl.train(training, (1,), whole, quiet)

    def stop_in_the_last_round(episode: Episode, share: float) -> None:
        if share == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_rl.train(training, (1,), stopped, stop_in_the_last_round, checkpoint_s=0)
    assert not (stopped / "seed-1").exists()
    assert [path.name for path in (stopped / "checkpoints" / "seed-1").iterdir()] == ["round-000002"]
    told: list[float] = []
    train_rl.train(training, (1,), stopped, lambda _, share: told.append(share))
    assert told == [1.0]  # only what was missing
    for one, other in zip(weights(whole / "seed-1"), weights(stopped / "seed-1"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rl_runs.read_curves(stopped) == rl_runs.read_curves(whole)
    assert not (stopped / "checkpoints").exists()
    assert (cards[0]["rounds"], cards[0]["steps"]) == (3, 72)


def test_shared_parameters_seeds_curves_and_card(tmp_path: Path) -> None:
    """Two networks of one and two signals, two policies; a second call keeps what is finished."""
    training = Training("ppo", ("cologne1", "city-2-1"), steps=30, minutes=1.0)
    cards = train_rl.train(training, (1, 2), tmp_path, quiet)
    rows = rl_runs.read_curves(tmp_path)
    assert {(row.policy_seed, row.scenario) for row in rows} == {
        (seed, name) for seed in (1, 2) for name in training.scenarios
    }
    assert len({row.seed for row in rows}) == len(rows)  # every simulation has dice of its own
    assert all(row.seed >= FIRST_SEED and row.delay_s > 0 and row.reward <= 0 for row in rows)
    assert [card["signals"] for card in cards] == [3, 3]
    assert cards[0]["steps"] == rows[-1].steps == 36
    assert set(cards[0]["scenarios"]) == set(training.scenarios)
    assert {"sumo", "torch", "stable-baselines3"} <= set(cards[0]["versions"])
    first, second = (weights(tmp_path / f"seed-{k}") for k in (1, 2))
    assert not np.array_equal(first[0], second[0])
    kept = (tmp_path / "seed-1" / WEIGHTS).stat().st_mtime_ns
    again = train_rl.train(training, (1, 2), tmp_path, quiet)
    assert (tmp_path / "seed-1" / WEIGHTS).stat().st_mtime_ns == kept
    assert [card["wall_s"] for card in again] == [card["wall_s"] for card in cards]
    assert len(rl_curves.draw(training, rows, tmp_path)) == 3
    assert set(rl_curves.by_seed(rows)) == {1, 2}


def test_a_policy_runs_like_every_controller(tmp_path: Path) -> None:
    """Through the one door, deterministic, on any number of phases; another policy is another cell."""
    train_rl.train(replace(SHORT, steps=20), (1,), tmp_path, quiet)
    folder = tmp_path / "seed-1"
    spec = f"reinforcement:folder={folder}"
    whole = registry.load("grid4x4")  # eight phases; it was trained with four
    scenario = whole.with_(end_s=whole.begin_s + 60)
    first, again = (run_cell(Cell(scenario, spec, seed=1)) for _ in range(2))
    latency = {name for name in first.metrics if "latency" in name}
    assert {k: v for k, v in first.metrics.items() if k not in latency} == pytest.approx(
        {k: v for k, v in again.metrics.items() if k not in latency}, abs=0, nan_ok=True
    )
    assert first.controller.deterministic
    assert first.controller.loaded["policy_weights_sha256"] == load_policy(folder)[1]["weights_sha256"]
    assert first.metrics.get("repairs_unknown_phase", 0) == 0
    before = stem(Cell(scenario, spec, seed=1), "0" * 64)
    policy, card = load_policy(folder)
    policy.save(folder, {**card, "steps": 1})
    assert stem(Cell(scenario, spec, seed=1), "0" * 64) != before


BAD: dict[str, tuple[dict[str, object], str]] = {
    "held out": ({"scenarios": ("cologne3",)}, "cologne3 may not be trained on, because it is held out"),
    "one of several": ({"scenarios": ("cologne1", "ingolstadt1")}, "ingolstadt1 may not be trained on"),
    "validation city": ({"scenarios": ("city-2-501",)}, "city-2-501 may not be trained on, because it is not tagged"),
    "algorithm": ({"algorithm": "sac"}, "no algorithm 'sac'; choose dqn or ppo"),
    "timings": ({"timings": "fast"}, "no timings 'fast'; choose native"),
    "copies": ({"copies": 3}, "copies 1 to 2"),
    "minutes": ({"minutes": -1.0}, "-1 min makes no sense"),
    "nothing": ({"scenarios": ()}, "Say what to train on"),
    "hours": ({"hours": 0.0}, "0 h makes no sense"),
    "two scored networks": (
        {"scenarios": ("cologne3", "ingolstadt1"), "on_scored_network": True},
        "trains on one network, the one that scores it, not 2",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_trained_is_one_sentence(what: str, tmp_path: Path) -> None:
    changes, sentence = BAD[what]
    with pytest.raises(TrainingError, match=sentence):
        train_rl.train(replace(SHORT, **changes), (1,), tmp_path / "out", quiet)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_rival_learns_on_the_network_that_scores_it_only_when_told_so(tmp_path: Path) -> None:
    training = Training("dqn", ("cologne3",), steps=0, minutes=1.0, hours=0.03, on_scored_network=True)
    (card,) = train_rl.train(training, (1,), tmp_path, quiet)
    assert card["on_scored_network"] is True
    assert (card["rounds"], card["steps"], card["simulated_h"]) == (2, 2 * 12 * 3, 0.03)
    assert card["command"].endswith(
        "--hours 0.03 --seeds 1-1 --timings native --copies 1 --minutes 1 --on-scored-network"
    )
    with pytest.raises(TrainingError, match="it is held out"):
        rl_runs.load_scenarios(replace(training, on_scored_network=False))
    with pytest.raises(TrainingError, match=r"holds another training \(on_scored_network is True, not None\)"):
        rl_runs.open_folder(replace(training, on_scored_network=False), tmp_path)


def test_a_copy_of_a_held_out_network_is_refused(tmp_path: Path) -> None:
    source = registry.load("cologne3")
    copy = source.with_(name="mine", tags=["train"])
    copy.to_yaml(tmp_path / "mine.yaml")
    with pytest.raises(TrainingError, match="mine may not be trained on, because it is held out"):
        rl_runs.load_scenarios(replace(SHORT, scenarios=(str(tmp_path / "mine.yaml"),)))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("algorithm", rl_runs.ALGORITHMS)
def test_whatever_a_checkpoint_holds_ends_in_a_sentence_and_runs_nothing(algorithm: str, tmp_path: Path) -> None:
    class OneEnv(SignalsVecEnv):
        def __init__(self) -> None:
            VecEnv.__init__(self, 1, Box(0.0, np.inf, (4, len(COLUMNS)), np.float32), Discrete(4))

    model = make_model(algorithm, OneEnv(), 1, 24, 72)
    checkpoints.save(tmp_path, model, 3, 1.5)
    (whole,) = tmp_path.iterdir()
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    checkpoints.restore(whole, model)
    state = json.loads(files["state.json"])
    draw = random.Random(5)
    texts = [b"", b"[]", b"[" * 100_000, json.dumps(state | {"round": -1}).encode(), b'{"round": NaN}', b"\xff"]
    texts += [json.dumps(state | {"counters": {"policy": 1}}).encode(), json.dumps(state | {"numpy": 3}).encode()]
    texts += [files["state.json"][: draw.randrange(len(files["state.json"]))] for _ in range(10)]
    for text in texts:
        (whole / "state.json").write_bytes(text)
        with pytest.raises(TrainingError, match="is damaged"):
            checkpoints.restore(whole, model)
    (whole / "state.json").write_bytes(files["state.json"])
    evil = np.array([Evil(tmp_path / "ran")], dtype=object)
    with np.load(whole / "arrays.npz") as arrays:
        np.savez(whole / "arrays.npz", **{**arrays, "torch": evil})
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoints.restore(whole, model)
    for _ in range(20):
        data = bytearray(files["arrays.npz"])
        cut = draw.randrange(len(data))
        (whole / "arrays.npz").write_bytes(data[:cut])
        with pytest.raises(TrainingError, match="is damaged"):
            checkpoints.restore(whole, model)
    assert not (tmp_path / "ran").exists()


def test_folders_of_another_training_damaged_or_in_use(tmp_path: Path) -> None:
    rl_runs.open_folder(SHORT, tmp_path)
    rl_runs.open_folder(SHORT, tmp_path)
    with pytest.raises(TrainingError, match=r"holds another training \(steps is 60, not 90\)"):
        train_rl.train(replace(SHORT, steps=90), (1,), tmp_path, quiet)
    checkpoint = tmp_path / "checkpoints" / "seed-1" / "round-000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(TrainingError, match=r"round-000001 holds pickles, .* can run code and are not read: remove it"):
        train_rl.train(SHORT, (1,), tmp_path, quiet)
    assert not (tmp_path / "ran").exists()
    (checkpoint / "state.pkl").unlink()
    (checkpoint / "state.json").write_text("half")
    with pytest.raises(TrainingError, match=r"round-000001 is damaged .*remove it"):
        train_rl.train(SHORT, (1,), tmp_path, quiet)
    with only_writer(tmp_path), pytest.raises(TrainingError, match="Another command is writing to"):
        train_rl.train(SHORT, (1,), tmp_path, quiet)
    (tmp_path / rl_runs.CURVES).write_text("policy_seed,round\n1,x\n")
    with pytest.raises(TrainingError, match=r"curves\.csv is damaged"):
        rl_runs.read_curves(tmp_path)
    (tmp_path / rl_runs.SETTINGS).write_text("{")
    with pytest.raises(TrainingError, match=r"training\.json is damaged"):
        rl_runs.open_folder(SHORT, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        rl_runs.open_folder(SHORT, tmp_path / "file")


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["train-rl", *(str(argument) for argument in arguments)])
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


def test_the_command_trains_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rl"
    arguments = ("--algorithm", "dqn", "--scenario", "cologne1", "--steps", 24, "--minutes", 2)
    code, said, told = command(capsys, *arguments, "--seeds", "7-7", "--out", out, "--json")
    assert code == 0
    assert "seed 7: 100%, 24 decisions, cologne1" in told
    found = json.loads(said)
    assert found["policies"][0]["algorithm"] == "dqn"
    assert all(Path(path).is_file() for path in found["figures"])
    assert json.loads((out / "seed-7" / CARD).read_text())["seed"] == 7


def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, told = command(capsys, "--scenario", "ingolstadt21", "--out", tmp_path / "x")
    assert (code, told.count("\n")) == (2, 1)
    assert "ingolstadt21 may not be trained on" in told
    monkeypatch.setattr(train_rl, "find_spec", lambda name: None)
    code, _, told = command(capsys, "--scenario", "cologne1", "--out", tmp_path / "x")
    assert code == 2
    assert told == f"greenloop: {train_rl.EXTRA}\n"
    assert "pip install 'greenloop[rl]'" in told
