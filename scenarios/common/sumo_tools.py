"""SUMO's own programs, and the cache for what they make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from scenarios.spec import ScenarioError

_COMMENT = re.compile(rb"<!--.*?-->\s*", re.DOTALL)


def sumo_home() -> Path:
    """The folder of the installed SUMO wheel.

    Raises:
        ScenarioError: it is not installed.
    """
    spec = find_spec("sumo")
    if spec is None or not spec.submodule_search_locations:
        raise ScenarioError("SUMO is not installed in this environment; run 'pip install eclipse-sumo'.")
    return Path(spec.submodule_search_locations[0])


def sumo_version() -> str:
    """The version of the installed wheel: other versions may build and route differently."""
    try:
        return version("eclipse-sumo")
    except PackageNotFoundError:
        return "unknown"


def run_tool(tool: str, arguments: Sequence[object], purpose: str) -> str:
    """Run one of SUMO's programs (``netconvert``) or Python tools (``randomTrips.py``); return what it said.

    ``purpose`` says what it is for, as in "Routing my_city", and begins the sentence when it fails.

    Raises:
        ScenarioError: the program failed.
    """
    home = sumo_home()
    command = [sys.executable, home / "tools" / tool] if tool.endswith(".py") else [home / "bin" / tool]
    environment = {**os.environ, "SUMO_HOME": str(home)}
    try:
        done = subprocess.run(
            [str(part) for part in (*command, *arguments)], env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ScenarioError(f"{purpose} failed: SUMO's {tool} cannot be started ({error.strerror}).") from error
    if done.returncode:
        raise ScenarioError(f"{purpose} failed: SUMO's {tool} says: {_complaint(done.stderr)}")
    return done.stderr


def _complaint(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error")]
    if not errors and lines and lines[0].startswith("Traceback"):
        return lines[-1]  # of a Python tool: the exception
    return (errors or lines or ["nothing"])[0]


def strip_comments(file: Path) -> None:
    """Remove XML comments: SUMO's programs write the time and absolute paths there."""
    file.write_bytes(_COMMENT.sub(b"", file.read_bytes()))


def cache_root(cache_dir: Path | None = None) -> Path:
    """Where generated files are kept: ``cache_dir``, or the user's cache folder."""
    return Path(cache_dir) if cache_dir is not None else platformdirs.user_cache_path("greenloop")


def cached(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return ``folder``, which ``build`` fills if it is not there yet.

    It is filled under another name and then renamed, so that several processes can ask for it at once and none sees
    half of it.

    Raises:
        ScenarioError: the cache cannot be written.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        build(draft)
        draft.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was faster, with the same contents
            raise _unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _unwritable(folder: Path, error: OSError) -> ScenarioError:
    return ScenarioError(
        f"The cache folder {folder} cannot be written ({error.strerror}); free some space or set XDG_CACHE_HOME."
    )
