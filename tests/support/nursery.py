"""Operators that start in milliseconds and may die at any moment: forked from a process that has imported the product already."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from localcluster.client import eventually

from support.clusters import OPERATOR_NAMESPACE, ROOT

PROGRAM = ROOT / "tests" / "support" / "forking_operator.py"


class Operator:
    """One process of the whole operator."""

    def __init__(self, pid: int, log_path: Path, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self.log_path = log_path
        self._ended = ended

    @property
    def is_running(self) -> bool:
        return not self._ended.done()

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.ends(10)

    def pause(self) -> None:
        """Stop its clock: it holds what it holds, and knows nothing of the time that passes."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after a pause."""
        os.kill(self.pid, signal.SIGCONT)

    async def ends(self, timeout: float) -> int:
        """Return its exit code, once it has ended."""
        async with asyncio.timeout(timeout):
            return await asyncio.shield(self._ended)

    async def says(self, words: str, timeout: float = 90) -> None:
        """Wait until its log has these words, or it has ended."""

        async def look() -> bool:
            return not self.is_running or words in self.log()

        await eventually(look, timeout=timeout, saying=f"{words!r} in {self.log_path}", pause=0.02)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class Nursery:
    """Starts operators, and knows how they ended."""

    def __init__(self, process: asyncio.subprocess.Process, kubeconfig: Path, folder: Path) -> None:
        self._process = process
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._born: dict[str, asyncio.Future[int]] = {}
        self._ended: dict[str, asyncio.Future[int]] = {}
        self.operators: list[Operator] = []

    async def operator(self, **environment: str) -> Operator:
        """Start one, without leader election: a test that runs two at once wants them confused."""
        return await self.operator_at(self._kubeconfig, "--no-leader-election", **environment)

    async def operator_at(self, kubeconfig: Path, /, *flags: str, **environment: str) -> Operator:
        """Start one with another kubeconfig, such as that of a proxy, and these flags."""
        loop = asyncio.get_running_loop()
        name = f"operator-{len(self.operators)}"
        self._born[name], self._ended[name] = loop.create_future(), loop.create_future()
        log_path = self._folder / f"{name}.log"
        arguments = [
            "--namespace",
            OPERATOR_NAMESPACE,
            "--kubeconfig",
            str(kubeconfig),
            "--listen",
            "127.0.0.1:0",
            *flags,
        ]
        order = {
            "id": name,
            "arguments": arguments,
            "environment": {"TENANTWAVE_WRITES_PER_SECOND": "1000"} | environment,
            "log": str(log_path),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(90):
            pid = await self._born[name]
        operator = Operator(pid, log_path, self._ended[name])
        self.operators.append(operator)
        return operator

    async def hear(self) -> None:
        """Take in what the nursery says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "pid" in said:
                self._born[said["id"]].set_result(said["pid"])
            else:
                self._ended[said["id"]].set_result(said["code"])
        for waiting in (*self._born.values(), *self._ended.values()):
            if not waiting.done():
                waiting.set_exception(RuntimeError("the nursery has ended; its error stands above"))


@asynccontextmanager
async def nursery(kubeconfig: Path, folder: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Nursery]:
    """Give a nursery whose operators log in with `kubeconfig` and write their logs into `folder`; they all end with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("tests", "operator"))} | dict(environment or {}),
    )
    found = Nursery(process, kubeconfig, folder)
    hearing = asyncio.create_task(found.hear())
    try:
        yield found
    finally:
        for operator in found.operators:
            await operator.kill()
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            await process.wait()
        hearing.cancel()


def tracebacks(operators: Sequence[Operator]) -> list[str]:
    """Return the ends of logs in which an error was nobody's."""
    return [operator.log()[-3000:] for operator in operators if "Traceback" in operator.log()]
