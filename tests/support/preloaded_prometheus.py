"""A real Prometheus of either line, over series that were written into it beforehand."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from localcluster.binaries import BinaryMissingError, resolve
from localcluster.finding import version_of
from localcluster.preloaded import make_blocks, prometheus_on
from localcluster.tools import TOOLS

from tenantwave.adapters.prometheus import PrometheusMetrics

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCRAPE = timedelta(seconds=30)
Series = Mapping[int, float]
"""Values by the number of their scrape; number 0 is at `START`."""


def binary_of(line: str) -> Path:
    """Return the Prometheus of a line. Where it cannot be had the test is skipped, but not where all must run.

    A build of minutes is never started from a test: `hack/cluster fetch` does that, and shows how far it is.
    """
    try:
        return resolve(line, fetching=()) if line == "prometheus3" else resolve(line)
    except BinaryMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{line} is not here: run hack/cluster fetch ({str(error).splitlines()[0]})")


def is_left_open(binary: Path) -> bool:
    """Tell whether a range leaves out its first instant, as from 3.0 on."""
    version = version_of(binary, TOOLS["prometheus"])
    assert version is not None
    return version >= (3,)


def numbered(notation: str, start: int = 0) -> Series:
    """Read promtool's notation: `_x20 12+3x10` has 20 scrapes without a sample, then 12, 15 ... 42.

    `stale` is read as no sample: functions over ranges see no difference.
    """
    values: dict[int, float] = {}
    at = start
    for word in notation.split():
        found = re.fullmatch(r"(_|stale|-?[\d.]+)(?:([+-][\d.]+))?(?:x(\d+))?", word)
        assert found, word
        first, step, times = found.group(1), float(found.group(2) or 0), int(found.group(3) or 0)
        if first in ("_", "stale"):
            at += max(1, times)
            continue
        for number in range(times + 1):
            values[at] = float(first) + step * number
            at += 1
    return values


def steady(first: int, last: int, value: float, step: float = 0.0) -> Series:
    """Return a counter that grows by `step` at each scrape."""
    return {number: value + step * (number - first) for number in range(first, last + 1)}


def preload(folder: Path, series: Mapping[str, Series], scrape: timedelta = SCRAPE) -> None:
    """Write series into the data of a Prometheus that will run in `folder`."""
    lines = [
        f"{name} {value!r} {(START + number * scrape).timestamp():.3f}\n"
        for name, values in series.items()
        for number, value in values.items()
    ]
    source = folder / "samples.txt"
    source.write_text("".join(lines) + "# EOF\n")
    make_blocks(resolve("promtool"), source, folder / "data")


@contextmanager
def running(binary: Path, folder: Path, *flags: str, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a Prometheus over the data in `folder`; yield its URL when it is ready. `tls`: how to reach it where `flags` make it speak TLS."""
    with prometheus_on(binary, folder / "data", folder, *flags, tls=tls) as server:
        yield server.url


@asynccontextmanager
async def asking(secret: Mapping[str, bytes] | None = None) -> AsyncIterator[PrometheusMetrics]:
    """Yield an adapter, with the content of its Secret if it is to have one."""

    async def read(_: str) -> Mapping[str, bytes] | None:
        return secret

    metrics = PrometheusMetrics(read)
    try:
        yield metrics
    finally:
        await metrics.close()
