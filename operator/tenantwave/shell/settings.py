"""What the operator is started with: the flags of the contract, and the tuning that is read from the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that are right as they are, except in tests and measurements. Read from `TENANTWAVE_<NAME>`, durations in seconds."""

    worker_count: int = 16
    writes_per_second: float = 100.0
    writes_in_flight: int = 32
    lease_duration: timedelta = timedelta(seconds=15)
    lease_deadline: timedelta = timedelta(seconds=10)
    lease_retry: timedelta = timedelta(seconds=2)
    resync: timedelta = timedelta(minutes=10)
    drain: timedelta = timedelta(seconds=10)
    queries_per_minute: int = 300
    retention_count: int = 3
    retention_age: timedelta = timedelta(days=30)
    snapshot_grace: timedelta = timedelta(hours=24)
    snapshot_limit_bytes: int = 1024 * 1024 * 1024
    sweep_every: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the process is told from outside."""

    namespace: str
    kubeconfig: str = ""
    listen_host: str = ""
    """Empty: all addresses."""
    listen_port: int = 8080
    log_format: str = "text"
    log_level: str = "INFO"
    leader_election: bool = True
    tuning: Tuning = Tuning()


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the command line. Ends the process with a sentence on stderr if it cannot be understood (argparse's way, code 2)."""
    parser = argparse.ArgumentParser(
        prog="tenantwave-operator",
        description="Upgrades tenants in canary waves. Without --kubeconfig it uses KUBECONFIG, then the in-cluster configuration.",
    )
    parser.add_argument(
        "--namespace",
        required=True,
        metavar="NS",
        help="the operator's own namespace: TenantRuns, the catalogue, snapshots, locks and the leader's Lease live there",
    )
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="how to reach the API server")
    parser.add_argument(
        "--listen", default=":8080", metavar="HOST:PORT", help="serves /healthz, /readyz and /metrics (default %(default)s)"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="default %(default)s")
    parser.add_argument(
        "--log-level",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        type=str.upper,
        default="INFO",
        metavar="LEVEL",
        help="default %(default)s",
    )
    parser.add_argument("--no-leader-election", action="store_true", help="for a single operator that is run by hand")
    found = parser.parse_args(arguments)
    host, port = _address(found.listen, parser.error)
    return Settings(
        namespace=found.namespace,
        kubeconfig=found.kubeconfig,
        listen_host=host,
        listen_port=port,
        log_format=found.log_format,
        log_level=found.log_level,
        leader_election=not found.no_leader_election,
        tuning=_tuning(environment, parser.error),
    )


def _address(text: str, refuse: Callable[[str], NoReturn]) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        refuse(f'--listen {text!r} is no HOST:PORT; for example ":8080" for all addresses, or "127.0.0.1:8080"')
    return host.strip("[]"), int(port)


def _tuning(environment: Mapping[str, str], refuse: Callable[[str], NoReturn]) -> Tuning:
    values: dict[str, int | float | timedelta] = {}
    plain = Tuning()
    for name in Tuning.__slots__:
        variable = f"TENANTWAVE_{name.upper()}"
        text = environment.get(variable, "")
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if number <= 0:
            refuse(f"{variable}={text!r} is no number above 0; correct it or leave it out")
        default = getattr(plain, name)
        values[name] = timedelta(seconds=number) if isinstance(default, timedelta) else type(default)(number)
    return Tuning(**values)  # type: ignore[arg-type]
