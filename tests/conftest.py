"""Fixtures that several test files share."""

from __future__ import annotations

import pytest

from scenarios import resco
from sim.network import Network


@pytest.fixture(scope="session")
def cologne1_network() -> Network:
    """The signal and lanes of RESCO's cologne1, read where the sumo-rl wheel installs it."""
    return Network.read(resco.load("cologne1").net_file)
