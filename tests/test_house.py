"""The rooms of the house: which way imports run, how full a folder is, and what the wheel carries."""

from __future__ import annotations

import ast
import graphlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: A package may import those to its left and itself.
ORDER = ("scenarios", "sim", "llm", "controllers", "benchmarks")
#: Source files of one folder; more is a hall, not a room.
MOST_FILES = 14


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the five packages by its dotted name; type-only imports are part of it."""
    found = {}
    for package in ORDER:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> set[str]:
    """Dotted names of the modules of the five packages that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in modules() else node.module)
    return names & set(modules())


def test_imports_run_one_way() -> None:
    against = [
        f"{name} imports {other}"
        for name, tree in modules().items()
        for other in sorted(imports(tree))
        if ORDER.index(other.partition(".")[0]) > ORDER.index(name.partition(".")[0])
    ]
    assert against == []


def test_no_two_modules_import_each_other() -> None:
    graph = {name: imports(tree) - {name} for name, tree in modules().items()}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"These modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_no_folder_is_a_hall() -> None:
    folders = Counter(
        str(path.parent.relative_to(ROOT))
        for top in (*ORDER, "tests")
        for path in (ROOT / top).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {folder: count for folder, count in folders.items() if count > MOST_FILES} == {}


def test_the_test_folders_are_those_of_the_code() -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent != ROOT / "tests" and not (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir()
    ]
    assert strangers == []


@pytest.mark.slow
def test_the_wheel_runs_where_nothing_else_is(tmp_path: Path) -> None:
    """Built, put into a fresh folder, and run from there: a package that is not in the wheel would be missing."""
    source = tmp_path / "source"  # a build leaves folders behind
    for name in (*ORDER, "greenloop.py", "pyproject.toml", "README.md", "LICENSE"):
        place = ROOT / name
        copy = shutil.copytree if place.is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(place, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    expected = {"/".join(name.split(".")) for name in modules()}
    carried = {name.removesuffix(".py").removesuffix("/__init__") for name in names if name.endswith(".py")}
    assert expected <= carried
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/published/"))]
    pages = [path for folder in ("report", "replay") for path in (ROOT / "benchmarks" / folder).iterdir()]
    assert {str(path.relative_to(ROOT)) for path in pages if path.is_file()} <= names

    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from benchmarks.cli.main import main; main(sys.argv[1:])"
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def greenloop(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "site"), *arguments],
            cwd=tmp_path, env=outside, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "SUMO" in greenloop("doctor")
    run = ["run", "--scenario", "cologne1", "--minutes", "1", "--seeds", "1-1", "--controller", "fixed_time"]
    assert "fixed_time" in greenloop(*run, "--out", "out", "--no-figures")
    assert len(list((tmp_path / "out").glob("*.result.json"))) == 1
