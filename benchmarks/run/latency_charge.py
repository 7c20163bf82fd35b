"""``--charge-latency``: while a controller thinks, the traffic goes on.

What a decision took on the wall clock is simulated with the lights as they are, rounded up to whole seconds; only then
does the decision take effect. Thus a slow controller pays on the street for what it costs on the machine, and two runs
are never quite the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sim.engine.session import Session
from sim.observation import Observation
from sim.signals import Decision


def late_step(session: Session, decisions: Mapping[str, Decision | int], took_s: float) -> tuple[Observation, float]:
    """Advance by the thinking time, apply the decisions, and go on to the next decision time.

    Decision times stay multiples of the interval: a controller that thinks longer misses some. A controller that
    decided nothing pays nothing, since nothing of it comes late.

    Returns:
        The next observation, and the seconds charged: the horizon's end may cut them.

    Raises:
        DecisionError: a decision makes no sense.
        SessionError: SUMO died.
    """
    if not decisions:
        return session.step(decisions), 0.0
    begin_s, interval_s = session.time_s, session.timings.decision_interval_s
    session.advance(seconds=math.ceil(took_s))
    charged_s = session.time_s - begin_s
    session.apply(decisions)
    if rest_s := -charged_s % interval_s:
        session.advance(seconds=rest_s)
    return session.observe(), charged_s
