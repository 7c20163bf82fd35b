"""The settings of a training of ``decide`` beside those of every training."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field


class Teaching(BaseModel):
    """What the lessons are made from.

    Attributes:
        teacher: folder of the plain neural network to learn from, ``shipped`` for the one that ships; None fits one on
            the same records.
        horizon_s: which of the recorded costs to learn.
        temperature_veh_s: cost that makes a phase's share smaller by a factor of e.
        distil: the part of each target that comes from the plain neural network, which has averaged the drivers' dice
            out; the rest is the soft target of the record's own costs. All of it where a record has no costs.
        sharpen: power of the plain network's shares in the target. Its shares are soft, because it was taught with soft
            targets; the clearer they are, the sooner the language model begins to learn.
        min_spread_veh_s: records whose phases cost the same within this teach nothing and are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str | None = None
    horizon_s: float = Field(default=60.0, gt=0)
    temperature_veh_s: float = Field(default=40.0, gt=0, lt=math.inf)
    distil: float = Field(default=0.7, ge=0, le=1)
    sharpen: float = Field(default=4.0, gt=0, lt=math.inf)
    min_spread_veh_s: float = Field(default=1.0, ge=0)
