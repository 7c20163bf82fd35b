"""The one loop of every run: observe, decide, step.

Running, recording, explaining, timing and reference runs all go through it::

    with Session(scenario, seed) as session:
        observation = session.start()
        controller.reset(session.network, seed)
        for moment in moments(session, observation, controller.act):
            ...  # moment.observation, moment.decisions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sim.engine.session import Session
from sim.observation import Observation
from sim.signals import Decision

Decisions = Mapping[str, Decision | int]
#: Says what each signal shall do; a controller's ``act``.
Decide = Callable[[Observation], Decisions]
#: Applies decisions and goes on to the next decision time; ``Session.step``.
Step = Callable[[Decisions], Observation]


@dataclass
class Moment:
    """One decision time of a run.

    Attributes:
        observation: the state now.
        decisions: what was decided, by signal. Whoever follows the run may put others in before the next moment; these
            then take effect.
        ended: True at the run's end, where nothing is decided any more.
    """

    observation: Observation
    decisions: Decisions = field(default_factory=dict)
    ended: bool = False


def moments(session: Session, observation: Observation, decide: Decide, step: Step | None = None) -> Iterator[Moment]:
    """Go through a run that has been started; the last moment is the run's end.

    Args:
        session: after ``start``.
        observation: what ``start`` returned.
        decide: is asked once at each moment but the last.
        step: takes the place of ``session.step``.

    Raises:
        DecisionError: a decision makes no sense.
        SessionError: SUMO died.
        Exception: whatever ``decide`` raises.
    """
    go_on = step or session.step
    while not session.done:
        moment = Moment(observation, decide(observation))
        yield moment
        observation = go_on(moment.decisions)
    yield Moment(observation, ended=True)
