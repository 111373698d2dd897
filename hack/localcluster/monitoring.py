"""Prometheus and the tenants' traffic beside a cluster, each of which can be taken away alone."""

from __future__ import annotations

import http.client
import json
import signal
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localcluster.binaries import resolve
from localcluster.processes import Guardian, Process, end_all, python_module, start_on_free_port

START_SECONDS = 30.0

CONFIGURATION = """\
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
scrape_configs:
  - job_name: local
    file_sd_configs:
      - files: ["{targets}/*.json"]
        refresh_interval: 1s
"""


class Monitoring:
    """One Prometheus and one traffic exporter for a cluster of any kind.

    Args:
        run_dir: where configuration, data and logs go.
        kubeconfig: how the exporter may watch pods.
        scrape_interval: a rate window should hold at least 4 of them.
        lookback_delta: after this long without a scrape a series reads as no data.
        rate: requests per second and tenant. error_share: of those to a `-err` image, answered with 500.
    """

    def __init__(
        self,
        run_dir: Path,
        kubeconfig: Path,
        *,
        scrape_interval: str = "1s",
        lookback_delta: str = "10s",
        rate: float = 20.0,
        error_share: float = 0.3,
    ) -> None:
        self._folder = run_dir / "prometheus"
        self._logs = run_dir / "logs"
        self._kubeconfig = kubeconfig
        self._scrape_interval = scrape_interval
        self._lookback_delta = lookback_delta
        self._rate, self._error_share = rate, error_share
        self._controls: dict[str, str] = {}
        self._ports: dict[str, int] = {}
        self._processes: dict[str, Process] = {}
        self._guardian: Guardian | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the exporter and Prometheus; return when both answer. Raises StartError."""
        (self._folder / "targets").mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(exist_ok=True)
        configuration = CONFIGURATION.format(interval=self._scrape_interval, targets=self._folder / "targets")
        (self._folder / "prometheus.yml").write_text(configuration)
        self._guardian = Guardian()
        try:
            self.start_traffic()
            self.add_target("traffic", f"127.0.0.1:{self._ports['traffic']}")
            self.start_prometheus()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End both. Data and logs stay."""
        end_all(self._processes.values())
        self._processes.clear()
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items() if process.is_running()}

    # --- Prometheus ---

    @property
    def url(self) -> str:
        """Where Prometheus answers, also while it is stopped."""
        return f"http://127.0.0.1:{self._ports['prometheus']}"

    def start_prometheus(self) -> None:
        """Start Prometheus, or bring it back at the same address and with the data that it had."""
        binary = resolve("prometheus")

        def command(port: int) -> list[str]:
            return [
                str(binary),
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--query.lookback-delta={self._lookback_delta}",
                "--log.level=warn",
            ]

        self._start("prometheus", command, "/-/ready")

    def stop_prometheus(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """Take Prometheus away, at once or in order."""
        self._end("prometheus", signum)

    def add_target(self, job: str, address: str) -> None:
        """Let Prometheus scrape one more `host:port` from about a second later on; the same job again replaces it."""
        text = json.dumps([{"targets": [address], "labels": {"job": job}}])
        temporary = self._folder / "targets" / f"{job}.new"
        temporary.write_text(text)
        temporary.replace(temporary.with_suffix(".json"))

    def query(self, promql: str, time: float | None = None) -> list[dict[str, Any]]:
        """Return the rows of an instant query (`{"metric": ..., "value": [time, text]}`), now or at `time` (UNIX seconds).

        Raises OSError if nobody answers.
        """
        parameters = {"query": promql, **({"time": str(time)} if time is not None else {})}
        status, text = self._request("prometheus", "GET", "/api/v1/query?" + urllib.parse.urlencode(parameters))
        answer = json.loads(text)
        if status != 200:
            raise ValueError(f"{promql}: {answer.get('error', text)}")
        return list(answer["data"]["result"])

    # --- traffic ---

    def start_traffic(self) -> None:
        """Start the exporter, or bring it back at the same address; its counters begin at 0 again, overrides stay."""

        def command(port: int) -> list[str]:
            options = ["--port", str(port), "--rate", str(self._rate), "--error-share", str(self._error_share)]
            return python_module("localcluster.traffic", "--kubeconfig", str(self._kubeconfig), *options)

        self._start("traffic", command, "/metrics")
        for namespace, control in self._controls.items():
            self._tell("PUT", f"/control/{namespace}", control)

    def stop_traffic(self) -> None:
        """Take the exporter away: every tenant's series end, which is no data for everybody."""
        self._end("traffic", signal.SIGKILL)

    def restart_traffic(self) -> None:
        """Kill the exporter and bring it back: a counter reset of every tenant."""
        self.stop_traffic()
        self.start_traffic()

    def set_traffic(self, namespace: str = "*", **control: Any) -> None:
        """Override a tenant's traffic with the fields of `traffic.Control`: rate, error_share, silent and so on. `*`: all that have no own."""
        text = json.dumps(control)
        self._tell("PUT", f"/control/{namespace}", text)
        self._controls[namespace] = text

    def clear_traffic(self, namespace: str = "*") -> None:
        """Take an override back."""
        self._tell("DELETE", f"/control/{namespace}")
        self._controls.pop(namespace, None)

    def add_requests(self, namespace: str, by_code: Mapping[str, float]) -> None:
        """Count requests all at once, such as `{"200": 72000}`: what a tenant that was just made served in the hour before. `*`: all."""
        self._tell("POST", f"/requests/{namespace}", json.dumps(dict(by_code)))

    def _tell(self, method: str, path: str, body: str | None = None) -> None:
        status, text = self._request("traffic", method, path, body)
        if status != 200:
            raise ValueError(text)

    # --- both ---

    def _start(self, name: str, command: Callable[[int], list[str]], ready_path: str) -> None:
        assert self._guardian is not None, "start() comes first"

        def is_ready() -> bool:
            try:
                return self._request(name, "GET", ready_path)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        def start(port: int) -> Process:
            self._ports[name] = port
            assert self._guardian is not None
            process = self._processes[name] = Process(name, command(port), self._logs / f"{name}.log", self._guardian)
            process.wait_until(is_ready, START_SECONDS)
            return process

        if name in self._ports:
            start(self._ports[name])
        else:
            start_on_free_port(start)

    def _end(self, name: str, signum: signal.Signals) -> None:
        process = self._processes.pop(name)
        process.signal(signum)
        end_all([process])

    def _request(self, name: str, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[name], timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
