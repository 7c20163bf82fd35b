"""What README and docs quote is what the published runs say: each comparison is made again from its ``runs.csv``."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.compare import statistics as stats
from benchmarks.compare.comparison import Comparison
from benchmarks.compare.pipeline import compare, is_classical
from benchmarks.results.run_result import RunResult, SuiteRecord
from llm.backbone import cards
from llm.backbone.loading import adapter_sha256
from tests.support.synthetic_results import make_result, make_scenario

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "benchmarks" / "published"
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
#: Comparison -> its baseline.
COMPARED = {
    "held_out/comparison.csv": "best",
    "held_out_cities/comparison.csv": "best",
    "ablations/comparison.csv": "language_model",
    "ablations/trained/comparison.csv": "language_model",
}


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


def compared(file: str) -> tuple[Comparison, pd.DataFrame]:
    """The comparison made again, and the published one."""
    published = pd.read_csv(PUBLISHED / file)
    table = pd.read_csv((PUBLISHED / file).parent / "runs.csv")
    if "charged" in table:
        table = table[table.charged == 0]
    names = list(published.controller.unique())
    return compare(runs_of(table, file), COMPARED[file], controllers=names), published


@pytest.mark.parametrize("file", COMPARED)
def test_a_comparison_comes_from_its_runs(file: str) -> None:
    made, published = compared(file)
    rows = published[published.case != "overall"].set_index(["case", "controller"])
    assert len(made.rows) == len(rows)
    for row in made.rows:
        there = rows.loc[(row.case, row.controller)]
        assert (row.rank, row.seeds, row.verdict) == (there["rank"], there.seeds, there.verdict)
        alike(row.mean, there["mean"])
        alike(row.gridlock_rate, there.gridlock_rate)
        alike_interval(row.interval, there, "interval")
        found = row.difference
        alike(found and found.mean, there.difference_mean)
        alike(found and found.p, there.difference_p, most=1e-4)
        alike(found and found.p_holm, there.difference_p_holm, most=1e-4)
        alike_interval(found and found.interval, there, "difference_interval")
    overall = published[published.case == "overall"].set_index("controller")
    assert {row.controller for row in made.overall} == set(overall.index)
    for ranked in made.overall:
        there = overall.loc[ranked.controller]
        alike(ranked.score, there.score)
        alike(ranked.p_holm, there.p_holm, most=1e-4)
        alike_interval(ranked.interval, there, "interval")


@pytest.mark.parametrize("folder", ["held_out", "held_out_cities", "ablations", "ablations/trained"])
def test_the_runs_are_of_the_adapter_that_ships_and_of_no_fallback(folder: str) -> None:
    runs = pd.read_csv(PUBLISHED / folder / "runs.csv")
    runs = runs[runs.controller.str.match(r"language_model(:|$)")]
    shipped = runs[~runs.controller.str.contains("adapter=")]
    assert set(shipped.adapter_sha256) == {adapter_sha256(cards.SHIPPED)}
    assert runs.fallbacks.sum() == 0


def test_the_charged_latency_comes_from_its_runs() -> None:
    runs = pd.read_csv(PUBLISHED / "ablations" / "runs.csv")
    runs = runs[runs.controller == "language_model"].set_index(["scenario", "charged", "seed"]).delay_s.sort_index()
    for row in pd.read_csv(PUBLISHED / "ablations" / "charged.csv").itertuples():
        plain_s, charged_s = runs[row.scenario, 0], runs[row.scenario, 1]
        alike(charged_s.mean(), row.charged_delay_s)
        difference = (charged_s - plain_s).tolist()
        alike(sum(difference) / len(difference), row.difference_s)
        low_s, high_s = stats.bootstrap_interval(difference) or (None, None)
        alike(low_s, row.difference_low_s)
        alike(high_s, row.difference_high_s)


def test_the_docs_quote_the_held_out_networks() -> None:
    """Delay, relative and paired difference of each row of the table, the means over rows and the intervals' count."""
    published = pd.read_csv(PUBLISHED / "held_out" / "comparison.csv")
    relative: dict[str, dict[str, float]] = {"language_model": {}, "phase_net": {}}
    below = 0
    cases = published[published.case != "overall"].groupby("case")
    assert len(cases) == len(re.findall(r"^\| \w+, (?:plain|incidents) \|", RESULTS, flags=re.MULTILINE)) == 12
    for case, rows in cases:
        network, variant = str(case).split("@")
        line = quoted(rf"\| {network}, {variant} \|", RESULTS)
        of = rows.set_index("controller")
        best = of[[is_classical(name) for name in of.index]]["mean"].idxmin()
        assert line[1] == f"{of['mean'][best]:.1f} ({best})"
        for name, cell in (("language_model", line[2]), ("phase_net", line[4])):
            change = of["mean"][name] / of["mean"][best] - 1
            relative[name][str(case)] = 1 + change
            delay = f"{of['mean'][name]:.1f}"
            assert cell.replace("−", "-") == f"{f'**{delay}**' if change < 0 else delay} ({percent(change)})"
        own = of.loc["language_model"]
        difference = own.difference_mean, own.difference_interval_low, own.difference_interval_high
        assert plain(line[3]) == interval(*difference)
        assert own.difference_interval_low < 0
        below += own.difference_interval_high < 0
    assert (below, "Eight of the twelve intervals lie below zero and none above" in words(RESULTS)) == (8, True)
    overall = published[published.case == "overall"].set_index("controller")
    means = {name: pd.Series(found) for name, found in relative.items()}
    for name in relative:
        row = overall.loc[name]
        assert f"{row.score:.2f} [{row.interval_low:.2f}, {row.interval_high:.2f}]" in RESULTS
    assert f"p = {overall.p_holm['language_model']:.3f} after Holm" in words(RESULTS)
    model, net = means["language_model"], means["phase_net"]
    assert f"is {model.mean():.3f} times the best classical delay for the model and {net.mean():.3f} for" in words(
        RESULTS
    )
    assert f"it is {as_one(model):.3f} and {as_one(net):.3f}." in words(RESULTS)
    rows_share, places_share = 100 * (1 - model.mean()), 100 * (1 - as_one(model))
    assert f"{rows_share:.1f} % over the twelve rows, {places_share:.0f} % with Ingolstadt as one" in words(RESULTS)


def test_the_readme_quotes_the_docs() -> None:
    """The README's table has the delays of the longer one, which is compared with the runs above, and its sentence."""
    for network in ("cologne8", "ingolstadt21", "ingolstadt7", "ingolstadt1", "cologne3", "grid4x4"):
        told = quoted(rf"\| {network} \|", README)[1:]
        for cells, variant in ((told[:3], "plain"), (told[3:], "incidents")):
            line = quoted(rf"\| {network}, {variant} \|", RESULTS)
            assert cells == [line[1], line[2].partition(" (")[0], line[4].partition(" (")[0]]
    overall = pd.read_csv(PUBLISHED / "held_out" / "comparison.csv").query("case == 'overall'").set_index("controller")
    row = overall.loc["language_model"]
    score = f"{row.score:.2f} [{row.interval_low:.2f}, {row.interval_high:.2f}] times"
    assert score in words(README)
    assert f"(p = {row.p_holm:.3f} after Holm)" in words(README)


def test_the_docs_quote_the_held_out_cities() -> None:
    published = pd.read_csv(PUBLISHED / "held_out_cities" / "comparison.csv")
    rows = published[published.case != "overall"]
    overall = published[published.case == "overall"].set_index("controller")
    delays = rows.pivot(index="case", columns="controller", values="mean")
    best = delays[[name for name in delays if is_classical(name)]].min(axis=1)
    assert set(rows.seeds) == {10}
    for name in overall.index:
        line = quoted_city(name, overall, delays)
        if not is_classical(name):
            assert line[3].endswith(f"p = {overall.p_holm[name]:.3f}")
            assert line[4] == f"{(delays[name] < best).sum()} of {len(best)}"
    ours = overall.loc["language_model"]
    assert f"95 % interval {ours.interval_low:.3f} to {ours.interval_high:.3f}" in words(RESULTS)
    found = rows[rows.controller == "language_model"]
    below, above = (found.difference_interval_high < 0).sum(), (found.difference_interval_low > 0).sum()
    assert (below, above, "below zero in 20 cases of 40 and above in two" in words(RESULTS)) == (20, 2, True)
    means = delays.groupby(delays.index.str.split("@").str[1]).mean()
    share = 1 - means.language_model / means.holding
    said = f"is {100 * share['plain']:.0f} % below the best single classical controller, holding, without incidents"
    assert f"{said} and {100 * share['incidents']:.0f} % below it with them" in words(RESULTS)
    ahead = f"better than it in {(delays.language_model < best).sum()} of {len(best)} cases"
    worst = 100 * ((delays.language_model / best).max() - 1)
    assert f"{ahead} and nowhere more than {math.ceil(worst)} % behind" in words(RESULTS)
    assert f"{ours.score:.2f} times the best of the ten classical controllers in each case (p = {ours.p_holm:.3f})" in (
        words(RESULTS)
    )


def quoted_city(name: str, overall: pd.DataFrame, delays: pd.DataFrame) -> list[str]:
    """A controller's line of the cities' tables; its delays and score are right."""
    line = quoted(rf"\| {name} \| \**\d+\.\d\** \| \**\d+\.\d\** \| \d\.\d\d", RESULTS)
    means = [delays.loc[delays.index.str.endswith(f"@{kind}"), name].mean() for kind in ("plain", "incidents")]
    assert [plain(cell) for cell in line[1:3]] == [f"{mean:.1f}" for mean in means]
    assert line[3].startswith(f"{overall.score[name]:.2f}")
    return line


def test_the_docs_quote_the_ablations() -> None:
    """Delay and paired difference of each row, on both networks."""
    folder = PUBLISHED / "ablations"
    rows = pd.read_csv(folder / "comparison.csv").set_index(["case", "controller"])
    charged = pd.read_csv(folder / "charged.csv").set_index("scenario")
    names = {
        "as it ships": "language_model", "forecast: persistence": "language_model:forecast=persistence",
        "forecast: own": "language_model:forecast=own", "forecast: reference": "language_model:forecast=reference",
        "without reports": "language_model:shows=no_reports", "shuffled facts": "language_model:shows=shuffled",
        "phase_net": "phase_net",
    }  # fmt: skip
    table = section("What its decisions rest on")
    for case, place in (("cologne3@incidents", 1), ("ingolstadt1@incidents", 3)):
        for said, name in names.items():
            row, line = rows.loc[(case, name)], quoted(rf"\| {said} \|", table)
            assert line[place] == f"{row['mean']:.1f}"
            difference = [row[f"difference_{part}"] for part in ("mean", "interval_low", "interval_high")]
            assert plain(line[place + 1]) == (interval(*difference) if name != "language_model" else "")
        row, line = charged.loc[case], quoted(r"\| latency charged \|", table)
        assert line[place] == f"{row.charged_delay_s:.1f}"
        assert plain(line[place + 1]) == interval(row.difference_s, row.difference_low_s, row.difference_high_s)


def test_the_docs_quote_the_adapters_of_fewer_layers_and_records() -> None:
    folder = PUBLISHED / "ablations" / "trained"
    rows = pd.read_csv(folder / "comparison.csv").set_index(["controller", "case"])["mean"]
    layers = pd.read_csv(folder / "layers.csv").set_index("controller")
    table = section("Layers, records, rounds of its own")
    for said, name in {
        "as it ships": None, "three": "three", "two": "two", "one": "one",
        "two, 4,000 records four times instead of 12,389 once": "two-4000",
        "two, 1,000 records sixteen times": "two-1000",
        "two, then two rounds under phase_net and holding": "others-2",
        "two, then two rounds under itself": "own-2",
        "from nothing: two fifths of `make adapter`, 65 minutes": "adapter/second",
    }.items():  # fmt: skip
        controller = "language_model" + (f":adapter=runs/{name}/adapter" if name else "")
        line = quoted(rf"\| {said} \|", table)
        assert line[3:] == [f"{rows[controller, f'{case}@incidents']:.1f}" for case in ("cologne3", "ingolstadt1")]
        if controller in layers.index:
            row = layers.loc[controller].iloc[0]
            assert line[1:3] == [f"{row.layers:.0f}", f"{row.ms:.1f}"]
    assert quoted(r"\| greedy \|", table)[3:] == [
        f"{rows['greedy', f'{case}@incidents']:.1f}" for case in ("cologne3", "ingolstadt1")
    ]


def alike(found: float | None, published: float, most: float = 5e-3) -> None:
    """The same up to what ``runs.csv`` rounds; nothing where nothing was published."""
    assert (found is None) == pd.isna(published)
    assert found is None or found == pytest.approx(published, abs=most)


def alike_interval(found: tuple[float, float] | None, published: pd.Series, name: str) -> None:
    if f"{name}_low" not in published.index:
        assert found is None
    else:
        alike(found and found[0], published[f"{name}_low"])
        alike(found and found[1], published[f"{name}_high"])


def as_one(relative: pd.Series) -> float:
    """The mean over networks with the three of Ingolstadt, which lie inside one another, as one."""
    nested = relative[relative.index.str.startswith("ingolstadt")]
    others = relative.drop(nested.index)
    return float(pd.Series([nested.mean(), *others.groupby(others.index.str.split("@").str[0]).mean()]).mean())


def section(heading: str) -> str:
    """What stands in docs/results.md below one heading."""
    return RESULTS.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def words(text: str) -> str:
    return " ".join(text.split())


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


def test_green_wave_is_where_the_docs_say() -> None:
    runs = pd.read_csv(PUBLISHED / "held_out" / "runs.csv")
    mean = runs.pivot_table(index="scenario", columns="controller", values="delay_s")
    waves = mean.green_wave.dropna()
    assert len(waves) == 10
    classical = [name for name in mean.columns if is_classical(name) and name not in ("green_wave", "lookahead")]
    share = waves / mean[classical].min(axis=1)[waves.index]
    assert f"needs {share.min():.1f} to {share.max():.1f} times the best classical delay of the row" in words(RESULTS)
    assert (waves / mean.fixed_time[waves.index] - 1).abs().max() < 0.05


def test_wordings_make_the_difference_that_the_docs_tell() -> None:
    told = re.search(r"ingolstadt1 (\S+ \[\S+ \S+) s/veh; cologne3 (\S+ \[\S+ \S+),", words(RESULTS))
    assert told
    runs = pd.read_csv(PUBLISHED / "ablations" / "runs.csv")
    runs = runs[(runs.controller == "language_model") & (runs.charged == 0)].set_index(["scenario", "seed"]).delay_s
    trained = pd.read_csv(PUBLISHED / "ablations" / "wordings.csv").set_index(["scenario", "seed"]).delay_s
    assert set(trained.index) == set(runs.index)
    for place, network in enumerate(("ingolstadt1", "cologne3"), start=1):
        difference = (trained - runs).xs(f"{network}@incidents").tolist()
        low_s, high_s = stats.bootstrap_interval(difference) or (0.0, 0.0)
        assert plain(told[place]) == interval(sum(difference) / len(difference), low_s, high_s)


def test_the_methods_reach_what_the_docs_tell() -> None:
    training = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for row in pd.read_csv(PUBLISHED / "methods.csv").itertuples():
        size_mb = row.weights_bytes / 1e6
        size = f"{size_mb:.1f}" if size_mb > 0.1 else f"{size_mb:.2f}"
        assert f"| `{row.method}` | {size} | {row.regret_veh_s:.1f} |" in training
