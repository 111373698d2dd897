"""The table of docs/concepts/gates.md is computed again: a page that is wrong fails here."""

import re
from math import log
from pathlib import Path

from tenantwave.core.gates.constants import ALPHA_FAILING, ALPHA_HEALTHY
from tenantwave.core.gates.samples import FailureKind
from tenantwave.core.gates.statistics import log_e_above, log_e_below, unacceptable_rate

PAGE = (Path(__file__).parents[4] / "docs/concepts/gates.md").read_text()
LIMIT = 0.01


def shown(total: int) -> tuple[int, str]:
    """Return what the page should say of so many requests. Where both answers have their evidence, Failing wins."""
    fails = next(bad for bad in range(total) if log_e_above(bad, total, LIMIT) >= log(1 / ALPHA_FAILING))
    healthy = [bad for bad in range(fails) if log_e_below(bad, total, unacceptable_rate(LIMIT)) >= log(1 / ALPHA_HEALTHY)]
    words = f"up to {healthy[-1]}" if len(healthy) > 1 else "none" if healthy else ""
    return fails, words


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    """So many bad requests fail a tenant, so many leave it Healthy."""
    rows = re.findall(r"^\| (\d+) \| (\d+)(?: bad ones)? \| ?(.*?) ?\|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    assert {int(total): (int(fails), healthy) for total, fails, healthy in rows} == {
        total: shown(total) for total in (20, 100, 1000, 10000)
    }


def test_every_way_in_which_a_source_fails_is_explained() -> None:
    """With what to do about it."""
    assert {kind.value for kind in FailureKind} <= set(re.findall(r"`(\w+)`", PAGE))
