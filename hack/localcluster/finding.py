"""Places where a binary may lie already, and the machine that they are on."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from localcluster.tools import Tool, Version


@dataclass(frozen=True, slots=True)
class Miss:
    """A place that has no good one, and why. `is_final`: the place was named on purpose, so no other is tried."""

    place: str
    why: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """What the search depends on: environment variables, the home folder, the system, and whom to tell what takes long."""

    variables: Mapping[str, str]
    home: Path
    system: str
    architecture: str
    say: Callable[[str], None]

    @classmethod
    def this(cls, say: Callable[[str], None] | None = None) -> Self:
        machine = platform.machine().lower()
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
        return cls(dict(os.environ), Path.home(), platform.system().lower(), architecture, say or _say_on_stderr)

    @property
    def cache(self) -> Path:
        return Path(self.variables.get("XDG_CACHE_HOME") or self.home / ".cache") / "tenantwave" / "bin"

    @property
    def is_offline(self) -> bool:
        return self.variables.get("OFFLINE", "") not in ("", "0")

    def which(self, command: str) -> str | None:
        return shutil.which(command, path=self.variables.get("PATH", ""))

    def cache_folder(self, set_name: str, version: str) -> Path:
        return self.cache / f"{set_name}-{version}-{self.system}-{self.architecture}"

    @contextmanager
    def cache_lock(self, set_name: str) -> Iterator[None]:
        """Hold the right to fill the cache with this set. Waits for whoever has it, and says so."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / f".lock-{set_name}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"another process is getting {set_name}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def install(self, files: Mapping[str, Path], set_name: str, version: str) -> Path:
        """Put files into the cache, each in one step: what is there is whole. Return their folder."""
        folder = self.cache_folder(set_name, version)
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}-", delete=False) as copy, source.open("rb") as original:
                shutil.copyfileobj(original, copy, 2**20)
                copy.flush()
                os.fchmod(copy.fileno(), 0o755)
                os.fsync(copy.fileno())
            Path(copy.name).replace(folder / name)
        return folder


def version_of(path: Path, tool: Tool) -> Version | None:
    """Return the version that a binary reports, or None if it cannot be run here or reports none."""
    try:
        done = subprocess.run([str(path), *tool.version_arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout + done.stderr)
    return tuple(map(int, found.groups())) if found else None


def why_not(path: Path, tool: Tool) -> str | None:
    """Return why this file will not do; None means that it does."""
    if not path.is_file():
        return f"{path} is no file"
    version = version_of(path, tool)
    if version is None:
        return f"{path} cannot be run here, or reports no version"
    if not tool.fits(version):
        return f"{path} is version {'.'.join(map(str, version))}, not {tool.wanted_text}"
    return None


def from_test_asset(tool: Tool, machine: Machine) -> Path | Miss:
    """`TEST_ASSET_KUBE_APISERVER` and so on: this file and no other."""
    if not (named := machine.variables.get(tool.variable)):
        return Miss(tool.variable, "is not set")
    path = Path(named).expanduser()
    why = why_not(path, tool)
    return path if why is None else Miss(tool.variable, why, is_final=True)


def from_kubebuilder(tool: Tool, machine: Machine) -> Path | Miss:
    """`KUBEBUILDER_ASSETS`: a folder that may have some of them."""
    if not (named := machine.variables.get("KUBEBUILDER_ASSETS")):
        return Miss("KUBEBUILDER_ASSETS", "is not set")
    path = Path(named).expanduser() / tool.file_name
    why = why_not(path, tool)
    return path if why is None else Miss("KUBEBUILDER_ASSETS", why)


def from_cache(tool: Tool, machine: Machine) -> Path | Miss:
    """What an earlier run fetched or built: exactly our version, or the newest that will do where the parts need not fit each other."""
    exact = machine.cache_folder(tool.set_name, tool.version) / tool.file_name
    if exact.is_file():
        return exact
    sets = () if tool.is_exact else (tool.set_name, *tool.also_in)
    others = [path for name in sets for path in machine.cache.glob(f"{name}-*-{machine.system}-{machine.architecture}/{tool.file_name}")]
    by_version = sorted(((_numbers(path.parent.name), path) for path in others), reverse=True)
    found = next((path for version, path in by_version if tool.fits(version)), None)
    return found or Miss("our cache", f"{exact} does not exist")


def from_setup_envtest(tool: Tool, machine: Machine) -> Path | Miss:
    """The store of controller-runtime's setup-envtest: the newest version that it has."""
    if machine.system == "darwin":
        store = machine.home / "Library" / "Application Support" / "io.kubebuilder.envtest" / "k8s"
    else:
        store = Path(machine.variables.get("XDG_DATA_HOME") or machine.home / ".local" / "share") / "kubebuilder-envtest" / "k8s"
    folders = sorted(store.glob(f"*-{machine.system}-{machine.architecture}"), key=lambda folder: _numbers(folder.name), reverse=True)
    found = next((path for folder in folders if why_not(path := folder / tool.file_name, tool) is None), None)
    return found or Miss("setup-envtest", f"{store} has no good one")


def from_path(tool: Tool, machine: Machine) -> Path | Miss:
    if (found := machine.which(tool.file_name)) is None:
        return Miss("PATH", "has none")
    why = why_not(Path(found), tool)
    return Path(found) if why is None else Miss("PATH", why)


def _numbers(name: str) -> Version:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", name)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _say_on_stderr(line: str) -> None:
    print(f"localcluster: {line}", file=sys.__stderr__, flush=True)
