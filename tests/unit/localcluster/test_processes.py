"""Child processes: they end together, never outlive their parent, and a port that is taken is no failure."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from localcluster.processes import HACK, Guardian, Process, StartError, end_all, start_on_free_port

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    made = Guardian()
    yield made
    made.close()


def test_a_child_that_does_not_heed_sigterm_is_killed(tmp_path: Path, guardian: Guardian) -> None:
    child = Process("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log", guardian)
    child.wait_until(lambda: "up" in child.log_tail(), 10)
    end_all([child], grace_seconds=0.2)
    assert not child.is_running()


def test_a_child_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path, guardian: Guardian) -> None:
    child = Process("short", ["sh", "-c", "echo old; echo 'the disk is full'; exit 3"], tmp_path / "log", guardian)
    with pytest.raises(StartError, match=r"short ended with code 3.*(?s:.)*the disk is full"):
        child.wait_until(lambda: False, 10)
    assert child.wait(5)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a process of somebody else needs Linux")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    story = (
        "import sys, time; from pathlib import Path; from localcluster.processes import Guardian, Process;"
        f"print(Process('child', ['sleep', '600'], Path({str(tmp_path / 'log')!r}), Guardian()).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", story], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HACK)}
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            ended, _, _ = select.select([child], [], [], 20)
        finally:
            os.close(child)
    assert ended, "the child is still there 20 s after its parent was killed"


def test_another_port_is_tried_when_the_first_is_taken() -> None:
    tried: list[int] = []

    def start(port: int) -> str:
        tried.append(port)
        if len(tried) == 1:
            raise StartError(f"listen tcp 127.0.0.1:{port}: bind: address already in use")
        return "started"

    assert start_on_free_port(start) == "started"
    assert len(tried) == 2


def test_any_other_failure_to_start_is_not_tried_again() -> None:
    def start(port: int) -> str:
        raise StartError("unknown flag")

    with pytest.raises(StartError, match="unknown flag"):
        start_on_free_port(start)
