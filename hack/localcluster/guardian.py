"""Sees to it that no child outlives its parent, even when the parent is killed outright.

Run as a script. It reads `+<pid>` and `-<pid>` lines from a pipe that only the parent holds open. When the pipe closes, the parent is gone
or done: whatever is still registered gets SIGTERM, and SIGKILL after `GRACE_SECONDS`. Process handles (pidfd) make sure that a recycled pid
is never hit; where the system has none (macOS) the pid itself has to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 8.0


def _open_handle(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return -1


def _send(pid: int, handle: int | None, signum: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        if handle is None:
            os.kill(pid, signum)
        elif handle >= 0:
            signal.pidfd_send_signal(handle, signum)


def _wait_for_exit(handles: Iterable[int | None], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    waiting = [handle for handle in handles if handle is not None and handle >= 0]
    while waiting and (left := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(waiting, [], [], left)
        waiting = [handle for handle in waiting if handle not in ended]


def main() -> None:
    """Read registrations until the pipe closes, then end what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    registered: dict[int, int | None] = {}
    for line in sys.stdin:
        sign, pid = line[0], int(line[1:])
        if sign == "+":
            registered[pid] = _open_handle(pid)
        elif (handle := registered.pop(pid, None)) is not None and handle >= 0:
            os.close(handle)
    for pid, handle in registered.items():
        _send(pid, handle, signal.SIGTERM)
    _wait_for_exit(registered.values(), GRACE_SECONDS)
    for pid, handle in registered.items():
        _send(pid, handle, signal.SIGKILL)


if __name__ == "__main__":
    main()
