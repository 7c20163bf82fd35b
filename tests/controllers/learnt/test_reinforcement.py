"""Policies of reinforcement learning: what they read, that numpy and Stable-Baselines3 agree, and bad folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import registry
from controllers.base import ControllerError
from controllers.learnt.reinforcement import (
    ALLOWED,
    CARD,
    COLUMNS,
    EXISTS,
    FAR,
    WEIGHTS,
    PhasePolicy,
    Reinforcement,
    load_policy,
    pad,
    phase_rows,
)
from tests.support.helpers import corridor, crossing, make_observation

NEEDS_SB3 = "Stable-Baselines3 is not installed (pip install 'greenloop[rl]')"
SLOTS = 4
PUBLISHED = Path(__file__).parents[3] / "benchmarks" / "published"
QUEUE = COLUMNS.index("queue_veh")


def make_policy(seed: int = 0, hidden: int = 8) -> PhasePolicy:
    rng = np.random.default_rng(seed)
    shapes = [(3 * len(COLUMNS), hidden), (hidden, hidden), (hidden, 1)]
    return PhasePolicy(
        tuple(
            (rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1]).astype(np.float32))
            for shape in shapes
        )
    )


def random_rows(rng: np.random.Generator, slots: int = SLOTS) -> np.ndarray:
    """One signal's padded rows: 2 to ``slots`` phases, of which at least one can be asked for."""
    phases = int(rng.integers(2, slots + 1))
    rows = rng.exponential(1.0, (phases, len(COLUMNS))).astype(np.float32)
    rows[:, ALLOWED] = rng.random(phases) < 0.5
    rows[rng.integers(phases), ALLOWED] = rows[:, EXISTS] = 1
    return pad(rows, slots)


class QueueTask(gymnasium.Env[np.ndarray, int]):
    """Pays 1 for the allowed phase with the longest queue: what a policy can learn in seconds."""

    observation_space = spaces.Box(0.0, np.inf, (SLOTS, len(COLUMNS)), np.float32)
    action_space = spaces.Discrete(SLOTS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.rows, self.steps = random_rows(self.np_random), 0
        return self.rows, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.rows[action, ALLOWED] == 1, "a phase that cannot be asked for was chosen"
        paid = float(action == best_queue(self.rows))
        self.rows, self.steps = random_rows(self.np_random), self.steps + 1
        return self.rows, paid, False, self.steps % 20 == 0, {}


def best_queue(rows: np.ndarray) -> int:
    return int(np.where(rows[:, ALLOWED] > 0, rows[:, QUEUE], -1).argmax())


def make_model(algorithm: str, seed: int = 1) -> Any:
    pytest.importorskip("stable_baselines3", reason=NEEDS_SB3)
    from stable_baselines3.common.vec_env import DummyVecEnv

    from benchmarks.rl import policies as rl_policy

    return rl_policy.make_model(algorithm, DummyVecEnv([QueueTask] * 2), seed, round_steps=120, total_steps=2000)


def test_rows_say_facts_and_what_can_be_asked_for() -> None:
    network = crossing()
    observation = make_observation(network, queue_veh=[3.0, 0.0, 7.0], phase=[2])
    rows = phase_rows(network, network.signals[0], observation)
    assert rows.shape == (3, len(COLUMNS))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.expm1(rows[:, QUEUE]), [3, 0, 7], rtol=1e-5)
    assert (rows[:, [ALLOWED, EXISTS]] == 1).all()
    waiting = phase_rows(network, network.signals[0], make_observation(network, phase=[2], due=[False]))
    assert waiting[:, ALLOWED].tolist() == [0, 0, 1]
    under_its_own_program = make_observation(network, phase=[-1], due=[False])
    assert (phase_rows(network, network.signals[0], under_its_own_program)[:, ALLOWED] == 1).all()
    dark = phase_rows(network, network.signals[0], make_observation(network, zone_veh=np.full((3, 3), np.nan)))
    assert np.isfinite(dark).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_follow_the_phases_whatever_their_order_and_the_filling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng)
    there = rows[rows[:, EXISTS] > 0]
    order = rng.permutation(len(there))
    scores = make_policy(seed).scores(there)
    np.testing.assert_allclose(make_policy(seed).scores(there[order]), scores[order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(make_policy(seed).scores(pad(there, 9))[: len(there)], scores, rtol=1e-4, atol=1e-4)
    assert (scores[there[:, ALLOWED] == 0] == FAR).all()
    assert there[make_policy(seed).choose([there])[0], ALLOWED] == 1


def test_an_older_policy_does_without_facts_that_came_later() -> None:
    older = tuple(name for name in COLUMNS if not name.startswith("priority_"))
    rng = np.random.default_rng(5)
    shapes = [(3 * len(older), 8), (8, 1)]
    policy = PhasePolicy(
        tuple((rng.normal(size=s).astype(np.float32), np.zeros(s[1], np.float32)) for s in shapes), older
    )
    rows, other = random_rows(rng), random_rows(rng)
    later = [place for place, name in enumerate(COLUMNS) if name not in older]
    changed = rows.copy()
    changed[:, later] = other[:, later]
    np.testing.assert_array_equal(policy.scores(rows), policy.scores(changed))
    assert (policy.scores(rows) != policy.scores(other)).any()


@pytest.mark.parametrize("folder", sorted(path.parent for path in PUBLISHED.glob("rl/*/*/policy.npz")), ids=str)
def test_published_policies_can_be_run(folder: Path) -> None:
    policy, _ = load_policy(folder)
    assert policy.choose([random_rows(np.random.default_rng(6))])


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_numpy_and_stable_baselines_choose_the_same(algorithm: str, tmp_path: Path) -> None:
    model = make_model(algorithm)
    from benchmarks.rl.policies import export

    export(model).save(tmp_path, {"algorithm": algorithm})
    policy, card = load_policy(tmp_path)
    rng = np.random.default_rng(3)
    rows = np.stack([random_rows(rng) for _ in range(500)])
    theirs, _ = model.policy.predict(rows, deterministic=True)
    assert policy.choose(list(rows)) == theirs.tolist()
    assert len(set(theirs.tolist())) == SLOTS  # a policy that always says the same would agree by chance
    assert card["algorithm"] == algorithm


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_models_learn_and_never_choose_what_cannot_be_asked_for(algorithm: str) -> None:
    """``QueueTask`` itself refuses phases that are not allowed, exploration included."""
    model = make_model(algorithm)
    from benchmarks.rl.policies import export

    rng = np.random.default_rng(4)
    seen = [random_rows(rng) for _ in range(400)]

    def share() -> float:
        return float(np.mean([a == best_queue(r) for a, r in zip(export(model).choose(seen), seen, strict=True)]))

    before = share()
    model.learn(4800)
    assert before < 0.75  # half of it is luck: often only one phase is allowed
    assert share() > 0.85


def test_rollouts_divide_a_round_and_batches_divide_a_rollout() -> None:
    pytest.importorskip("stable_baselines3", reason=NEEDS_SB3)
    from benchmarks.rl.policies import ppo_settings

    for signals in (1, 2, 12, 50):
        for round_steps in (1, 24, 719, 720):
            found = ppo_settings(signals, round_steps)
            assert round_steps % found["n_steps"] == 0
            assert found["n_steps"] * signals % found["batch_size"] == 0


def test_the_controller_decides_where_due_and_repeats_itself(tmp_path: Path) -> None:
    make_policy().save(tmp_path, {"algorithm": "ppo", "seed": 1, "steps": 10})
    network = corridor()
    first, again = (registry.make(f"reinforcement:folder={tmp_path}") for _ in range(2))
    for controller in (first, again):
        controller.reset(network, seed=1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        observation = make_observation(network, queue_veh=rng.integers(0, 9, 5).astype(float))
        decisions = first.act(observation)
        assert set(decisions) == {"A", "B"}
        assert decisions == again.act(observation)
    assert set(first.act(make_observation(network, due=[False, True, False]))) == {"B"}
    assert first.act(make_observation(network, due=[False, False, False])) == {}
    assert first.provenance()["policy_algorithm"] == "ppo"
    assert len(str(first.provenance()["policy_weights_sha256"])) == 64
    assert first.deterministic
    assert registry.files(f"reinforcement:folder={tmp_path}") == {"parameter folder": tmp_path}


def test_a_policy_runs_without_torch(tmp_path: Path) -> None:
    make_policy().save(tmp_path, {})
    code = (
        f"import sys; from controllers import registry; registry.make('reinforcement:folder={tmp_path}');"
        "sys.exit('torch' in sys.modules or 'stable_baselines3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def damaged(kind: str, folder: Path) -> None:
    card, weights = folder / CARD, folder / WEIGHTS
    match kind:
        case "truncated weights":
            weights.write_bytes(weights.read_bytes()[:200])
        case "no weights":
            weights.unlink()
        case "broken card":
            card.write_text(card.read_text()[:50])
        case "card of something else":
            card.write_text("[1, 2]")
        case "card of an adapter":
            card.write_text(json.dumps({"base": "default", "layers": 10}))
        case "other facts":
            card.write_text(json.dumps({**json.loads(card.read_text()), "columns": ["queue"]}))
        case "weights of another shape":
            PhasePolicy(((np.ones((5, 2), np.float32), np.ones(2, np.float32)),)).save(folder, {})
        case "weights that are no numbers":
            PhasePolicy(tuple((w * np.nan, b) for w, b in make_policy().layers)).save(folder, {})


DAMAGE = {
    "truncated weights": r"policy\.npz is not what its card says \(cut off, or edited\)",
    "no weights": "holds no policy",
    "broken card": r"card\.json is damaged",
    "card of something else": r"card\.json is no card of a policy",
    "card of an adapter": "reads other facts than this greenloop",
    "other facts": "reads other facts than this greenloop",
    "weights of another shape": "holds no weights of a policy",
    "weights that are no numbers": "holds no weights of a policy .weights that are no numbers",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_and_foreign_folders_are_named(kind: str, tmp_path: Path) -> None:
    make_policy().save(tmp_path, {"versions": {"greenloop": "0.1.0"}})
    damaged(kind, tmp_path)
    with pytest.raises(ControllerError, match=DAMAGE[kind]) as caught:
        registry.make(f"reinforcement:folder={tmp_path}")
    assert str(tmp_path) in str(caught.value)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ControllerError, match=r"Say which policy to run.*folder=runs/rl/seed-1"):
        registry.make("reinforcement")
    with pytest.raises(ControllerError, match=r"no folder nowhere with a policy.*greenloop train-rl"):
        registry.make("reinforcement:folder=nowhere")
    make_policy().save(tmp_path / "seed-2", {})
    with pytest.raises(ControllerError, match=rf"holds no policy.*such as {tmp_path}/seed-2"):
        Reinforcement(str(tmp_path))
