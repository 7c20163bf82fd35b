"""The language model's forecast: it reads a signal's state as text, a head reads its hidden states at the markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm.backbone import cards
from llm.backbone.loading import Backbone, BackboneError, load
from llm.engine.heads import RowHead, head_file, head_folder, load_head, tensor
from llm.engine.hidden import Reader
from llm.tasks.forecast.forecasters import Forecaster, ForecastError
from llm.tasks.forecast.lessons import ANSWER
from llm.tasks.forecast.prompt import FORECAST_PROMPT_VERSION
from llm.tasks.forecast.scaled_space import FACTS_VERSION, facts, restored
from llm.tasks.forecast.state import ForecastState, stacked

#: What heads' files are called after.
TASK = "forecast"
VERSIONS = {"prompt_version": FORECAST_PROMPT_VERSION, "facts_version": FACTS_VERSION}


class LanguageModelForecaster(Forecaster):
    """Forecasts with a trained head on the language model that it was trained on.

    A head that found nothing in the text forecasts from the numbers alone, and no text is read then.

    Args:
        head: folder of ``greenloop train forecast``; the shipped adapter's when missing. An adapter in it, or the one
            that it names, is used.
        reports: False leaves the reports out, as if none had come.
        threads: torch threads of this process.
        device: torch device.
        backbone: a model that is loaded already.
    """

    def __init__(
        self,
        head: str | None = None,
        reports: bool = True,
        threads: int = 1,
        device: str = "cpu",
        backbone: Backbone | None = None,
    ) -> None:
        if not isinstance(reports, bool):
            raise ForecastError(f"language_model: reports is {reports!r}; choose one of True, False.")
        self.folder, self.reports = _folder(head), reports
        try:
            self.head, self.about = _load(self.folder)
            self._reader = Reader(backbone or _backbone(self.folder, self.about, threads, device))
            _check_fits(self.folder, self.about, self._reader.backbone)
        except BackboneError as error:
            raise ForecastError(str(error)) from error

    def reads(self) -> Sequence[Path]:
        """The head's folder."""
        return (self.folder,)

    def forecast(self, states: Sequence[ForecastState]) -> NDArray[np.float64]:
        """The head's quantiles for every approach."""
        shown = list(states) if self.reports else [state.without_reports() for state in states]
        with torch.inference_mode():
            known = tensor(facts(shown))
            if self.head.reads_features:
                said = self.head(self._reader.read([state.question for state in shown]), known)
            else:
                said = self.head.plainly(known)
        return restored(said.double().numpy(), stacked(shown))


class WithoutReports(LanguageModelForecaster):
    """The same model, read without the reports: what they are worth."""

    def __init__(self, head: str | None = None, threads: int = 1, device: str = "cpu") -> None:
        super().__init__(head, False, threads, device)


class NumbersOnly(Forecaster):
    """The head's part that reads the plain numbers, without any language model: what the text is worth.

    Args:
        head: as for the whole.
    """

    def __init__(self, head: str | None = None) -> None:
        self.folder = _folder(head)
        try:
            self.head, _ = _load(self.folder)
        except BackboneError as error:
            raise ForecastError(str(error)) from error

    def reads(self) -> Sequence[Path]:
        """The head's folder."""
        return (self.folder,)

    def forecast(self, states: Sequence[ForecastState]) -> NDArray[np.float64]:
        """The quantiles that the numbers alone give."""
        with torch.inference_mode():
            said = self.head.plainly(tensor(facts(states)))
        return restored(said.double().numpy(), stacked(states))


def has_head(folder: Path) -> bool:
    """Whether a forecast head lies in a folder."""
    return head_file(folder, TASK).is_file()


def _load(folder: Path) -> tuple[RowHead, dict[str, Any]]:
    return load_head(folder, TASK, ANSWER, VERSIONS)


def _folder(head: str | None) -> Path:
    if head is not None:
        return head_folder(Path(head).expanduser(), TASK)
    shipped = cards.shipped()
    if shipped is None or not has_head(shipped):
        raise ForecastError(
            "No trained forecast head ships with this greenloop; run 'greenloop train forecast' and name its folder: "
            "language_model:head=runs/forecast/adapter."
        )
    return shipped


def _backbone(folder: Path, about: dict[str, Any], threads: int, device: str) -> Backbone:
    """The model that the head was trained on; with the adapter beside the head, if it reads through one."""
    adapter = folder if about["adapter_sha256"] else None
    return load(about["base"], adapter, about["layers"], threads, device)


def _check_fits(folder: Path, about: dict[str, Any], backbone: Backbone) -> None:
    found = (backbone.model_sha256, backbone.adapter_sha256, backbone.layers)
    if found != (about["base_sha256"], about["adapter_sha256"], about["layers"]):
        raise ForecastError(
            f"The forecast head in {folder} was trained on another model, adapter or number of layers "
            f"({about['base']}, {about['layers']} layers); train it again on this one."
        )
