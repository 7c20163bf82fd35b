"""What the environments are made of: actions are checked, rewards and observations have names, pictures are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RenderCollection

from llm.text_env import make_text_env
from scenarios import registry
from scenarios.spec import ScenarioError
from sim.env import EnvOptions, make_env, make_parallel_env, make_vec_env
from sim.environment.actions import ActionError, ignored, mask, phases_by_agent, phases_in_order
from sim.environment.options import blank_observation
from sim.environment.rendering import Window
from sim.environment.rewards import REWARDS, Reward, RewardFacts
from sim.environment.views import FullView, OwnView, QueueView, make_view
from sim.features import Features
from sim.network import Network


def short(name: str = "cologne1", minutes: float = 2):  # type: ignore[no-untyped-def]
    whole = registry.load(name)
    return whole.with_(end_s=whole.begin_s + 60 * minutes)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.read(registry.load("cologne3").net_file)


# --- actions -------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[Any, str]] = [
    ([0, 0, 1.7], "is 1.7, no integer; give an integer from 0 to 3"),
    (np.array([0.0, 0.0, 1.0]), "is 0.0, no integer"),
    ([0, 0, 99], "is 99, but it has 4 phases"),
    ([0, 0, -1], "is -1, but it has 4 phases"),
    ([0, 0, True], "is True, no integer"),
    ([0, 0, None], "is None, no integer"),
    ([0, 0, np.nan], "is nan, no integer"),
    ([0, 0], "has 2 entries for 3 signals"),
    (0, "has 1 entry for 3 signals"),
    ("000", "has 1 entry for 3 signals"),
    (np.zeros((1, 3), int), "has 1 entry for 3 signals"),
    (np.zeros(100_000, int), "has 100000 entries for 3 signals"),
    ({"360082": 0}, "is a mapping"),
]


@pytest.mark.parametrize(("action", "expected"), MISTAKES, ids=lambda value: str(value)[:20])
def test_a_wrong_action_is_one_sentence(network: Network, action: Any, expected: str) -> None:
    with pytest.raises(ActionError) as caught:
        phases_in_order(network.controllable, action)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("action", [[0, 2, 1], (0, 2, 1), np.array([0, 2, 1]), np.array([0, 2, 1], np.uint8)])
def test_actions_that_are_understood(network: Network, action: Any) -> None:
    assert list(phases_in_order(network.controllable, action).values()) == [0, 2, 1]
    (signal, *_) = network.controllable
    for lone in (1, np.int64(1), np.array(1), np.array([1])):
        assert phases_in_order([signal], lone) == {signal.index: 1}


def test_actions_of_agents(network: Network) -> None:
    signals = {signal.id: signal for signal in network.controllable}
    first, *_ = signals
    assert phases_by_agent(signals, {first: np.array([2])}) == {signals[first].index: 2}  # the others keep theirs
    for actions, expected in (
        ({"36008": 0}, r"no agent '36008'; did you mean '36008\d'"),
        ({"nobody": 0}, "no agent 'nobody'; there are such as"),
        ({7: 0}, "no agent 7"),
        ({first: 1.7}, "is 1.7, no integer"),
        ({first: 99}, "is 99, but it has"),
        ({first: [0, 1]}, r"is \[0, 1\], no integer"),
        ([0, 0, 0], "give a mapping from agent to phase"),
    ):
        with pytest.raises(ActionError, match=expected):
            phases_by_agent(signals, actions)


def test_a_signal_that_is_not_due_keeps_its_phase_and_says_so(network: Network) -> None:
    seen = replace(blank_observation(network), due=np.array([True, False, False]), phase=np.array([0, 1, -1]))
    signals = network.signals
    assert ignored({0: 2, 1: 2, 2: 0}, seen).tolist() == [False, True, True]
    assert ignored({1: 1}, seen).tolist() == [False, False, False]
    assert mask(signals[0], seen).all()
    assert mask(signals[1], seen).tolist() == [phase == 1 for phase in range(len(signals[1].phases))]
    assert mask(signals[2], seen).all()  # its own program runs


def test_nothing_is_simulated_after_a_wrong_action() -> None:
    parallel = make_parallel_env(short("cologne3", 1))
    words = make_text_env(short("cologne3", 1), observation="queue")
    parallel.reset(seed=1)
    words.reset(seed=1)
    time_s = words.unwrapped.observation.time_s  # type: ignore[attr-defined]
    for environment, action in ((parallel, {"nobody": 0}), (words, [0, 0, 99]), (words, 1.7)):
        with pytest.raises(ActionError):
            environment.step(action)  # type: ignore[attr-defined]
    assert words.unwrapped.observation.time_s == time_s  # type: ignore[attr-defined]
    done = False
    while not done:
        masks = parallel.action_masks()
        _, _, _, truncated, infos = parallel.step({name: int(np.argmax(masks[name])) for name in parallel.agents})
        assert not any(info["ignored"] for info in infos.values())
        done = all(truncated.values())
    with pytest.raises(gymnasium.error.ResetNeeded, match="episode is over"):
        parallel.step({})
    parallel.close()
    words.close()


# --- rewards -------------------------------------------------------------------------------------------------------


def facts(network: Network) -> RewardFacts:
    blank = blank_observation(network)
    lanes = np.arange(len(network.lanes), dtype=float)
    seen = replace(
        blank,
        queue_veh=lanes,
        wait_s=np.where(lanes == 0, np.nan, 10.0),
        zone_veh=np.repeat(lanes[:, None], 3, axis=1),
        exit_veh=np.ones(len(network.exits)),
    )
    return RewardFacts(network, blank, seen, 400.0, np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0]))


def test_rewards_by_name(network: Network) -> None:
    seen, signals = facts(network), (0, 1, 2)
    each = {name: Reward(name, "local", signals).each(seen) for name in REWARDS}
    total = {name: Reward(name, "global", signals).total(seen) for name in REWARDS}
    np.testing.assert_allclose(each["delay"], [-0.1, -0.2, -0.3])
    np.testing.assert_allclose(each["throughput"], [1, 2, 3])
    queues = [-float(sum(signal.lanes)) / 10 for signal in network.signals]
    np.testing.assert_allclose(each["queue"], queues)
    pressures = [-abs(3.0 * sum(signal.lanes) - len(signal.exits)) / 10 for signal in network.signals]
    np.testing.assert_allclose(each["pressure"], pressures)
    assert total["waiting"] == pytest.approx(-10 * (len(network.lanes) - 1) / 100)  # a dark detector counts as 0
    assert total["delay"] == -4.0  # of all vehicles, not of the signals' lanes alone
    for name in REWARDS:
        np.testing.assert_allclose(Reward(name, "global", signals).each(seen), total[name])


def test_a_reward_of_one_s_own(network: Network) -> None:
    seen, signals = facts(network), (0, 1, 2)
    per_signal = Reward(lambda facts: facts.passed_veh - facts.lanes(facts.observation.queue_veh), "local", signals)
    assert per_signal.each(seen).shape == (3,)
    assert per_signal.total(seen) == pytest.approx(per_signal.each(seen).sum())
    assert Reward(lambda facts: -facts.delay_veh_s, "local", signals).each(seen).tolist() == [-400.0] * 3
    for wrong in (lambda facts: [1.0, 2.0], lambda facts: float("nan")):
        with pytest.raises(ScenarioError, match="must give a finite number, or 3 of them"):
            Reward(wrong, "local", signals).total(seen)


# --- observations --------------------------------------------------------------------------------------------------


def test_every_number_is_described(network: Network) -> None:
    signals = (0, 1, 2)
    full = FullView(network, signals)
    numbers = full.numbers()
    assert [number.index for number in numbers] == list(range(full.size))
    # a change of one thing shows where the description says it is
    blank, lane = blank_observation(network), int(full.lanes[3])
    queue = blank.queue_veh.copy()
    queue[lane] = 10
    (place,) = np.flatnonzero(full.vector(replace(blank, queue_veh=queue)) != full.vector(blank))
    assert numbers[place].quantity == "queue"
    assert network.lanes[lane] in numbers[place].place
    due = np.array([True, False, True])
    (place,) = np.flatnonzero(full.vector(replace(blank, due=due)) != full.vector(blank))
    assert (numbers[place].quantity, numbers[place].place) == ("due: may change now", f"signal {network.signals[1].id}")
    np.testing.assert_array_equal(full.vector(blank), Features(network, signals).vector(blank))
    small = QueueView(network, signals)
    assert len(small.numbers()) == small.size == len(small.vector(blank))


def test_an_observation_of_one_s_own(network: Network) -> None:
    own = make_view(lambda seen, network, signals: [seen.time_s, len(signals)], network, (0, 2))
    assert isinstance(own, OwnView)
    assert own.vector(blank_observation(network)).tolist() == [0.0, 2.0]
    assert own.space.shape == (2,)
    with pytest.raises(ScenarioError, match=r"gave the shape \(\)"):
        make_view(lambda *_: 1.0, network, (0,))
    with pytest.raises(ScenarioError, match="entries that are not a number"):
        make_view(lambda *_: [np.nan], network, (0,))


# --- environments --------------------------------------------------------------------------------------------------


def test_unknown_options_say_what_there_is() -> None:
    for keywords, expected in (
        ({"rewrad": "delay"}, "no option 'rewrad'; did you mean 'reward'?"),
        ({"reward": "dealy"}, "Unknown reward 'dealy'; choose one of delay, queue, pressure, waiting, throughput"),
        ({"reward_scope": "mine"}, "Unknown reward scope 'mine'"),
        ({"reward": 3}, "The reward is a int"),
        ({"observation": "all"}, "Unknown observation 'all'; choose one of full, queue"),
        ({"render_mode": "video"}, "Unknown render mode 'video'"),
        ({"options": "clearance"}, "give EnvOptions, or keywords"),
    ):
        with pytest.raises(ScenarioError, match=expected.replace("?", r"\?")):
            make_env(short(), **keywords)  # type: ignore[arg-type]


def test_a_picture_of_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    options = EnvOptions(reward="throughput", observation="queue", render_mode="rgb_array")
    environment = make_env(short("cologne3", 5), options)
    assert environment.task.reward.scope == "global"
    environment.describe()
    said = capsys.readouterr().out
    assert f"Observation: {environment.observation_space.shape[0]} numbers" in said
    assert "green for -241660955#17 straight, left, round" in said
    pictures = RenderCollection(environment)
    pictures.reset(seed=1)
    paid = [float(pictures.step(np.argmax(environment.action_masks()[:3]) * np.ones(3, int))[1]) for _ in range(12)]
    first, *_, last = pictures.render()
    environment.close()
    assert first.dtype == np.uint8
    assert first.shape == last.shape == (500, 800, 3)
    assert (first != last).any()
    colours = {tuple(pixel) for pixel in last.reshape(-1, 3).tolist()}
    assert {(20, 150, 80), (200, 40, 40)} <= colours  # a green and a red light
    assert sum(paid) > 0
    assert all(value == int(value) >= 0 for value in paid)


def test_a_window_where_there_is_none() -> None:
    with pytest.raises(ScenarioError, match=r"cannot open a window with matplotlib's \w+ \(it writes files only\)"):
        Window()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_several_environments_at_once(mode: Any) -> None:
    vector = make_vec_env(short(minutes=1), 2, mode, reward="queue", observation="queue")
    seen, _ = vector.reset(seed=1)
    seen, paid, *_ = vector.step(np.zeros(2, int))
    vector.close()
    assert seen.shape[0] == len(paid) == 2
    with pytest.raises(ScenarioError, match="num_envs is 0"):
        make_vec_env(short(), 0)
