"""The environment in words: the observation is the very prompt that the language model reads."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces

from llm.tasks.decide.prompt import PROMPT_CHARSET, max_prompt_chars, signal_prompt
from scenarios.spec import Scenario
from sim.env import SignalEnv

Prompts = str | tuple[str, ...]


class TextObservation(gymnasium.ObservationWrapper[Prompts, Any, Any]):
    """Gives each observation of a ``SignalEnv`` as text, so that any text agent can sit in the loop.

    With one controllable signal the observation is its prompt, ``gymnasium.spaces.Text``; with several it is a
    ``Tuple`` of one ``Text`` per controllable signal, in the order of the actions. The prompt's phase letters A, B, ...
    are the actions 0, 1, ...
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        base = env.unwrapped
        if not isinstance(base, SignalEnv):
            raise TypeError(f"TextObservation wraps greenloop's SignalEnv, not {type(base).__name__}.")
        self.base = base
        longest = max_prompt_chars(base.network)
        texts = [spaces.Text(longest, charset=PROMPT_CHARSET) for _ in base.network.controllable]
        self.observation_space = texts[0] if len(texts) == 1 else spaces.Tuple(texts)

    def observation(self, observation: Any) -> Prompts:  # noqa: ARG002 - the vector says less than what is behind it
        """Write one prompt per controllable signal."""
        network = self.base.network
        state, timings = self.base.observation, self.base.task.timings
        prompts = tuple(signal_prompt(network, signal, state, timings=timings) for signal in network.controllable)
        return prompts[0] if len(prompts) == 1 else prompts


def make_text_env(scenario: str | Scenario, **kwargs: Any) -> TextObservation:
    """Return a Gymnasium environment whose observations are prompts; arguments as for ``make_env``."""
    return TextObservation(SignalEnv(scenario, **kwargs))
