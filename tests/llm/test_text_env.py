"""The environment in words."""

from __future__ import annotations

import gymnasium
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from llm.tasks.decide.prompt import signal_prompt
from llm.text_env import TextObservation, make_text_env
from scenarios import registry
from sim.env import make_env
from sim.registration import register

register()


def short(name: str):  # type: ignore[no-untyped-def]
    whole = registry.load(name)
    return whole.with_(end_s=whole.begin_s + 300)


def test_one_signal_gives_the_very_prompt_of_the_language_model() -> None:
    environment = make_text_env(short("cologne1"))
    assert isinstance(environment.observation_space, spaces.Text)
    text, _ = environment.reset(seed=1)
    for step in range(20):
        text, *_ = environment.step(step // 5 % 4)
        base = environment.base
        assert text == signal_prompt(base.network, base.network.signals[0], base.observation)
        assert environment.observation_space.contains(text)
    environment.close()


def test_several_signals_give_one_prompt_each() -> None:
    environment = make_text_env(short("cologne3"))
    texts, _ = environment.reset(seed=1)
    assert isinstance(texts, tuple)
    assert len(texts) == 3
    assert environment.observation_space.contains(texts)
    environment.close()


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")  # the wrapper is what is being checked
def test_check_env() -> None:
    environment = make_text_env(short("cologne1"))
    check_env(environment, skip_render_check=True)
    environment.close()


def test_text_environments_are_registered() -> None:
    environment = gymnasium.make("greenloop/Cologne1Text-v0")
    assert isinstance(environment.observation_space, spaces.Text)
    environment.close()


def test_only_our_environments_can_be_worded() -> None:
    with pytest.raises(TypeError, match="wraps greenloop's SignalEnv, not CartPoleEnv"):
        TextObservation(gymnasium.make("CartPole-v1"))
    make_env("cologne1").close()
