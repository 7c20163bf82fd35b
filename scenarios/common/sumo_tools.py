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

from scenarios.common.errors import ScenarioError

#: SUMO takes a comma for the end of a file name, and ${...} for a variable.
_SPECIAL = frozenset(",$")
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


class PlainNames:
    """Other names for files whose path holds what SUMO does not take as part of one; their folder stays the same.

    A link to the folder stands for it, so that files which name others beside them still find them. Where the name
    itself is special, a folder of links stands for it, one of them under a plain name.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._links: Path | None = None
        self._folders: dict[Path, Path] = {}
        self._renamed: list[tuple[Path, Path]] = []

    def __enter__(self) -> PlainNames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, path: Path) -> Path:
        """A path to the same file, or to where it will be written, that SUMO takes as one name."""
        if not _SPECIAL & set(str(path)):
            return path
        path = path.absolute()
        if _SPECIAL & set(path.name):
            return self._plain_name(path)
        return self.folder(path.parent) / path.name

    def folder(self, folder: Path) -> Path:
        """A path to the same folder that SUMO takes as one name."""
        if not _SPECIAL & set(str(folder)):
            return folder
        if folder not in self._folders:
            link = self._new()
            link.symlink_to(folder.absolute(), target_is_directory=True)
            self._folders[folder] = link
        return self._folders[folder]

    def close(self) -> None:
        """Move what was written under a plain name to its place, and remove the links; a fork's end changes nothing."""
        if self._owner != os.getpid():
            return
        for plain, path in self._renamed:
            if plain.exists() and not plain.is_symlink():
                shutil.move(plain, path)
        if self._links is not None:
            shutil.rmtree(self._links, ignore_errors=True)  # removes links, not what they lead to
        self._links, self._folders, self._renamed = None, {}, []

    def _plain_name(self, path: Path) -> Path:
        known = [plain for plain, renamed in self._renamed if renamed == path]
        if known:
            return known[0]
        place = self._new()
        place.mkdir()
        if path.exists():
            for beside in path.parent.iterdir():
                (place / beside.name).symlink_to(beside)
        plain = place / "".join("_" if letter in _SPECIAL else letter for letter in path.name)
        if path.exists() and not plain.is_symlink():
            plain.symlink_to(path)
        self._renamed.append((plain, path))
        return plain

    def _new(self) -> Path:
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="greenloop-names-"))
        return self._links / str(len(self._folders) + len(self._renamed))


def run_tool(tool: str, arguments: Sequence[object], purpose: str) -> str:
    """Run one of SUMO's programs (``netconvert``) or Python tools (``randomTrips.py``); return what it said.

    Args:
        tool: its name.
        arguments: options and values; a list or tuple of paths is given as SUMO wants several files.
        purpose: what it is for, as in "Routing my_city"; begins the sentence when it fails.

    Raises:
        ScenarioError: the program failed.
    """
    home = sumo_home()
    command = [sys.executable, home / "tools" / tool] if tool.endswith(".py") else [home / "bin" / tool]
    environment = {**os.environ, "SUMO_HOME": str(home)}
    with PlainNames() as names:
        asked = [_argument(names, argument) for argument in arguments]
        try:
            done = subprocess.run(
                [*map(str, command), *asked],
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except (OSError, ValueError) as error:  # ValueError: a null character in an argument
            reason = getattr(error, "strerror", None) or error
            raise ScenarioError(f"{purpose} failed: SUMO's {tool} cannot be started ({reason}).") from error
    if done.returncode:
        raise ScenarioError(f"{purpose} failed: SUMO's {tool} says: {_complaint(done.stderr, done.returncode)}")
    return done.stderr


def _argument(names: PlainNames, argument: object) -> str:
    if isinstance(argument, list | tuple):
        return ",".join(str(names.path(Path(file))) for file in argument)
    return str(names.path(argument)) if isinstance(argument, Path) else str(argument)


def _complaint(stderr: str, code: int) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error")]
    if not errors and lines and lines[0].startswith("Traceback"):
        return lines[-1]  # of a Python tool: the exception
    if code < 0 and not errors:
        return f"nothing, it crashed (signal {-code})"
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
