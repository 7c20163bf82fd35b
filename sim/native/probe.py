"""Asks SUMO which signal programs are active: started in a process of its own, since libsumo holds one simulation.

Arguments: network, additional file, begin and end (s), and the file for the answer, JSON by signal: ``active``, the
program at the begin, and ``switches``, pairs of the time of a change (s) and the program from then on.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(net: str, additional: str, begin: str, end: str, output: str) -> None:
    """Load, look, step through to the end without any traffic, and write what was seen."""
    conn: Any = importlib.import_module("libsumo")
    arguments = ["--net-file", net, "--additional-files", additional, "--begin", begin, "--step-length", "1"]
    conn.start(["sumo", *arguments, "--no-step-log", "true", "--no-warnings", "true"])
    light = conn.trafficlight
    found = {name: {"active": light.getProgram(name), "switches": []} for name in light.getIDList()}
    now = {name: said["active"] for name, said in found.items()}
    time_s = float(begin)
    while time_s < float(end):
        conn.simulationStep()
        for name, before in now.items():
            program = light.getProgram(name)
            if program != before:  # made at the beginning of the second that has just been simulated
                found[name]["switches"].append([time_s, program])
                now[name] = program
        time_s += 1
    conn.close()
    Path(output).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
