"""What ``greenloop doctor`` finds on a machine. Nothing here imports SUMO or torch into this process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results.provenance import machine, versions
from llm.backbone import cards
from llm.backbone.default_model import cached_folder, is_cached
from scenarios import resco
from scenarios.spec import ScenarioError

PACKAGES = ("sim", "scenarios", "controllers", "llm", "benchmarks")
ENOUGH_GB = 2


@dataclass(frozen=True)
class Check:
    """One line of ``greenloop doctor``."""

    name: str
    ok: bool
    text: str


def doctor() -> list[Check]:
    """Check this machine."""
    found = versions()
    return [
        Check("Python", sys.version_info >= (3, 11), f"{found['python']} (3.11 or later is needed)"),
        Check("greenloop", "greenloop" in found, found.get("greenloop", "not installed: pip install -e .")),
        _imported_names(),
        _sumo_binary(),
        _libsumo(),
        _resco(),
        _model(),
        _adapter(),
        Check("processor", True, f"{machine()['cpu']}, {machine()['cores']} usable cores"),
        Check("fork", hasattr(os, "fork"), "lookahead forks the simulation; it cannot run on systems without fork"),
        _disk(),
    ]


def _imported_names() -> Check:
    """Another distribution on PyPI also installs a package called ``llm``; ours must win."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        place = Path(spec.origin).parent.parent if spec and spec.origin else None
        if place != Path(__file__).resolve().parents[2]:
            return Check("packages", False, f"'{name}' comes from {place}, another distribution; uninstall that one")
    return Check("packages", True, "sim, scenarios, controllers, llm and benchmarks are greenloop's own")


def _sumo_binary() -> Check:
    code = "import sumo, pathlib; print(pathlib.Path(sumo.SUMO_HOME) / 'bin' / 'sumo')"
    place, problem = _run([sys.executable, "-c", code])
    if problem:
        return Check("SUMO", False, "eclipse-sumo is missing: pip install eclipse-sumo")
    text, problem = _run([place, "--version"])
    return Check("SUMO", not problem, problem or text.splitlines()[0])


def _libsumo() -> Check:
    text, problem = _run([sys.executable, "-c", "import libsumo; print(libsumo.simulation.getVersion()[1])"])
    return Check("libsumo", not problem, text or f"cannot be imported ({problem}); use --backend traci")


def _resco() -> Check:
    try:
        for name in resco.RESCO:
            resco.load(name).check_files()
    except ScenarioError as error:
        return Check("RESCO networks", False, str(error))
    return Check("RESCO networks", True, f"{len(resco.RESCO)} networks in the sumo-rl wheel")


def _model() -> Check:
    later = "not fetched yet: greenloop fetch-model, or it comes on first use"
    return Check("default model", True, f"cached in {cached_folder()}" if is_cached() else later)


def _adapter() -> Check:
    folder = cards.shipped()
    return Check("adapter", folder is not None, str(folder or f"none in {cards.SHIPPED}: install greenloop again"))


def _disk() -> Check:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check("disk", free_gb > ENOUGH_GB, f"{free_gb:.0f} GB free here ({ENOUGH_GB} GB are enough)")


def _run(command: list[str]) -> tuple[str, str]:
    """Output, and what went wrong or an empty text."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else f"exit code {done.returncode}"
    return done.stdout.strip(), ""
