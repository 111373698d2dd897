"""A nursery of operators: imports the product once, then forks a process for each line on its input. A restart takes milliseconds.

Each forked process is the whole operator, wrapped only as `support.crash` says. In: `{"id", "arguments", "environment", "log"}` per line.
Out: `{"id", "pid"}` when it runs, `{"id", "code"}` when it has ended. The end of the input ends everything.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

from support.crash import from_environment
from tenantwave.shell import logs, process, wiring
from tenantwave.shell.settings import parse

LOOK_SECONDS = 0.02


def serve() -> None:
    """Fork and reap until the input ends."""
    children: dict[int, str] = {}
    pending = b""
    while True:
        if select.select([0], [], [], LOOK_SECONDS)[0]:
            if not (chunk := os.read(0, 65536)):
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = _fork(order)
                children[pid] = order["id"]
                _say(id=order["id"], pid=pid)
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _say(id=children.pop(pid), code=os.waitstatus_to_exitcode(status))
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if not pid:
        _become(order)
    return pid


def _become(order: dict[str, Any]) -> NoReturn:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, wanted in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(given, wanted)
    os.environ.update(order["environment"])
    settings = parse(order["arguments"])
    logs.configure(settings.log_format, settings.log_level)
    code = asyncio.run(process.run(lambda stack: wiring.build(settings, wiring.assemble, stack, wrap=from_environment)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(**answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve()
