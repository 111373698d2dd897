"""`LocalCluster`: a real control plane on 127.0.0.1, without containers and without kubelets."""

from __future__ import annotations

import http.client
import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localcluster import flags, kubeconfig
from localcluster.access import Cluster, RequestError
from localcluster.binaries import resolve
from localcluster.certificates import CLIENTS, Certificates, make_certificates
from localcluster.processes import Guardian, Process, StartError, end_all, free_port, python_module, start_on_free_port

START_SECONDS = 60.0
LONGEST_LINES = 16 * 2**20
"""No line of the audit log has as many bytes."""


class LocalCluster(Cluster):
    """etcd, kube-apiserver, kube-controller-manager, kube-scheduler and the pod player. (Prometheus and traffic: `monitoring.Monitoring`.)

    Use it as a context manager, or call `start` and `stop`. All its processes end with this one, however it ends. Not thread-safe.

    Args:
        run_dir: where certificates, data and logs go; a new temporary folder if left out. `logs/<component>.log` holds each one's output.
        node_count: how many nodes the pod player plays.
        has_audit: keep the audit log that `audit_events` reads. Costs time under load.
        is_unlimited: switch off priority and fairness, for measurements of pure throughput.
        say: told in a line what happens, when it takes more than a moment.
    """

    def __init__(
        self,
        run_dir: Path | None = None,
        *,
        node_count: int = 3,
        has_audit: bool = True,
        is_unlimited: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        run_dir = run_dir or Path(tempfile.mkdtemp(prefix="tenantwave-cluster-"))
        super().__init__(run_dir / "admin.kubeconfig", run_dir)
        self._node_count = node_count
        self._has_audit = has_audit
        self._is_unlimited = is_unlimited
        self._say = say
        self._processes: dict[str, Process] = {}
        self._guardian: Guardian | None = None
        self._plane: flags.Plane | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --- its life ---

    def start(self) -> Self:
        """Start everything and return when pods can run. Raises StartError, after ending what had started."""
        self._guardian = Guardian()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all processes, together: SIGTERM, and SIGKILL after 8 s. The run folder stays."""
        etcd = self._processes.pop("etcd", None)
        end_all(self._processes.values())
        self._processes.clear()
        if etcd is not None:  # last: an API server without it would not end in order
            end_all([etcd])
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None

    def pids(self) -> dict[str, int]:
        """Return the process of each component that runs now."""
        return {name: process.pid for name, process in self._processes.items() if process.is_running()}

    # --- outages ---

    def stop_api_server(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """Take the API server away; etcd and the data stay. Connections break at once with SIGKILL, in order with SIGTERM."""
        process = self._processes.pop("kube-apiserver")
        process.signal(signum)
        end_all([process])

    def start_api_server(self) -> None:
        """Bring the API server back at the same address, with the same data, and wait until it is ready."""
        plane = self._started
        self._run("kube-apiserver", flags.api_server(resolve("kube-apiserver"), plane), self._is_api_ready)

    def compact(self) -> int:
        """Let etcd forget all but the present state of everything, and return its revision: nobody can go on from an older one."""
        revision = int(self._ask_etcd("/v3/maintenance/status", {})["header"]["revision"])
        self._ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    # --- the audit log ---

    def audit_mark(self) -> int:
        """Return the place in the audit log where the next event will stand; hand it to `audit_events`."""
        path = self._started.audit_log
        if not path.exists():
            return 0
        with path.open("rb") as log:  # the last line may be half written; none is as long as this
            start = log.seek(max(0, path.stat().st_size - LONGEST_LINES))
            return start + log.read().rfind(b"\n") + 1

    def audit_events(self, since: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the audit events (audit.k8s.io/v1, one per finished request) from a mark on. What they hold: `flags.audit_policy`."""
        if not self._started.audit_log.exists():
            return
        with self._started.audit_log.open() as log:
            log.seek(since)
            for line in log:
                if not line.endswith("\n"):
                    return  # it is being written
                yield json.loads(line)

    # --- how it starts ---

    @property
    def _started(self) -> flags.Plane:
        if self._plane is None:
            raise RuntimeError("the local cluster is not started; call start() first")
        return self._plane

    def _start(self) -> None:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "logs").mkdir(exist_ok=True)
        binaries = {name: resolve(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")}
        certificates = make_certificates(self.run_dir / "certificates")
        (self.run_dir / "audit-policy.json").write_text(json.dumps(flags.audit_policy()))
        start_on_free_port(lambda port: self._start_storage(binaries, certificates, port), self._say)
        self._run("kube-controller-manager", flags.controller_manager(binaries["kube-controller-manager"], self._started))
        self._run("kube-scheduler", flags.scheduler(binaries["kube-scheduler"], self._started))
        player_config = str(self.run_dir / "pod-player.kubeconfig")
        self._run("pod-player", python_module("localcluster.pods", "--kubeconfig", player_config, "--nodes", str(self._node_count)))
        self._processes["kube-controller-manager"].wait_until(self._may_create_pods, START_SECONDS)

    def _start_storage(self, binaries: dict[str, Path], certificates: Certificates, api_port: int) -> None:
        """Start etcd and the API server. A failed attempt leaves nothing behind: a stale API server would fool the next one."""
        ports = (free_port(), free_port(), api_port)
        self._plane = plane = flags.Plane(self.run_dir, certificates, *ports, has_audit=self._has_audit, is_unlimited=self._is_unlimited)
        try:
            self._run("etcd", flags.etcd(binaries["etcd"], plane), self._is_etcd_ready)
            self._write_kubeconfigs(plane)
            self._run("kube-apiserver", flags.api_server(binaries["kube-apiserver"], plane), self._is_api_ready)
        except StartError:
            end_all(self._processes.values())
            self._processes.clear()
            raise

    def _run(self, name: str, command: list[str], is_ready: Callable[[], bool] | None = None) -> Process:
        assert self._guardian is not None
        process = self._processes[name] = Process(name, command, self.run_dir / "logs" / f"{name}.log", self._guardian)
        if is_ready is not None:
            process.wait_until(is_ready, START_SECONDS)
        return process

    def _write_kubeconfigs(self, plane: flags.Plane) -> None:
        for client in CLIENTS:
            kubeconfig.write(self.run_dir / f"{client}.kubeconfig", kubeconfig.with_certificate(plane.api_url, plane.certificates, client))
        self.__dict__.pop("_access", None)  # another attempt may have other ports

    def _is_etcd_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._started.etcd_port, timeout=5)
        try:
            connection.request("GET", "/health")
            return b'"true"' in connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()

    def _ask_etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._started.etcd_port, timeout=10)
        try:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"etcd answered {answer.status} to {path}: {text.decode(errors='replace')[:500]}")
        found: dict[str, Any] = json.loads(text)
        return found

    def _is_api_ready(self) -> bool:
        try:
            return bool(self.request("GET", "/readyz") == "ok")
        except (OSError, RequestError, http.client.HTTPException):
            return False

    def _may_create_pods(self) -> bool:
        """Tell whether the namespace has what its pods need, and a node is there."""
        try:
            self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
            return len(self.request("GET", "/api/v1/nodes")["items"]) == self._node_count
        except RequestError:
            return False
