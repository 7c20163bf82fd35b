"""What the README and the docs show works as it stands there: snippets run, commands exist, links lead somewhere.

A fenced ``sh`` or ``python`` block says in an HTML comment on the line above it what is done with it:

* ``<!-- run -->`` or ``<!-- run: --minutes 1 -->``: it is run as it stands; the options are added to ``greenloop run``.
* ``<!-- file: mine.py -->`` (any language): it is written to that file, for the blocks that follow on its page.
* ``<!-- controller -->``: it is a controller; a few minutes of traffic are run with it.
* ``<!-- check: why it is not run -->``: every ``greenloop`` command in it must exist with these options, names and make
  targets; Python must parse.

Without a comment Python is run. The blocks of a page run in order, in one folder.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer.main

import greenloop
from benchmarks import suite
from benchmarks.cli.main import app
from benchmarks.figures.registry import REGISTRY
from controllers import registry
from scenarios import registry as scenarios
from sim.timings import TIMINGS

ROOT = Path(__file__).resolve().parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PACKAGES = ("scenarios", "sim", "controllers", "llm", "benchmarks")
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
VERBS = ("run", "file", "controller", "check")
BLOCK = re.compile(
    r"(?:^<!-- (?P<verb>\w+)(?:: (?P<said>.+?))? -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
CONTROLLER_RUN = ["--scenario", "cologne3", "--minutes", "4", "--seeds", "1-1", "--workers", "1"]


@dataclass(frozen=True)
class Snippet:
    """One fenced block: where it is, what is done with it, and the rest of its comment."""

    page: Path
    line: int
    language: str
    verb: str
    said: str
    code: str

    @property
    def place(self) -> str:
        return f"{by_name(self.page)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    found = []
    for block in BLOCK.finditer(text):
        verb = block["verb"] or {"python": "run", "sh": "check"}.get(block["language"], "")
        line = text.count("\n", 0, block.start()) + 1
        found.append(Snippet(page, line, block["language"], verb, block["said"] or "", block["code"]))
    return [snippet for snippet in found if snippet.verb]


def by_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def shell(code: str, folder: Path, added: str = "") -> str:
    """Run a script as a reader would; ``added`` goes to every ``greenloop run`` in it."""
    function = f'greenloop() {{ if [ "$1" = run ]; then set -- "$@" {added}; fi; command greenloop "$@"; }}\n'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", function + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run_controller(snippet: Snippet, folder: Path) -> None:
    (name,) = re.findall(r"^class (\w+)", snippet.code, flags=re.MULTILINE)
    (folder / "mine.py").write_text(snippet.code, encoding="utf-8")
    out = folder / f"results-{name}"
    command = ["greenloop", "run", *CONTROLLER_RUN, "--controller", f"mine.py:{name}", "--no-figures", "--json"]
    assert json.loads(shell(shlex.join([*command, "--out", str(out)]), folder))
    (result,) = out.glob("*.result.json")
    metrics = json.loads(result.read_text())["metrics"]
    assert metrics["arrived_veh"] > 0
    assert metrics["switches"] > 0


def run_python(snippet: Snippet, folder: Path) -> None:
    file = folder / f"line_{snippet.line}.py"
    file.write_text(snippet.code, encoding="utf-8")
    done = subprocess.run([sys.executable, file], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{snippet.place}: {done.stderr[-2000:]}"


def check(snippet: Snippet) -> None:
    if snippet.language == "python":
        ast.parse(snippet.code)
        return
    for words in commands(snippet.code):
        check_command(words, snippet.place)


def commands(code: str) -> Iterator[list[str]]:
    """The simple commands of a script, without comments and assignments."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


def check_command(words: list[str], place: str) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        asked = {word for word in words[1:] if "=" not in word}  # the others set a variable
        assert asked <= {*targets}, f"{place}: {words}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None, f"{place}: {words}"
    elif words[0] == "greenloop":
        group = typer.main.get_command(app)
        assert words[1] in group.commands, f"{place}: greenloop has no command {words[1]}"  # type: ignore[attr-defined]
        command = group.commands[words[1]]  # type: ignore[attr-defined]
        context = command.make_context(words[1], list(words[2:]))  # an unknown option raises
        check_names(context.params, place)


def check_names(given: dict[str, object], place: str) -> None:
    known = {
        "controller": set(registry.names()),
        "suite": set(suite.names()),
        "scenario": set(scenarios.names()),
        "timings": set(TIMINGS),
        "figure": set(REGISTRY),
    }
    for key, names in known.items():
        value = given.get(key)
        for one in value if isinstance(value, list | tuple) else [value] if value else []:
            name = str(one).partition(":")[0]
            own = name.endswith((".py", ".yaml", "/")) or re.fullmatch(r"city-\d+-\d+", name)
            assert own or name in names, f"{place}: no {key} is called {name}"


# --- snippets


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_each_snippet_says_what_is_done_with_it(page: Path) -> None:
    found = snippets(page)
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(BLOCK.findall(text)), "a fence is indented"
    assert not re.findall(r"^```(?:bash|shell|console|py)\b", text, flags=re.MULTILINE), "call it sh or python"
    for snippet in found:
        assert snippet.verb in VERBS, f"{snippet.place}: {snippet.verb}"
        assert snippet.verb != "file" or snippet.said, f"{snippet.place}: name the file"
        if snippet.verb == "check" and page != README:
            assert len(snippet.said.split()) >= 2, f"{snippet.place}: say why it is not run, or run it"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_what_is_not_run_exists(page: Path) -> None:
    for snippet in snippets(page):
        if snippet.verb == "check":
            check(snippet)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(snippet.verb != "check" for snippet in snippets(page))], ids=by_name
)
def test_snippets_run_as_they_stand(page: Path, tmp_path: Path) -> None:
    for snippet in snippets(page):
        if snippet.verb == "file":
            (tmp_path / snippet.said).write_text(snippet.code, encoding="utf-8")
        elif snippet.verb == "controller":
            run_controller(snippet, tmp_path)
        elif snippet.verb == "run" and snippet.language == "sh":
            shell(snippet.code, tmp_path, snippet.said)
        elif snippet.verb == "run":
            run_python(snippet, tmp_path)


def test_a_file_of_a_page_is_used_on_it() -> None:
    for page in PAGES:
        found = snippets(page)
        for number, snippet in enumerate(found):
            if snippet.verb == "file":
                later = [other.code for other in found[number + 1 :] if other.verb in ("run", "file")]
                assert any(snippet.said in code for code in later), f"{snippet.place}: nothing uses {snippet.said}"


def test_the_controller_of_the_readme_is_short() -> None:
    (code,) = [snippet.code for snippet in snippets(README) if snippet.verb == "controller"]
    assert len(code.strip().splitlines()) <= 20


@pytest.mark.parametrize(
    "wrong",
    [
        "greenloop rewind results",
        "greenloop run --scenari cologne1",
        "greenloop run --controller greedyy",
        "greenloop run --suite quickest",
        "greenloop plot results --figure delays",
        "make tests",
        "python -m benchmarks.nothing",
    ],
)
def test_what_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|no command|no option|is called|nothing|tests"):
        check(Snippet(README, 1, "sh", "check", "", wrong))


# --- completeness


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_each_metric_of_a_result_is_explained() -> None:
    text = page("metrics.md")
    names: set[str] = set()
    for file in (ROOT / "benchmarks" / "published" / "demo").glob("*.result.json"):
        names |= set(json.loads(file.read_text())["metrics"])
    assert names
    ours = {name for name in names if not re.match(r"(controller|repairs|audit)_", name)}
    assert [name for name in sorted(ours) if f"`{name}`" not in text] == []


def test_each_figure_controller_suite_and_public_name_has_its_place() -> None:
    assert [name for name in REGISTRY if f"`{name}`" not in page("figures.md")] == []
    assert [name for name in registry.names() if f"`{name}`" not in page("your-controller.md")] == []
    assert [name for name in suite.names() if f"`{name}`" not in page("suites.md")] == []
    assert [name for name in greenloop.__all__ if f"::: greenloop.{name}\n" not in page("api.md")] == []
    commands_of = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    everything = "".join(file.read_text(encoding="utf-8") for file in DOCS.rglob("*.md"))
    assert [name for name in commands_of if f"greenloop {name}" not in everything] == []


def test_each_sentence_of_troubleshooting_is_one_that_greenloop_says() -> None:
    """What stands in the first column between two … is text of the package's source."""
    said = "\0".join(text for folder in PACKAGES for file in (ROOT / folder).rglob("*.py") for text in texts(file))
    sentences = re.findall(r"^\| `([^`]+)`", page("troubleshooting.md"), flags=re.MULTILINE)
    assert len(sentences) > 30
    assert [part for one in sentences for part in one.split("…") if part.strip() and part not in said] == []


def texts(file: Path) -> Iterator[str]:
    """Every text in a Python file; what an f-string fills in is a …."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("file", [README, ROOT / "benchmarks" / "published" / "README.md"], ids=str)
def test_links_outside_the_site_lead_somewhere(file: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (file.parent / target).exists()] == []


# --- the site


class Requests(HTMLParser):
    """Collects the addresses that a browser asks for by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found += [value for key in ("src", "srcset") if (value := given.get(key))]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found += [given.get("href") or ""]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the docs extra is not installed: pip install 'greenloop[docs]'")
    pytest.importorskip("mkdocstrings", reason="the docs extra is not installed: pip install 'greenloop[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr  # a broken link or anchor is a warning, and ends it
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_is_whole_and_asks_nobody_else(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {file.stem for file in DOCS.glob("*.md")} <= {file.stem for file in pages}
    for file in pages:
        parser = Requests()
        parser.feed(file.read_text(encoding="utf-8"))
        assert parser.found
        assert [address for address in parser.found if "//" in address.partition("?")[0]] == [], file.name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style.name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_api_page_shows_what_docstrings_say(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    assert [name for name in greenloop.__all__ if f'id="greenloop.{name}"' not in text] == []
    assert "vehicles 0-50, 50-100 and 100-200 m before the" in text  # Observation.zone_veh
