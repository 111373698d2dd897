"""The binaries that the local cluster consists of: versions, and where vendors publish them."""

from __future__ import annotations

from dataclasses import dataclass, replace

Version = tuple[int, ...]

KUBERNETES = "1.36.1"
ETCD = "3.6.12"
PROMETHEUS = "3.10.0"
PROMETHEUS_2 = "2.42.0"
KUBECTL = "1.36.3"
HELM = "4.2.3"


@dataclass(frozen=True, slots=True)
class Tool:
    """One binary.

    Args:
        set_name: what it is fetched or built together with, and the start of its folder's name in the cache.
        version: the one that we fetch or build. minimum: the oldest that will do, wherever it was found. below: the first that is too new.
        file: what its file is called, where that is not its name. also_in: other sets of our cache whose binary will do, if its version fits.
        is_exact: another version in our cache will not do (parts that must fit each other).
        version_arguments: make it print its version.
        url: its download, with {version}, {os}, {arch}; an archive holds it under its own name. checksum_url: the vendor's SHA-256 file.
        packages: the Go packages of the whole set, built in hack/tools/<set_name>. stamps: its -ldflags -X. tags: its build tags.
        is_linux_only: the download exists for Linux alone.
    """

    name: str
    set_name: str
    version: str
    minimum: Version
    version_arguments: tuple[str, ...] = ("--version",)
    is_exact: bool = False
    url: str = ""
    checksum_url: str = ""
    packages: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    tags: str = ""
    is_linux_only: bool = False
    below: Version | None = None
    file: str = ""
    also_in: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """What its file is called in a folder or an archive."""
        return self.file or self.name

    def fits(self, version: Version) -> bool:
        """Tell whether this version will do."""
        return version >= self.minimum and (self.below is None or version < self.below)

    @property
    def variable(self) -> str:
        """The environment variable that names this binary on purpose."""
        return "TEST_ASSET_" + self.name.upper().replace("-", "_")

    @property
    def wanted_text(self) -> str:
        """Which versions will do, as in `2.40 or newer`."""
        newest = f", older than {'.'.join(map(str, self.below))}" if self.below else ""
        return f"{'.'.join(map(str, self.minimum))} or newer{newest}"


_RELEASE = "https://dl.k8s.io/release/v{version}/bin/{os}/{arch}/"
_STAMPS = tuple(
    f"{package}.{field}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for field, value in (("gitVersion", f"v{KUBERNETES}"), ("gitMajor", "1"), ("gitMinor", "36"), ("gitTreeState", "clean"))
)
"""Unstamped binaries report v0.0.0-master, which breaks Helm's capability check."""


def _kubernetes(name: str) -> Tool:
    return Tool(
        name=name,
        set_name="kubernetes",
        version=KUBERNETES,
        minimum=(1, 33),
        is_exact=True,
        url=_RELEASE + name,
        checksum_url=_RELEASE + name + ".sha256",
        packages=tuple(f"k8s.io/kubernetes/cmd/{one}" for one in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
        stamps=_STAMPS,
        tags="notest,grpcnotrace",
        is_linux_only=True,
    )


_ETCD = "https://github.com/etcd-io/etcd/releases/download/v{version}/"
_PROMETHEUS_PACKAGE = "github.com/prometheus/prometheus/cmd/prometheus"
_PROMETHEUS = "https://github.com/prometheus/prometheus/releases/download/v{version}/"


def _prometheus(name: str, packages: tuple[str, ...]) -> Tool:
    return Tool(
        name=name,
        set_name="prometheus",
        version=PROMETHEUS,
        minimum=(2, 40),
        url=_PROMETHEUS + "prometheus-{version}.{os}-{arch}.tar.gz",
        checksum_url=_PROMETHEUS + "sha256sums.txt",
        packages=packages,
        stamps=(f"github.com/prometheus/common/version.Version={PROMETHEUS}",),
        tags="remove_all_sd,netgo",
    )


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            name="etcd",
            set_name="etcd",
            version=ETCD,
            minimum=(3, 5, 13),  # watches of a modern API server break in odd ways on older ones
            is_exact=True,
            url=_ETCD + "etcd-v{version}-{os}-{arch}.tar.gz",
            checksum_url=_ETCD + "SHA256SUMS",
            packages=("go.etcd.io/etcd/server/v3",),
            tags="grpcnotrace",
            is_linux_only=True,  # zip files elsewhere
        ),
        *(_kubernetes(name) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
        _prometheus("prometheus", (_PROMETHEUS_PACKAGE,)),
        _prometheus("promtool", ()),
        replace(
            _prometheus("prometheus2", ()),
            file="prometheus",
            set_name="prometheus2",
            also_in=("prometheus",),
            version=PROMETHEUS_2,
            below=(3,),
        ),
        replace(
            _prometheus("prometheus3", (_PROMETHEUS_PACKAGE,)),
            file="prometheus",
            set_name="prometheus3",
            also_in=("prometheus",),
            minimum=(3,),
        ),
        Tool(
            name="kubectl",
            set_name="kubectl",
            version=KUBECTL,
            minimum=(1, 28),
            version_arguments=("version", "--client"),
            url=_RELEASE + "kubectl",
            checksum_url=_RELEASE + "kubectl.sha256",
        ),
        Tool(
            name="helm",
            set_name="helm",
            version=HELM,
            minimum=(3, 14),
            version_arguments=("version", "--short"),
            url="https://get.helm.sh/helm-v{version}-{os}-{arch}.tar.gz",
            checksum_url="https://get.helm.sh/helm-v{version}-{os}-{arch}.tar.gz.sha256sum",
        ),
    )
}

GO_FOLDERS = {"etcd": "kubernetes", "prometheus3": "prometheus"}
"""Sets that are built in another's wrapper module: etcd comes with the version that Kubernetes asks for."""

PROMETHEUS_LINES = ("prometheus2", "prometheus3")
"""What our queries are tested on: ranges are closed on the left in 2.x and open in 3.x. All else takes `prometheus`, whichever is there."""
