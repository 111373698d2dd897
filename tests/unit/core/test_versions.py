"""Comparing versions, and which of them may be upgraded."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tenantwave.core.versions import SemVer, is_higher, may_upgrade_from, range_problem

ASCENDING = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "v1.0.1",
    "1.10.0",
    "2",
)


def test_versions_ascend_as_semver_has_them() -> None:
    """Numbers as numbers, pre-releases before their release."""
    parsed = [version for text in ASCENDING if (version := SemVer.parse(text)) is not None]
    assert len(parsed) == len(ASCENDING)
    assert parsed == sorted(parsed)
    assert all(left < right for left, right in pairwise(parsed))


@pytest.mark.parametrize("text", ["nightly", "1.2.3.4", "01.2.3", "", "release-7", "1.0.0-"])
def test_others_are_no_semantic_versions(text: str) -> None:
    """They can only be equal or not."""
    assert SemVer.parse(text) is None


@pytest.mark.parametrize(
    ("runs", "target", "asked", "expected"),
    [
        pytest.param("2.3.1", "2.4.0", None, True, id="default: a lower version"),
        pytest.param("2.4.0", "2.4.0", None, True, id="default: the same version"),
        pytest.param("2.4", "2.4.0", None, True, id="default: the same, written shorter"),
        pytest.param("2.5.0", "2.4.0", None, False, id="default: a downgrade is asked for by name"),
        pytest.param("2.4.0", "2.4.0-rc.1", None, False, id="default: back to a pre-release is a downgrade"),
        pytest.param("nightly-7", "2.4.0", None, True, id="default: what cannot be compared"),
        pytest.param("", "2.4.0", None, True, id="unknown: onUnknownBase decides"),
        pytest.param("", "2.4.0", ">=2.2", True, id="unknown, with a range"),
        pytest.param("2.2.0", "2.4.0", ">=2.2,<2.4", True, id="range: the lower edge"),
        pytest.param("2.4.0", "2.4.0", ">=2.2,<2.4", False, id="range: the upper edge"),
        pytest.param("2.1.9", "2.4.0", ">=2.2, <2.4", False, id="range: below"),
        pytest.param("2.5.0", "2.4.0", "2.5.0", True, id="range: a downgrade by name"),
        pytest.param("2.3.1", "2.4.0", "!=2.3.1", False, id="range: all but one"),
        pytest.param("nightly", "2.4.0", ">=2.2", False, id="range: a word is in no range"),
        pytest.param("nightly", "2.4.0", "nightly", True, id="range: a word by name"),
    ],
)
def test_which_tenants_may_be_upgraded(runs: str, target: str, asked: str | None, expected: bool) -> None:
    """`fromVersions`, and its default."""
    assert may_upgrade_from(runs, target, asked) is expected


@pytest.mark.parametrize("text", [">=nightly", "", ">=2.2,,<3", "=>2"])
def test_a_bad_range_says_the_mend(text: str) -> None:
    """The clause, and an example."""
    assert "for example" in range_problem(text)


def test_only_semantic_versions_are_higher() -> None:
    """`Superseded` asks this."""
    assert is_higher("2.10.0", "2.9.0")
    assert not is_higher("2.4.0", "2.4.0")
    assert not is_higher("nightly", "2.4.0")
