"""Fixtures that several test files share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from scenarios import resco
from sim.network import Network

# Elsewhere each run tries new examples; what they find becomes an example of the test. CI must say the same each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def cologne1_network() -> Network:
    """The signal and lanes of RESCO's cologne1, read where the sumo-rl wheel installs it."""
    return Network.read(resco.load("cologne1").net_file)
