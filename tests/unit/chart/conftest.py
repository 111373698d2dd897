"""The chart, rendered by the real helm."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from localcluster.binaries import resolve
from localcluster.client import Object

from support.chart import render

Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> Path:
    return resolve("helm")


@pytest.fixture(scope="session")
def rendered(helm: Path) -> Render:
    """Render the chart with some values (as keyword arguments); equal values are rendered once.

    Without CRDs unless `crds` is given, `{}` for the default: parsing them takes a second.
    """

    @functools.cache
    def once(values: str) -> list[Object]:
        return render(helm, json.loads(values))

    def rendering(**values: Any) -> list[Object]:
        return once(json.dumps({"crds": {"install": False}} | values, sort_keys=True))

    return rendering
