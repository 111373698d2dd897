"""Which cluster the tests run on, and what a missing one means."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from support.clusters import named_kubeconfig, no_cluster


def config(option: str | None) -> pytest.Config:
    return cast(pytest.Config, SimpleNamespace(getoption=lambda _: option))


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [("/a", "/b", Path("/a")), (None, "/b", Path("/b")), (None, None, None), (None, "", None)],
    ids=["the option wins", "else the variable", "else none", "empty is none"],
)
def test_a_cluster_is_used_only_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, option: str | None, variable: str | None, expected: Path | None
) -> None:
    """KUBECONFIG is set and must not count: tests never run on somebody's current context by accident."""
    monkeypatch.setenv("KUBECONFIG", "/somebody/production")
    monkeypatch.delenv("TENANTWAVE_TEST_KUBECONFIG", raising=False)
    if variable is not None:
        monkeypatch.setenv("TENANTWAVE_TEST_KUBECONFIG", variable)
    assert named_kubeconfig(config(option)) == expected


def test_a_missing_cluster_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Go is not in PATH"):
        no_cluster("Go is not in PATH")


def test_a_missing_cluster_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Go is not in PATH"):
        no_cluster("Go is not in PATH")
