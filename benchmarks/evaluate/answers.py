"""Answers to a task's records: asked once, checked, and cached, so that a comparison that was stopped goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import provenance
from llm.records.shards import write_bytes
from llm.tasks.base import Answerer, Binary, Choice, Floats, Quantiles, Question, Task, TaskError


class AnswerCache:
    """What answerers said, one file each below a folder.

    Args:
        folder: of the comparison's results.
        about: the task's versions, and hashes of the records that are learnt from and of those that are scored.
    """

    def __init__(self, folder: Path, about: Sequence[Any]) -> None:
        self.folder, self.about = folder / "answers", tuple(about)

    def check_writable(self) -> None:
        """Find out before anything is fitted.

        Raises:
            RecordError: the folder cannot be written.
        """
        probe = self.folder / f".probe-{os.getpid()}"
        write_bytes(probe, b"")
        probe.unlink()

    def read(self, spec: str, answerer: Answerer, shape: tuple[int, ...]) -> Floats | None:
        """What this answerer said, None where it was not asked yet or the file is damaged."""
        try:
            data = io.BytesIO(self._file(spec, answerer).read_bytes())
            said: Floats = np.load(data, allow_pickle=False)["said"].astype(np.float64)
        except Exception:  # a flipped byte can raise almost anything in zipfile, zlib and NumPy
            return None
        return said if said.shape == shape and np.isfinite(said).all() else None

    def write(self, spec: str, answerer: Answerer, said: Floats) -> Floats:
        """Keep it in single precision; returns what ``read`` will.

        Raises:
            RecordError: the folder cannot be written.
        """
        short, data = said.astype(np.float32), io.BytesIO()
        np.savez_compressed(data, said=short)
        write_bytes(self._file(spec, answerer), data.getvalue())
        return short.astype(np.float64)

    def _file(self, spec: str, answerer: Answerer) -> Path:
        """Named by the answerer, the records, and what it answers by."""
        head = spec.partition(":")[0]
        read = [Path(head)] if head.endswith(".py") else []
        made_of = [provenance.content_sha256(path) for path in [*read, *answerer.reads()] if path.exists()]
        digest = hashlib.sha256(json.dumps([spec, *self.about, *made_of]).encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() else "-" for c in head)
        return self.folder / f"{name}-{digest}.npz"


def asked(task: Task[Any], spec: str, answerer: Answerer, questions: Sequence[Question]) -> Floats:
    """Ask for answers and make sure that they are some.

    Raises:
        TaskError: it failed, or gave another shape, what is not finite, no probabilities, or quantiles that cross.
    """
    shape = task.answer.answer_shape(sum(len(question.rows) for question in questions))
    try:
        said = np.asarray(answerer.answer(questions), np.float64)
    except TaskError:
        raise
    except Exception as error:  # whatever a user's own answerer raises
        if type(error).__module__.partition(".")[0] in ("llm", "sim", "scenarios"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")
        raise TaskError(f"Answerer '{spec}' failed in answer() with {what}.") from error
    if said.shape != shape:
        raise TaskError(f"Answerer '{spec}' gave an array of shape {said.shape}; {shape} was expected.")
    if not np.isfinite(said).all():
        raise TaskError(
            f"Answerer '{spec}' gave numbers that are not finite; say a plain value where nothing is known."
        )
    kind = task.answer
    if isinstance(kind, Binary) and ((said < 0) | (said > 1)).any():
        raise TaskError(f"Answerer '{spec}' gave numbers below 0 or above 1; give probabilities.")
    if isinstance(kind, Quantiles) and (np.diff(said, axis=-1) < -1e-6).any():
        raise TaskError(f"Answerer '{spec}' gave quantiles that cross; sort them along the last axis.")
    if isinstance(kind, Choice) and (said > 1e-6).any():
        raise TaskError(f"Answerer '{spec}' gave log-probabilities above 0; give the logarithms of shares.")
    return said
