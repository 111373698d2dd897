"""Child processes with a log file each, that end together and never outlive their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TypeVar

from localcluster.guardian import GRACE_SECONDS

GUARDIAN = Path(__file__).with_name("guardian.py")
PORT_ATTEMPT_COUNT = 4

T = TypeVar("T")

HACK = Path(__file__).resolve().parents[1]


class StartError(RuntimeError):
    """A component did not become ready. The message ends with the last lines of its log."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago; whoever uses it must be ready to ask again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs one of our own modules in a process of its own."""
    return [sys.executable, "-m", module, *arguments]


def start_on_free_port(start: Callable[[int], T], say: Callable[[str], None] = lambda line: None) -> T:
    """Call `start` with a free port, and with another if some other process was faster (StartError that says so)."""
    for _ in range(PORT_ATTEMPT_COUNT - 1):
        try:
            return start(free_port())
        except StartError as error:
            if "address already in use" not in str(error):
                raise
            say("another process took the port; trying again with another")
    return start(free_port())


class Process:
    """One child in its own session (a Ctrl-C in the terminal reaches only the parent, which then ends its children in order)."""

    def __init__(self, name: str, command: list[str], log_path: Path, guardian: Guardian) -> None:
        self.name = name
        self.log_path = log_path
        self._guardian = guardian
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HACK), environment.get("PYTHONPATH"))))
        environment["PYTHONUNBUFFERED"] = "1"
        environment.pop("KUBECONFIG", None)  # the user's cluster is none of a child's business
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )
        guardian.register(self._child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal; a child that has ended already is no error."""
        if self.is_running():
            self._child.send_signal(signum)

    def wait(self, seconds: float) -> bool:
        """Return whether the child has ended within that time, and free its pid."""
        try:
            self._child.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        self._guardian.forget(self._child.pid)
        return True

    def log_tail(self, line_count: int = 15) -> str:
        """Return the last lines that this child (not an earlier one with the same log) wrote."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-line_count:])

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `is_ready` says so. Raises StartError if the child ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running():
                raise StartError(f"{self.name} ended with code {self._child.returncode}; its log {self.log_path} says:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready within {seconds:.0f} s; its log {self.log_path} says:\n{self.log_tail()}")
            time.sleep(0.05)


def end_all(processes: Iterable[Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """End all of them at once: SIGTERM, then SIGKILL for those still there after the grace."""
    remaining = list(processes)
    for process in remaining:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    remaining = [process for process in remaining if not process.wait(deadline - time.monotonic())]
    for process in remaining:
        process.signal(signal.SIGKILL)
    for process in remaining:
        process.wait(grace_seconds)


class Guardian:
    """The parent's side of guardian.py: tells it whom to end when the parent is gone."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-S", "-E", str(GUARDIAN)], stdin=subprocess.PIPE, start_new_session=True, env=_bare_environment(os.environ)
        )

    def register(self, pid: int) -> None:
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        self._tell(f"-{pid}\n")

    def close(self) -> None:
        """Let go: whatever is registered still is ended now."""
        self._pipe.close()
        self._child.wait(2 * GRACE_SECONDS)

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._child.stdin is not None
        return self._child.stdin

    def _tell(self, line: str) -> None:
        self._pipe.write(line.encode())
        self._pipe.flush()


def _bare_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name in {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH"}}
