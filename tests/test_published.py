"""What README and docs quote is what the published runs say: each comparison is made again from its ``runs.csv``."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic_results import make_result, make_scenario

from benchmarks.compare import compare, is_classical
from benchmarks.comparison import Comparison
from benchmarks.results import RunResult, SuiteRecord

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "benchmarks" / "published"
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
#: Folder -> baseline of its comparison.
COMPARED = {"held_out": "best", "held_out_cities": "best", "ablations": "language_model"}


def runs_of(table: pd.DataFrame, suite: str) -> list[RunResult]:
    """A table of runs as results, with what a comparison reads in them."""
    return [
        make_result(
            row["controller"],
            int(row["seed"]),
            suite=SuiteRecord(name=suite, version=1),
            scenario=make_scenario(row["scenario"]),
            metrics={key: float(row[key]) for key in ("delay_s", "completion", "standing_queue_s")},
        )
        for row in table.to_dict("records")
    ]


def compared(folder: str) -> tuple[Comparison, pd.DataFrame]:
    """The comparison made again, and the published one."""
    published = pd.read_csv(PUBLISHED / folder / "comparison.csv")
    table = pd.read_csv(PUBLISHED / folder / "runs.csv")
    if "charged" in table:
        table = table[table.charged == 0]
    names = list(published.controller.unique())
    return compare(runs_of(table, folder), COMPARED[folder], controllers=names), published


@pytest.mark.parametrize("folder", COMPARED)
def test_a_comparison_comes_from_its_runs(folder: str) -> None:
    made, published = compared(folder)
    rows = published[published.case != "overall"].set_index(["case", "controller"])
    assert len(made.rows) == len(rows)
    for row in made.rows:
        there = rows.loc[(row.case, row.controller)]
        assert (row.rank, row.seeds, row.verdict) == (there["rank"], there.seeds, there.verdict)
        assert row.mean == pytest.approx(there["mean"], abs=2e-3)
        assert row.gridlock_rate == pytest.approx(there.gridlock_rate)
        if row.difference:
            assert row.difference.mean == pytest.approx(there.difference_mean, abs=3e-3)
        if row.difference and row.difference.interval:
            assert row.difference.interval[0] == pytest.approx(there.difference_interval_low, abs=5e-3)
            assert row.difference.interval[1] == pytest.approx(there.difference_interval_high, abs=5e-3)
    overall = published[published.case == "overall"].set_index("controller")
    assert {row.controller for row in made.overall} == set(overall.index)
    for ranked in made.overall:
        assert ranked.score == pytest.approx(overall.score[ranked.controller], abs=1e-3)
        assert ranked.p_holm is None or ranked.p_holm == pytest.approx(overall.p_holm[ranked.controller], abs=1e-3)


def test_the_readme_quotes_the_held_out_networks() -> None:
    """Delay, relative and paired difference of each row of the table, and the plain mean of the rows."""
    published = pd.read_csv(PUBLISHED / "held_out" / "comparison.csv")
    relative: dict[str, list[float]] = {"language_model": [], "phase_net": []}
    for case, rows in published[published.case != "overall"].groupby("case"):
        network, variant = str(case).split("@")
        line = quoted(rf"\| {network}, {variant} \|", README)
        of = rows.set_index("controller")
        best = of[[is_classical(name) for name in of.index]]["mean"].idxmin()
        assert line[1] == f"{of['mean'][best]:.1f} ({best})"
        for name, cell in (("language_model", line[2]), ("phase_net", line[4])):
            change = of["mean"][name] / of["mean"][best] - 1
            relative[name].append(1 + change)
            assert plain(cell) == f"{of['mean'][name]:.1f} ({percent(change)})"
        own = of.loc["language_model"]
        difference = own.difference_mean, own.difference_interval_low, own.difference_interval_high
        assert plain(line[3]) == interval(*difference)
    overall = published[published.case == "overall"].set_index("controller")
    for name, ratios in relative.items():
        row = overall.loc[name]
        assert f"{row.score:.2f} [{row.interval_low:.2f}, {row.interval_high:.2f}]" in README
        assert f"{sum(ratios) / len(ratios):.2f}" in README


def test_the_docs_quote_the_held_out_cities() -> None:
    published = pd.read_csv(PUBLISHED / "held_out_cities" / "comparison.csv")
    overall = published[published.case == "overall"].set_index("controller")
    rows = published[published.case != "overall"].assign(kind=lambda rows: rows.case.str.split("@").str[1])
    means = rows.groupby(["controller", "kind"])["mean"].mean()
    for name in overall.index:
        line = quoted(rf"\| {name} \| \**\d+\.\d\** \| \**\d+\.\d\** \| \d\.\d\d", RESULTS)
        assert [plain(cell) for cell in line[1:3]] == [f"{means[name, kind]:.1f}" for kind in ("plain", "incidents")]
        assert line[3].startswith(f"{overall.score[name]:.2f}")


def test_the_docs_quote_the_ablations() -> None:
    """Delay and paired difference of each row, on both networks."""
    folder = PUBLISHED / "ablations"
    rows = pd.read_csv(folder / "comparison.csv").set_index(["case", "controller"])
    charged = pd.read_csv(folder / "charged.csv").set_index("scenario")
    names = {
        "as it ships": "", "forecast: persistence": ":forecast=persistence", "forecast: own": ":forecast=own",
        "forecast: reference": ":forecast=reference", "without reports": ":shows=no_reports",
        "shuffled facts": ":shows=shuffled",
    }  # fmt: skip
    for case, place in (("cologne3@incidents", 1), ("ingolstadt1@incidents", 3)):
        for words, ending in names.items():
            row, line = rows.loc[(case, f"language_model{ending}")], quoted(rf"\| {words} \|", RESULTS)
            assert line[place] == f"{row['mean']:.1f}"
            difference = [row[f"difference_{part}"] for part in ("mean", "interval_low", "interval_high")]
            assert plain(line[place + 1]) == (interval(*difference) if ending else "")
        row, line = charged.loc[case], quoted(r"\| latency charged \|", RESULTS)
        assert line[place] == f"{row.charged_delay_s:.1f}"
        assert plain(line[place + 1]) == interval(row.difference_s, row.difference_low_s, row.difference_high_s)


def quoted(start: str, text: str) -> list[str]:
    """The cells of the one line of a text that begins like this."""
    lines = [line for line in text.splitlines() if re.match(start, line)]
    assert len(lines) == 1, start
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def plain(cell: str) -> str:
    return cell.replace("*", "").replace("−", "-")


def percent(change: float) -> str:
    return f"{100 * change:+.0f} %".replace("-0 %", "+0 %")


def interval(middle: float, low: float, high: float) -> str:
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"
