"""A Prometheus over series that were written beforehand: it scrapes nothing, and forgets nothing."""

from __future__ import annotations

import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localcluster.processes import Guardian, Process, end_all, start_on_free_port

MAKE_SECONDS = 600.0
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Preloaded:
    """A Prometheus that answers: where, and as which process."""

    url: str
    pid: int


def make_blocks(promtool: Path, samples: Path, data: Path) -> None:
    """Turn samples in OpenMetrics text, each with its time, into the blocks of a Prometheus. Raises RuntimeError with what promtool says."""
    command = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(samples), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"promtool made no blocks of {samples}: {done.stdout}{done.stderr}")


@contextmanager
def prometheus_on(binary: Path, data: Path, folder: Path, *flags: str, tls: ssl.SSLContext | None = None) -> Iterator[Preloaded]:
    """Run a Prometheus on these blocks, with its configuration and log in `folder`. Raises StartError.

    `tls` is how to reach it where `flags` make it speak TLS.
    """
    configuration = folder / "prometheus.yml"
    configuration.write_text("global: {}\n")
    guardian = Guardian()
    processes: list[Process] = []

    def start(port: int) -> Preloaded:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        command = [
            str(binary),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *flags,
        ]
        process = Process("prometheus", command, folder / "prometheus.log", guardian)
        processes.append(process)
        process.wait_until(lambda: _is_ready(url, tls), START_SECONDS)
        return Preloaded(url, process.pid)

    try:
        yield start_on_free_port(start)
    finally:
        end_all(processes)
        guardian.close()


def _is_ready(url: str, tls: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2, context=tls) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
