"""Arrays that are handed to controllers cannot be written: what one of them changes, others would read."""

from __future__ import annotations

import numpy as np


def lock_arrays(owner: object) -> None:
    """Make every array attribute of a (frozen) dataclass read-only; who made an array can still write to it."""
    for name, value in vars(owner).items():
        if isinstance(value, np.ndarray) and value.flags.writeable:
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(owner, name, view)
