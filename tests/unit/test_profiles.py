"""Which Hypothesis profile a run takes."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from hypothesis import settings

from support.profiles import PROFILES, chosen


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "dev"),
        ({"CI": "true"}, "ci"),
        ({"CI": "True"}, "ci"),
        ({"CI": "false"}, "dev"),
        ({"HYPOTHESIS_PROFILE": "ci"}, "ci"),
        ({"HYPOTHESIS_PROFILE": "dev", "CI": "true"}, "dev"),
        ({"HYPOTHESIS_PROFILE": "", "CI": "true"}, "ci"),
    ],
    ids=str,
)
def test_a_name_wins_then_ci(environment: Mapping[str, str], name: str) -> None:
    assert chosen(environment) == name


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="HYPOTHESIS_PROFILE=night is no profile; choose one of dev, ci"):
        chosen({"HYPOTHESIS_PROFILE": "night"})


def test_ci_tells_how_to_repeat_what_it_found_and_waits_for_slow_machines() -> None:
    assert (PROFILES["ci"].print_blob, PROFILES["ci"].deadline, PROFILES["ci"].derandomize) == (True, None, False)


def test_this_very_run_has_its_profile(pytestconfig: pytest.Config) -> None:
    named = pytestconfig.getoption("--hypothesis-profile")
    current, wanted = settings(), settings.get_profile(named) if named else PROFILES[chosen(os.environ)]
    assert (current.print_blob, current.deadline, current.derandomize) == (wanted.print_blob, wanted.deadline, wanted.derandomize)
