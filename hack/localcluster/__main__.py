"""The local cluster from the command line. `up` leaves it running in the background until `down`."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from localcluster.binaries import BinaryMissingError, resolve
from localcluster.cluster import LocalCluster
from localcluster.monitoring import Monitoring
from localcluster.processes import HACK, StartError, python_module
from localcluster.tools import PROMETHEUS_LINES

DEFAULT_RUN_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenantwave" / "cluster"
NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "prometheus", "helm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "start it and print what to export",
        "down": "end it and remove its data",
        "status": "what runs, and where",
        "kubeconfig": "print the path of the administrator's kubeconfig",
        "fetch": "get all binaries ready, also those of tests alone (a first build takes minutes), and start nothing",
        "serve": "run it in the foreground until Ctrl-C",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--run-dir", type=Path, default=DEFAULT_RUN_DIR, help="its folder (default %(default)s)")
        if name in ("up", "serve"):
            command.add_argument("--rate", type=float, default=20.0, help="the tenants' requests per second (default %(default)s)")
    arguments = parser.parse_args()
    try:
        return int(_COMMANDS[arguments.command](arguments))
    except (BinaryMissingError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def fetch(_: argparse.Namespace) -> int:
    for name in NEEDED:
        print(f"{name:24} {resolve(name)}", flush=True)
    for name in PROMETHEUS_LINES:
        try:
            print(f"{name:24} {resolve(name)}", flush=True)
        except BinaryMissingError as error:
            print(f"{name:24} missing, so tests of our queries leave it out. {error}", file=sys.stderr)
    return 0


def up(arguments: argparse.Namespace) -> int:
    if _is_served(arguments.run_dir):
        return status(arguments)
    for name in NEEDED[:-1]:
        resolve(name)  # here, where its progress can be seen
    shutil.rmtree(arguments.run_dir, ignore_errors=True)
    arguments.run_dir.mkdir(parents=True)
    log_path = arguments.run_dir / "serve.log"
    command = python_module("localcluster", "serve", "--run-dir", str(arguments.run_dir), "--rate", str(arguments.rate))
    with log_path.open("w") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PYTHONPATH": str(HACK)}
        )
    while _state(arguments.run_dir) is None:
        if child.poll() is not None:
            print(log_path.read_text(), file=sys.stderr)
            return 1
        time.sleep(0.1)
    return status(arguments)


def serve(arguments: argparse.Namespace) -> int:
    """Hold the cluster until a signal; all processes end with this one."""
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    with (arguments.run_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state_path = arguments.run_dir / "state.json"
        with (
            LocalCluster(arguments.run_dir, say=print) as cluster,
            Monitoring(arguments.run_dir, arguments.run_dir / "traffic.kubeconfig", rate=arguments.rate) as monitoring,
        ):
            state = {
                "pid": os.getpid(),
                "api": cluster.url,
                "prometheus": monitoring.url,
                "processes": {**cluster.pids(), **monitoring.pids()},
            }
            temporary = state_path.with_suffix(".new")
            temporary.write_text(json.dumps(state))
            temporary.replace(state_path)
            stop.wait()
        state_path.unlink()
    return 0


def status(arguments: argparse.Namespace) -> int:
    state = _state(arguments.run_dir)
    if state is None or not _is_served(arguments.run_dir):
        print("no local cluster runs; start one with `hack/cluster up`", file=sys.stderr)
        return 1
    for name, pid in state["processes"].items():
        print(f"# {name:24} pid {pid:<8} {arguments.run_dir / 'logs' / name}.log")
    print(f"# API server {state['api']}")
    print(f"export KUBECONFIG={arguments.run_dir / 'admin.kubeconfig'}")
    print(f"export PROMETHEUS_URL={state['prometheus']}")
    return 0


def kubeconfig(arguments: argparse.Namespace) -> int:
    if not _is_served(arguments.run_dir):
        return status(arguments)
    print(arguments.run_dir / "admin.kubeconfig")
    return 0


def down(arguments: argparse.Namespace) -> int:
    state = _state(arguments.run_dir)
    if state is not None and _is_served(arguments.run_dir):
        os.kill(state["pid"], signal.SIGTERM)
        while _is_served(arguments.run_dir):
            time.sleep(0.1)
    shutil.rmtree(arguments.run_dir, ignore_errors=True)
    return 0


def _is_served(run_dir: Path) -> bool:
    """Tell whether a `serve` holds this folder: a pid in a file could be anybody's by now, a lock could not."""
    if not (run_dir / "lock").exists():
        return False
    with (run_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _state(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / "state.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


_COMMANDS = {"up": up, "down": down, "status": status, "kubeconfig": kubeconfig, "fetch": fetch, "serve": serve}


if __name__ == "__main__":
    sys.exit(main())
