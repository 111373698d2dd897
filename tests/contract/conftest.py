"""Both lines of Prometheus, for what must hold on each."""

from pathlib import Path

import pytest
from localcluster.tools import PROMETHEUS_LINES

from support.preloaded_prometheus import binary_of


@pytest.fixture(scope="session", params=PROMETHEUS_LINES)
def prometheus_binary(request: pytest.FixtureRequest) -> Path:
    """The Prometheus of a line."""
    return binary_of(str(request.param))
