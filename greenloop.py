"""greenloop: the names that a user imports.

They are loaded when they are first used, so that ``import greenloop`` is quick and a run without a language model
never loads torch. Importing it also registers the Gymnasium environments.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim.registration import register as _register

_register()  # gymnasium.make("greenloop/Cologne1-v0")

if TYPE_CHECKING:
    from benchmarks.compare.pipeline import compare
    from benchmarks.results.run_result import RunResult
    from benchmarks.results.run_result import load as load_results
    from benchmarks.run.benchmark import run
    from controllers.base import Controller, ControllerError, RunContext
    from controllers.registry import make as make_controller
    from llm.tasks.base import Answerer, Binary, Choice, Quantiles, Question, Task
    from llm.tasks.forecast.forecasters import Forecaster
    from llm.tasks.forecast.state import ForecastState
    from llm.text_env import make_text_env
    from scenarios.registry import load as load_scenario
    from scenarios.spec import Scenario, ScenarioError
    from sim.engine.session import Session, SessionOptions
    from sim.env import make_env, make_parallel_env, make_vec_env
    from sim.environment.actions import ActionError
    from sim.environment.options import EnvOptions
    from sim.environment.rewards import RewardFacts
    from sim.network import Network
    from sim.observation import Observation
    from sim.signals import Decision, Program, ProgramRow
    from sim.timings import Timings

#: Public name -> module and the name in it.
_PLACES = {
    "ActionError": ("sim.environment.actions", "ActionError"),
    "Answerer": ("llm.tasks.base", "Answerer"),
    "Binary": ("llm.tasks.base", "Binary"),
    "Choice": ("llm.tasks.base", "Choice"),
    "Controller": ("controllers.base", "Controller"),
    "ControllerError": ("controllers.base", "ControllerError"),
    "Decision": ("sim.signals", "Decision"),
    "EnvOptions": ("sim.environment.options", "EnvOptions"),
    "ForecastState": ("llm.tasks.forecast.state", "ForecastState"),
    "Forecaster": ("llm.tasks.forecast.forecasters", "Forecaster"),
    "Network": ("sim.network", "Network"),
    "Observation": ("sim.observation", "Observation"),
    "Program": ("sim.signals", "Program"),
    "ProgramRow": ("sim.signals", "ProgramRow"),
    "Quantiles": ("llm.tasks.base", "Quantiles"),
    "Question": ("llm.tasks.base", "Question"),
    "RewardFacts": ("sim.environment.rewards", "RewardFacts"),
    "RunContext": ("controllers.base", "RunContext"),
    "RunResult": ("benchmarks.results.run_result", "RunResult"),
    "Scenario": ("scenarios.spec", "Scenario"),
    "ScenarioError": ("scenarios.spec", "ScenarioError"),
    "Session": ("sim.engine.session", "Session"),
    "SessionOptions": ("sim.engine.session", "SessionOptions"),
    "Task": ("llm.tasks.base", "Task"),
    "Timings": ("sim.timings", "Timings"),
    "compare": ("benchmarks.compare.pipeline", "compare"),
    "load_results": ("benchmarks.results.run_result", "load"),
    "load_scenario": ("scenarios.registry", "load"),
    "make_controller": ("controllers.registry", "make"),
    "make_env": ("sim.env", "make_env"),
    "make_parallel_env": ("sim.env", "make_parallel_env"),
    "make_text_env": ("llm.text_env", "make_text_env"),
    "make_vec_env": ("sim.env", "make_vec_env"),
    "run": ("benchmarks.run.benchmark", "run"),
}

__all__ = [
    "ActionError",
    "Answerer",
    "Binary",
    "Choice",
    "Controller",
    "ControllerError",
    "Decision",
    "EnvOptions",
    "ForecastState",
    "Forecaster",
    "Network",
    "Observation",
    "Program",
    "ProgramRow",
    "Quantiles",
    "Question",
    "RewardFacts",
    "RunContext",
    "RunResult",
    "Scenario",
    "ScenarioError",
    "Session",
    "SessionOptions",
    "Task",
    "Timings",
    "compare",
    "load_results",
    "load_scenario",
    "make_controller",
    "make_env",
    "make_parallel_env",
    "make_text_env",
    "make_vec_env",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"greenloop has no '{name}'; it has {', '.join(__all__)}.")
    module, inner = _PLACES[name]
    value = getattr(importlib.import_module(module), inner)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
