"""The command that trains policies by reinforcement learning: ``greenloop train-rl``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.rl.training_folder import Episode

DEFAULT_STEPS = 100_000
#: Seconds between two lines of progress.
TELL_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command("train-rl")(train_rl)


def train_rl(
    algorithm: Annotated[str, typer.Option(help="dqn or ppo, of Stable-Baselines3.")] = "ppo",
    scenario: Annotated[list[str] | None, typer.Option(help="A training scenario; repeat to share one policy.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Decisions per policy, over all its signals.  [default: 100,000]")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Simulated hours per policy instead of --steps.")] = None,
    on_scored_network: Annotated[
        bool,
        typer.Option("--on-scored-network", help="Learn on the one network that scores it, held out or not; a rival."),
    ] = False,
    seeds: Annotated[str, typer.Option(help="One policy each: 3 (for 1 to 3), 1,2,7 or 0-9.")] = "3",
    out: Annotated[Path, typer.Option(help="Folder; a training that was stopped goes on.")] = Path("runs/rl"),
    timings: Annotated[str, typer.Option(help="Signal timings: native, clearance or resco.")] = "native",
    copies: Annotated[int, typer.Option(min=1, max=2, help="Simulations of each scenario at a time.")] = 1,
    minutes: Annotated[float | None, typer.Option(help="Length of an episode.  [default: the scenario's]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")] = False,
) -> None:
    """Train policies by reinforcement learning, one per seed, and keep the last weights of each.

    Every signal of the scenarios acts with the same weights. Held-out scenarios are refused, but for rivals that may
    know the network which scores them (--on-scored-network). Needs the extra rl. Stop with Ctrl-C whenever you like:
    the same command goes on from the last checkpoint.

    \b
    Examples:
      greenloop train-rl --algorithm dqn --scenario cologne1 --steps 50000 --out runs/dqn
      greenloop train-rl --scenario city-3-2 --scenario city-2-1 --scenario cologne1 --out runs/shared
      greenloop train-rl --on-scored-network --scenario cologne3 --hours 60 --seeds 3 --out runs/ppo-cologne3
      greenloop run --scenario cologne1 --controller reinforcement:folder=runs/dqn/seed-1 --controller greedy
    """
    from benchmarks.rl import curves as rl_curves
    from benchmarks.rl import training_folder as rl_runs
    from benchmarks.rl.training import train
    from benchmarks.run.benchmark import parse_seeds

    if steps is not None and hours is not None:
        raise rl_runs.TrainingError("Give --steps or --hours, not both.")
    decisions = 0 if hours is not None else steps or DEFAULT_STEPS
    training = rl_runs.Training(
        algorithm, tuple(scenario or ()), decisions, timings, copies, minutes, hours, on_scored_network
    )
    cards = train(training, parse_seeds(seeds), out, _Teller())
    figures = rl_curves.draw(training, rl_runs.read_curves(out), out)
    if as_json:
        typer.echo(json.dumps({"policies": cards, "figures": [str(path) for path in figures]}, indent=1))
        return
    for card in cards:
        folder = rl_runs.policy_folder(out, card["seed"])
        typer.echo(
            f"{folder}: {card['steps']:,} decisions in {card['wall_s']:.0f} s; delay of the last training episodes "
            f"{card['training_delay_s']:.1f} s/veh, exploration included"
        )


class _Teller:
    """A line on stderr every few seconds."""

    def __init__(self) -> None:
        self._told_s = self._started_s = time.monotonic()
        self._seed, self._share = -1, 0.0

    def __call__(self, episode: Episode, share: float) -> None:
        """Tell how far the policy is, and how long it still takes."""
        from benchmarks.run.progress import duration

        now_s = time.monotonic()
        if episode.policy_seed != self._seed:
            self._seed, self._share, self._started_s = episode.policy_seed, share, now_s
        elif now_s - self._told_s < TELL_EVERY_S and share < 1:
            return
        self._told_s = now_s
        gained = share - self._share
        left = f", {duration((now_s - self._started_s) * (1 - share) / gained)} left" if 0 < gained < 1 else ""
        typer.echo(
            f"seed {episode.policy_seed}: {share:.0%}, {episode.steps:,} decisions, {episode.scenario} "
            f"{episode.delay_s:.1f} s/veh{left}",
            err=True,
        )
