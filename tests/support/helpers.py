"""Small networks and observations built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sim.network import GREEN, Movement, Network, Phase, ProgramStep, Reach, Signal
from sim.observation import Observation


def make_signal(
    name: str, index: int, movements: list[Movement], program: list[tuple[str, float]], **fields: Any
) -> Signal:
    """A signal whose phases are the program rows that show green and no yellow."""
    phases: list[Phase] = []
    for state, _ in program:
        green = tuple(m for m in movements if state[m.link] in GREEN)
        if green and "y" not in state:
            lanes, exits = (tuple(sorted({getattr(m, k) for m in green})) for k in ("lane", "exit"))
            phases.append(Phase(len(phases), state, green, lanes, exits))
    values: dict[str, Any] = {
        "id": name,
        "index": index,
        "phases": tuple(phases),
        "movements": tuple(movements),
        "lanes": tuple(sorted({m.lane for m in movements})),
        "exits": tuple(sorted({m.exit for m in movements})),
        "program": tuple(ProgramStep(state, duration_s) for state, duration_s in program),
        "program_id": "0",
        "offset_s": 0.0,
        "yellow_s": 3,
        "links": len(program[0][0]),
        "foes": frozenset(),
        "neighbours": (),
        "position_m": (0.0, 0.0),
        "problem": None,
    }
    return Signal(**{**values, **fields})


def make_network(
    signals: list[Signal], lanes: tuple[str, ...], exits: tuple[str, ...], lane_signal: list[int], **fields: Any
) -> Network:
    """A network of 150 m lanes and 75 m exits."""
    length_m = np.full(len(lanes), 150.0)
    values: dict[str, Any] = {
        "net_file": Path("hand.net.xml"),
        "signals": tuple(signals),
        "lanes": lanes,
        "exits": exits,
        "lane_edge": tuple(lane.rpartition("_")[0] for lane in lanes),
        "lane_signal": np.array(lane_signal, dtype=np.int64),
        "lane_length_m": length_m,
        "lane_speed_mps": np.full(len(lanes), 13.9),
        "exit_length_m": np.full(len(exits), 75.0),
        "reach": tuple((Reach(lane, 0.0, 150.0, 1.0),) for lane in lanes),
        "roads": {},
    }
    return Network(**{**values, **fields})


def crossing(**fields: Any) -> Network:
    """Signal J with links 0 north-straight, 1 north-left (one lane each), 2 west-straight.

    Phases: 0 north (left turns permissive), 1 north-left protected, 2 west. Lanes: 0 n_0, 1 n_1, 2 w_0; exits: 0 s_0,
    1 e_0 (north-left and west both lead there).
    """
    movements = [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "l"), Movement(2, 2, 1, "s")]
    program = [("Ggr", 30.0), ("ygr", 3.0), ("rGr", 8.0), ("ryr", 3.0), ("rrG", 33.0), ("rry", 3.0)]
    signal = make_signal("J", 0, movements, program, foes=frozenset({(0, 2), (1, 2)}))
    return make_network([signal], ("n_0", "n_1", "w_0"), ("s_0", "e_0"), [0, 0, 0], **fields)


def corridor() -> Network:
    """Two two-phase signals in a row: A's exit m_0 is B's incoming lane, the third is uncontrollable.

    Lanes: 0 a_0 (A, west), 1 c_0 (A, south), 2 m_0 (B, west), 3 d_0 (B, south), 4 z_0 (Z).
    Exits: 0 m_0 (from A), 1 out_0 (from A's south), 2 end_0 (from B).
    """
    rows = [("Gr", 40.0), ("yr", 3.0), ("rG", 40.0), ("ry", 3.0)]
    first = make_signal("A", 0, [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")], rows, foes=frozenset({(0, 1)}))
    second = make_signal("B", 1, [Movement(0, 2, 2, "s"), Movement(1, 3, 2, "r")], rows, foes=frozenset({(0, 1)}))
    third = make_signal("Z", 2, [Movement(0, 4, 2, "s")], [("G", 90.0)], problem="Signal 'Z' has 1 green phase.")
    lanes = ("a_0", "c_0", "m_0", "d_0", "z_0")
    return make_network([first, second, third], lanes, ("m_0", "out_0", "end_0"), [0, 0, 1, 1, 2])


def make_observation(network: Network, **fields: Any) -> Observation:
    """An empty network in its first phase, all signals due, with some fields replaced.

    Lane fields may be given as plain lists; ``lane_ok`` follows from NaN in ``zone_veh`` unless it is given.
    """
    lanes, exits, signals = len(network.lanes), len(network.exits), len(network.signals)
    values: dict[str, Any] = {
        "time_s": 100.0,
        "queue_veh": np.zeros(lanes),
        "wait_s": np.zeros(lanes),
        "zone_veh": np.zeros((lanes, 3)),
        "speed_mps": network.lane_speed_mps.copy(),
        "flow_veh_h": np.zeros((lanes, 3)),
        "exit_veh": np.zeros(exits),
        "exit_room_veh": network.exit_length_m / 7.5,
        "phase": np.zeros(signals, dtype=np.int64),
        "phase_age_s": np.full(signals, 10.0),
        "due": np.array([signal.problem is None for signal in network.signals]),
        "reports": (),
    }
    kinds = {"phase": np.int64, "due": np.bool_, "lane_ok": np.bool_}
    for name, value in fields.items():
        values[name] = np.array(value, dtype=kinds.get(name, np.float64)) if isinstance(value, list) else value
    values.setdefault("lane_ok", ~(np.isnan(values["zone_veh"]).any(axis=1) | np.isnan(values["queue_veh"])))
    return Observation(**values)
