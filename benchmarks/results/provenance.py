"""Where a result comes from: versions, checkout and machine. No host name, no user name, no paths."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

from benchmarks.results.run_result import GitRecord
from scenarios.common.files import opened
from sim.workers.local import usable_cores

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "torch", "transformers", "peft", "pydantic")


@cache
def versions() -> dict[str, str]:
    """Versions of SUMO, Python, greenloop and the main libraries, read without importing them."""
    named = {"greenloop": "greenloop", "sumo": "libsumo", **{name: name for name in LIBRARIES}}
    found = {"python": platform.python_version()}
    for label, distribution in named.items():
        try:
            found[label] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def content_sha256(path: Path) -> str:
    """Hash of a file, or of all files in a folder with their names; read again only when one of them has changed."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    seen = [(file, file.stat()) for file in files]
    return _content_sha256(path.resolve(), tuple((file.resolve(), s.st_size, s.st_mtime_ns) for file, s in seen))


@lru_cache(maxsize=64)
def _content_sha256(path: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, size, _ in stamps:
        name = str(file.relative_to(path)) if file.is_relative_to(path) else file.name
        digest.update(f"{name}\0{size}\0".encode())
        inner = hashlib.sha256()
        with opened(file) as stream:
            while block := stream.read(1 << 20):
                inner.update(block)
        digest.update(inner.digest())
    return digest.hexdigest()


@cache
def git(root: Path = ROOT) -> GitRecord | None:
    """Commit and dirty flag of the project's checkout; None when greenloop is installed without one."""
    if not (root / ".git").exists():
        return None
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else GitRecord(commit=commit, dirty=bool(status))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def machine() -> dict[str, str | int]:
    """Processor, cores and platform."""
    return {
        "cpu": _cpu(),
        "cores": usable_cores(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
