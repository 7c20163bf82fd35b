"""What asking has cost, and whether it may go on; in one run, or over all runs that name the same ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import filelock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm.remote.options import EndpointError, EndpointOptions
from llm.remote.wire import RequestError
from scenarios.common.files import FileError, read_bytes


class Sums(BaseModel):
    """Requests, tokens and money."""

    model_config = ConfigDict(extra="forbid")

    requests: Annotated[int, Field(ge=0)] = 0
    tokens_in: Annotated[int, Field(ge=0)] = 0
    tokens_out: Annotated[int, Field(ge=0)] = 0
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def add(self, requests: int, tokens_in: int, tokens_out: int, cost: float) -> None:
        """Add one request's."""
        self.requests += requests
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost += cost


@dataclass
class Spend:
    """One request's tokens: an upper estimate until the server has said them."""

    tokens_in: int
    tokens_out: int

    def is_free(self) -> None:
        """The server did no work."""
        self.tokens_in = self.tokens_out = 0


class Budget:
    """Reserves an upper estimate before each request and settles it after, so that requests at once cannot overspend.

    Attributes:
        spent: of this run.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self.options, self.spent = options, Sums()
        self._all = Sums()  # of all runs of the ledger; of this one without a ledger
        self._over = ""

    def check(self) -> None:
        """Find an unusable or spent ledger before the run.

        Raises:
            EndpointError: it cannot be read or written, or nothing is left.
        """
        with self._sums():
            over = self._beyond(1)
        if over:
            raise EndpointError(f"endpoint: {over} before the run begins; raise it, or choose another ledger.")

    @contextlib.contextmanager
    def spending(self, tokens_in: int, tokens_out: int) -> Iterator[Spend]:
        """Count one request; what it really took is set on the yielded object, else the estimate stands.

        Raises:
            RequestError: the budget does not allow it; then nothing is counted, now or later.
        """
        estimate = Spend(tokens_in, tokens_out)
        if not self._over:
            with self._sums():
                self._over = self._beyond(1, estimate)
                if not self._over:
                    self._all.add(1, tokens_in, tokens_out, self._cost(estimate))
        if self._over:
            raise RequestError("budget", self._over)
        actual = Spend(tokens_in, tokens_out)
        try:
            yield actual
        finally:
            cost = self._cost(actual)
            self.spent.add(1, actual.tokens_in, actual.tokens_out, cost)
            more = (actual.tokens_in - tokens_in, actual.tokens_out - tokens_out)
            with self._sums():
                self._all.add(0, *more, cost - self._cost(estimate))

    def _cost(self, spend: Spend) -> float:
        return self.options.cost(spend.tokens_in, spend.tokens_out)

    def _beyond(self, requests: int, spend: Spend | None = None) -> str:
        """The limit that this would break, in words; empty if none."""
        spend, options, so_far = spend or Spend(0, 0), self.options, self._all
        tokens = so_far.tokens_in + so_far.tokens_out
        limits = (
            ("budget_requests", options.budget_requests, so_far.requests, requests),
            ("budget_tokens", options.budget_tokens, tokens, spend.tokens_in + spend.tokens_out),
            ("budget_cost", options.budget_cost, so_far.cost, self._cost(spend)),
        )
        for name, limit, used, more in limits:
            if limit is not None and (used + more > limit or (not more and used >= limit)):
                return f"{name}={limit} is spent ({round(used, 6)} used)"
        return ""

    @contextlib.contextmanager
    def _sums(self) -> Iterator[None]:
        """Hold the ledger, if there is one: read before, written after."""
        file = self.options.ledger
        if file is None:
            yield
            return
        try:
            with filelock.FileLock(f"{file}.lock"):
                self._all = Sums.model_validate_json(read_bytes(file, 10_000)) if file.exists() else Sums()
                yield
                new = file.with_name(f"{file.name}.new")
                new.write_text(self._all.model_dump_json())
                new.replace(file)
        except FileError as error:
            raise EndpointError(f"endpoint: the ledger {file} {error}; choose another.") from None
        except ValidationError:
            raise EndpointError(f"endpoint: {file} is no ledger of ours; move it away or choose another.") from None
        except OSError as error:
            raise EndpointError(f"endpoint: the ledger {file} cannot be kept ({error.strerror or error}).") from error
