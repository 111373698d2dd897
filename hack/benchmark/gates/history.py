"""Preloads a real Prometheus with two hours of a large fleet, through blocks that promtool makes out of a text."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO
from urllib.error import URLError
from urllib.request import urlopen

from localcluster.processes import Guardian, Process, end_all, start_on_free_port

BLOCK = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""A border of Prometheus's blocks, which are two hours long."""

SCRAPE = timedelta(seconds=30)
FIRST_SCRAPE, LAST_SCRAPE = BLOCK + timedelta(minutes=15), BLOCK + timedelta(minutes=115)
START_SECONDS = 120.0

_Sample = tuple[str, str, float]  # name, further labels, events per second
FAMILIES: tuple[tuple[str, str, tuple[_Sample, ...]], ...] = (
    (
        "http_requests",
        "counter",
        (("http_requests_total", ',code="200"', 1.0), ("http_requests_total", ',code="500"', 0.001)),
    ),
    ("jobs", "counter", (("jobs_total", "", 0.5),)),
    ("jobs_failed", "counter", (("jobs_failed_total", "", 0.001),)),
    (
        "request_seconds",
        "histogram",
        (
            ("request_seconds_bucket", ',le="0.5"', 0.999),
            ("request_seconds_bucket", ',le="+Inf"', 1.0),
            ("request_seconds_count", "", 1.0),
        ),
    ),
)
"""Seven series of each tenant: two ratios and a latency. Real ones have more (pods, paths), which cost the server, not us."""


def tenant_names(count: int) -> tuple[str, ...]:
    """Return the tenants' names."""
    return tuple(f"tenant-{number:05d}" for number in range(count))


def preload(promtool: Path, folder: Path, tenant_count: int) -> int:
    """Make the blocks in `folder`, and return how many samples they hold. Cost: 2 s and 60 MB for 1,000 tenants."""
    text = folder.with_suffix(".openmetrics")
    with text.open("w") as file:
        count = _write(file, tenant_count)
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, folder], check=True)
    text.unlink()
    return count


def _write(file: TextIO, tenant_count: int) -> int:
    names = tenant_names(tenant_count)
    count = (LAST_SCRAPE - FIRST_SCRAPE) // SCRAPE + 1
    stamps = [(number * SCRAPE.total_seconds(), int((FIRST_SCRAPE + number * SCRAPE).timestamp())) for number in range(count)]
    series_count = 0
    for family, kind, samples in FAMILIES:
        file.write(f"# TYPE {family} {kind}\n")
        for name in names:
            for sample, labels, rate in samples:
                head = f'{sample}{{namespace="{name}"{labels}}}'
                file.write("".join([f"{head} {int(rate * passed)} {stamp}\n" for passed, stamp in stamps]))
                series_count += 1
    file.write("# EOF\n")
    return series_count * count


@contextmanager
def prometheus_on(binary: Path, data: Path, log_folder: Path) -> Iterator[tuple[str, int]]:
    """Run a Prometheus on these blocks; yields its URL and process id. It scrapes nothing and forgets nothing."""
    configuration = log_folder / "prometheus.yml"
    configuration.write_text("global: {}\n")
    guardian = Guardian()
    processes: list[Process] = []

    def start(port: int) -> tuple[str, int]:
        url = f"http://127.0.0.1:{port}"
        command = [
            str(binary),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        process = Process("prometheus", command, log_folder / "prometheus.log", guardian)
        processes.append(process)
        process.wait_until(lambda: _is_ready(url), START_SECONDS)
        return url, process.pid

    try:
        yield start_on_free_port(start)
    finally:
        end_all(processes)
        guardian.close()


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
