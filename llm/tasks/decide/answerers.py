"""The plain network of ``llm.tasks.decide.phase_net`` as an answerer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llm.tasks.base import Answerer, Floats, Question, TaskError
from llm.tasks.decide.phase_net import SHIPPED, PhaseNet, PhaseNetError


class PhaseNetAnswerer(Answerer):
    """Answers by the numbers alone.

    Args:
        folder: of the network; the shipped one when missing.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = SHIPPED if folder is None else Path(folder).expanduser()
        try:
            self.net = PhaseNet.load(self.folder)
        except PhaseNetError as error:
            raise TaskError(str(error)) from error

    def reads(self) -> Sequence[Path]:
        """The network's folder."""
        return (self.folder,)

    def answer(self, questions: Sequence[Question]) -> Floats:
        """Log-shares of the phases."""
        return np.concatenate([_log_shares(self.net.scores(question.numbers)) for question in questions])


def _log_shares(scores: Floats) -> Floats:
    shifted = scores - scores.max()
    shares: Floats = shifted - np.log(np.exp(shifted).sum())
    return shares
