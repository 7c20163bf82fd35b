"""What a training of policies is, and what its folder holds; nothing here needs the extra ``rl``.

runs/rl/
  training.json           algorithm, scenarios, steps, timings: another training needs another folder
  curves.csv, curves.png  every training episode of every seed
  seed-1/                 the final policy: policy.npz and card.json
  checkpoints/seed-1/     what a stopped training goes on from; removed at the end
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from llm.records.shards import RecordError
from llm.records.splits import FIRST_SEED as _FIRST_SEEDS
from llm.records.splits import check_split
from scenarios import registry
from scenarios.common.files import FileError, read_json
from scenarios.spec import Scenario
from sim.timings import TIMINGS

ALGORITHMS = ("dqn", "ppo")
#: Simulations in training use seeds from here on; results use small ones.
FIRST_SEED = _FIRST_SEEDS["train"]
#: Processes that simulate at the same time.
MAX_COPIES = 2
SETTINGS, CURVES = "training.json", "curves.csv"


class TrainingError(ValueError):
    """A training that cannot be done; the message is one sentence."""


@dataclass(frozen=True)
class Training:
    """What makes policies: one for each seed.

    Attributes:
        algorithm: one of ``ALGORITHMS``.
        scenarios: names or ``.yaml`` paths of training scenarios; one policy serves the signals of all.
        steps: decisions per policy, counted over all signals; rounded up to whole episodes.
        timings: by name.
        copies: simulations of each scenario at the same time, 1 or 2.
        minutes: length of an episode; that of the shortest scenario when None.
        hours: simulated hours of each scenario and copy instead of ``steps``, rounded up to whole episodes: the same
            budget for networks of any size.
        on_scored_network: learn on the one network that results are reported on, held out or not: a rival that knows
            what no other controller may know.
    """

    algorithm: str
    scenarios: tuple[str, ...]
    steps: int
    timings: str = "native"
    copies: int = 1
    minutes: float | None = None
    hours: float | None = None
    on_scored_network: bool = False

    def rounds(self, round_steps: int, signals: int) -> int:
        """Episodes of each scenario and copy, for episodes of ``round_steps`` decisions at each of ``signals``."""
        if self.hours is None:
            return math.ceil(self.steps / (round_steps * signals))
        return math.ceil(self.hours * 3600 / (round_steps * TIMINGS[self.timings].decision_interval_s))

    def settings(self) -> dict[str, Any]:
        """What ``training.json`` says; fields that came later only where they say something."""
        later = {"hours": None, "on_scored_network": False}
        values = asdict(self) | {"scenarios": list(self.scenarios)}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}


@dataclass(frozen=True)
class Episode:
    """One finished training episode: a row of ``curves.csv``.

    Attributes:
        policy_seed: the policy's.
        round: its number; all scenarios run one episode in each round.
        steps: decisions so far, over all signals.
        scenario: its name.
        seed: the simulation's, 1000 or more.
        reward: summed over the episode, mean over its signals.
        delay_s: of all vehicles scheduled so far, s per vehicle, exploration included.
    """

    policy_seed: int
    round: int
    steps: int
    scenario: str
    seed: int
    reward: float
    delay_s: float


def load_scenarios(training: Training) -> list[Scenario]:
    """Check a training and load its scenarios, ``copies`` times each.

    Raises:
        TrainingError: it makes no sense, or a scenario is not one to train on.
        ScenarioError: there is no such scenario.
    """
    if training.algorithm not in ALGORITHMS:
        raise TrainingError(f"There is no algorithm '{training.algorithm}'; choose {' or '.join(ALGORITHMS)}.")
    if training.timings not in TIMINGS:
        raise TrainingError(f"There are no timings '{training.timings}'; choose {', '.join(TIMINGS)}.")
    if (training.steps < 1 and training.hours is None) or not 1 <= training.copies <= MAX_COPIES:
        raise TrainingError(f"Steps must be at least 1, copies 1 to {MAX_COPIES}.")
    if training.hours is not None and not training.hours > 0:
        raise TrainingError(f"A training of {training.hours:g} h makes no sense; give more than 0.")
    if training.minutes is not None and not training.minutes > 0:
        raise TrainingError(f"An episode of {training.minutes:g} min makes no sense; give more than 0.")
    if not training.scenarios:
        raise TrainingError("Say what to train on: --scenario cologne1; repeat it for several.")
    loaded = [registry.load(name) for name in dict.fromkeys(training.scenarios)]
    if training.on_scored_network and len(loaded) != 1:
        raise TrainingError(f"--on-scored-network trains on one network, the one that scores it, not {len(loaded)}.")
    if not training.on_scored_network:
        for scenario in loaded:
            _check_split(scenario)
    return [_shortened(scenario, training.minutes) for scenario in loaded for _ in range(training.copies)]


def _check_split(scenario: Scenario) -> None:
    try:
        check_split(scenario, "train", FIRST_SEED)
    except RecordError as error:
        held_out = "held out" in str(error)
        why = "it is held out" if held_out else "it is not tagged 'train'"
        raise TrainingError(
            f"Scenario {scenario.name} may not be trained on, because {why}; choose one of 'greenloop scenarios "
            "--tag train', a generated city with a seed below 500, or a scenario of your own with tags: [train]. Only "
            "a rival that may know the network it is scored on is trained there, with --on-scored-network."
        ) from error


def _shortened(scenario: Scenario, minutes: float | None) -> Scenario:
    if minutes is None:
        return scenario
    return scenario.with_(end_s=min(scenario.end_s, scenario.begin_s + scenario.warmup_s + 60 * minutes))


def open_folder(training: Training, out: Path) -> None:
    """Make the folder, or check that it holds the same training.

    Raises:
        TrainingError: it holds another one, or cannot be written.
    """
    wanted = training.settings()
    file = out / SETTINGS
    try:
        if file.is_file():
            _check_same(read_json(file), wanted, out)
            return
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"Folder {out} cannot be written ({error.strerror}); choose another --out.") from error
    except FileError as error:
        raise TrainingError(f"{file} is damaged: it {error}; choose another --out, or remove the folder.") from error


def _check_same(found: Any, wanted: dict[str, Any], out: Path) -> None:
    had = found if isinstance(found, dict) else {}
    other = [name for name in {**wanted, **had} if had.get(name) != wanted.get(name)]
    if other:
        name = other[0]
        raise TrainingError(
            f"Folder {out} holds another training ({name} is {had.get(name)}, not {wanted.get(name)}); choose another "
            "--out."
        )


def policy_folder(out: Path, seed: int) -> Path:
    """Where a seed's final policy goes."""
    return out / f"seed-{seed}"


def read_curves(out: Path) -> list[Episode]:
    """All finished episodes, in the order of ``curves.csv``; none where there is no such file.

    Raises:
        TrainingError: the file is damaged.
    """
    file = out / CURVES
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return [_episode(row) for row in csv.DictReader(stream)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{file} is damaged ({type(error).__name__}: {error}); remove it to go on.") from error


def _episode(row: dict[str, str]) -> Episode:
    kinds = {"scenario": str, "reward": float, "delay_s": float}
    return Episode(**{field.name: kinds.get(field.name, int)(row[field.name]) for field in fields(Episode)})


def write_curves(out: Path, episodes: Iterable[Episode]) -> None:
    """Write all episodes at once or not at all."""
    draft = out / f".{CURVES}.part"
    with draft.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow([field.name for field in fields(Episode)])
        rows.writerows(astuple(episode) for episode in episodes)
    draft.replace(out / CURVES)
