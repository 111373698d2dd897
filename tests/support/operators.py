"""Starts operator processes, waits for what they say, and ends them."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class OperatorProcess:
    """One process: its port, and where its log lines go."""

    process: asyncio.subprocess.Process
    log_file: Path
    port: int = 0

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    async def says(self, text: str, seconds: float = 30.0) -> None:
        """Wait until `text` stands in the log."""
        await eventually(lambda: text in self.log, seconds, lambda: f"{text!r} is not in the log:\n{self.log}")

    async def ends(self, seconds: float = 25.0) -> int:
        """Return the exit code, once it has ended."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ask(self, path: str) -> tuple[int, str]:
        """Return code and text of one of its endpoints."""
        if not self.port:
            await self.says("listening on port")
            found = re.search(r"listening on port (\d+)", self.log)
            assert found is not None
            self.port = int(found[1])
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as response:
            return response.status, await response.text()


@asynccontextmanager
async def an_operator(
    kubeconfig: Path, namespace: str, folder: Path, *flags: str, program: str = "small_operator", **environment: str
) -> AsyncIterator[OperatorProcess]:
    """Run `tests/support/<program>.py`, or a module, as a process of its own; it is killed at the end if it still runs."""
    log_file = folder / f"{program}-{secrets.token_hex(4)}.log"
    arguments = ["--namespace", namespace, "--kubeconfig", str(kubeconfig), "--listen", "127.0.0.1:0", *flags]
    path = os.pathsep.join(str(ROOT / part) for part in ("tests", "operator"))
    with log_file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(["-m", program] if "." in program else [str(ROOT / "tests" / "support" / f"{program}.py")]),
            *arguments,
            stderr=output,
            stdout=output,
            env=os.environ | {"PYTHONPATH": path, "TENANTWAVE_TEST_BEATS": str(folder / "beats")} | environment,
        )
    running = OperatorProcess(process, log_file)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def eventually(
    condition: Callable[[], bool], seconds: float = 30.0, why_not: Callable[[], str] = lambda: "it did not come true"
) -> None:
    """Wait until `condition` is true."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the condition is another process's doing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(why_not()) from None
