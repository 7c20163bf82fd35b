"""What the endpoint controller can be told, checked when it is made: before anything runs."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class EndpointError(RuntimeError):
    """A model server that cannot be used as asked; the message is one sentence that says what to do."""


Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class EndpointOptions(BaseModel):
    """Where the model is, how it is asked, and what it may cost.

    Attributes:
        url: base address of an OpenAI-compatible server, such as ``http://localhost:8000/v1``.
        model: the model's name as the server knows it.
        mode: ``chat`` sends a system message and the prompt and wants JSON; ``completion`` sends the prompt alone, just
            as our own model reads it, and takes the letter that follows.
        key_env: name of the environment variable that holds the key; without such a variable no key is sent.
        system: text file with another system message; in completion mode it is put before the prompt.
        temperature: of sampling, 0 to 2; 0 takes the likeliest answer.
        answer_tokens: the longest answer, tokens; models that think first need hundreds.
        concurrent: requests under way at once in one run.
        timeout_s: longest time for one request, s.
        retries: further attempts after 429, a 5xx status, a timeout or a lost connection.
        deadline_s: longest time for the answers to one decision of all signals, retries included, s.
        budget_requests: most requests, retries included; None for no limit.
        budget_tokens: most tokens, in and out.
        budget_cost: most money, in the unit of the prices.
        price_in: price of a million prompt tokens.
        price_out: price of a million answered tokens.
        ledger: JSON file that adds up what all runs that name it have spent; the budget is then for all of them.
        record: JSON-lines file that answers are added to; what it already answers is not asked again.
        replay: JSON-lines file that all answers come from; nothing is asked, and runs are repeatable.
        fallback: spec of the controller that stands in where there is no answer.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        coerce_numbers_to_str=True,  # a model may be called 4
    )

    url: Text | None = None
    model: Text | None = None
    mode: Literal["chat", "completion"] = "chat"
    key_env: str = "OPENAI_API_KEY"
    system: Path | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    answer_tokens: Count = 32
    concurrent: Annotated[int, Field(ge=1, le=256)] = 8
    timeout_s: Seconds = 15.0
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    deadline_s: Seconds = 30.0
    budget_requests: Count | None = None
    budget_tokens: Count | None = None
    budget_cost: Money | None = None
    price_in: Money = 0.0
    price_out: Money = 0.0
    ledger: Path | None = None
    record: Path | None = None
    replay: Path | None = None
    fallback: str = "greedy"

    @classmethod
    def of(cls, values: dict[str, Any]) -> EndpointOptions:
        """Options from a spec's parameters.

        Raises:
            EndpointError: one sentence about the first thing that is missing or wrong.
        """
        try:
            options = cls(**values)
        except ValidationError as error:
            raise EndpointError(_sentence(error)) from None  # pydantic's own text would repeat the values
        options._check()
        return options

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:  # port checks its range
            raise ValueError("is no address; write for example url=http://localhost:8000/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "may hold a password or a key, which would be written into results; end it before the '?', and put "
                "the key into the environment variable that key_env names"
            )
        return url.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def _is_variable(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("must be the name of an environment variable, not the key itself")
        return name

    def _check(self) -> None:
        if self.url is None and self.replay is None:
            raise EndpointError("endpoint: no server is given; add url=http://localhost:8000/v1, or replay=FILE.")
        if self.model is None:
            raise EndpointError("endpoint: no model is given; add model=NAME, as the server calls it.")
        if self.record is not None and self.replay is not None:
            raise EndpointError("endpoint: record and replay exclude each other; choose one.")
        if self.budget_cost is not None and not (self.price_in or self.price_out):
            raise EndpointError("endpoint: budget_cost needs prices; add price_in and price_out per million tokens.")
        if self.replay is not None and not self.replay.is_file():
            raise EndpointError(f"endpoint: there are no recorded answers in {self.replay}; run with record= first.")
        for name in ("record", "ledger"):
            path: Path | None = getattr(self, name)
            if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
                raise EndpointError(f"endpoint: {name}={path} cannot be written: give a file in a folder that exists.")

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return urlsplit(self.url).netloc if self.url else "replay"

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Price of so many tokens."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def _sentence(error: ValidationError) -> str:
    """The first problem in words; the value is left out where it may be a secret."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return f"endpoint: there is no parameter '{name}'; there are {', '.join(EndpointOptions.model_fields)}."
    what = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if first["type"] == "string_too_short":
        what = "must not be empty"
    value = first["input"]
    plain = name not in ("url", "key_env") and isinstance(value, (str, int, float))
    shown = f"={value}" if plain and not (isinstance(value, float) and math.isnan(value)) else ""
    return f"endpoint: {name}{shown} {what}."
