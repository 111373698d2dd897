"""One tenant's trouble makes that tenant wait, longer each time, and nobody else."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.engine.patience import LONGEST_AFTER_CONFLICT, ORDINARY_CONFLICTS, SOON, TOLD_AT, Patience, Setback
from tenantwave.faults import Conflict, Unavailable


def test_only_the_tenant_that_failed_waits() -> None:
    patience = Patience()
    patience.fail("shop", "acme", Unavailable("webhook down"), now=100.0)
    assert not patience.is_over("shop", "acme", 100.0)
    assert patience.is_over("shop", "beta", 100.0)
    assert patience.is_over("mail", "acme", 100.0)


def test_the_wait_doubles_up_to_five_minutes_and_then_ends() -> None:
    patience = Patience()
    waits = [patience.fail("shop", "acme", Unavailable("webhook down"), now=0.0) for _ in range(15)]
    assert [one.wait.total_seconds() for one in waits[:3]] == [0.5, 1.0, 2.0]
    assert waits[-1].wait == timedelta(seconds=300)
    assert [number for number, one in enumerate(waits, 1) if one.is_news] == [TOLD_AT]
    assert [one.lasts for one in waits] == [number >= TOLD_AT for number in range(1, 16)]
    assert patience.is_over("shop", "acme", 300.0)


def test_a_conflict_is_ordinary_and_is_looked_at_again_at_once() -> None:
    patience = Patience()
    for _ in range(ORDINARY_CONFLICTS):
        assert patience.fail("shop", "acme", Conflict("somebody was faster"), now=0.0) == Setback(SOON)


def test_the_same_conflict_on_and_on_waits_longer_and_is_told_once() -> None:
    """Looking again does not mend it, and nobody else would hear of it."""
    patience = Patience()
    said = [patience.fail("shop", "acme", Conflict("a marker of nobody's"), now=0.0) for _ in range(ORDINARY_CONFLICTS + 12)]
    assert [one.wait.total_seconds() for one in said[ORDINARY_CONFLICTS:][:3]] == [0.5, 1.0, 2.0]
    assert said[-1].wait == LONGEST_AFTER_CONFLICT
    assert [number for number, one in enumerate(said, 1) if one.is_news] == [ORDINARY_CONFLICTS + TOLD_AT]


def test_conflicts_about_different_things_are_no_row() -> None:
    """A rollback under way among busy writers is not slowed down."""
    patience = Patience()
    waits = {patience.fail("shop", "acme", Conflict(f"merge ConfigMap acme/{number % 2}"), now=0.0).wait for number in range(50)}
    assert waits == {SOON}


def test_what_the_server_asks_for_is_kept() -> None:
    patience = Patience()
    setback = patience.fail("shop", "acme", Unavailable("busy", retry_after=timedelta(seconds=30)), now=0.0)
    assert setback.wait == timedelta(seconds=30)


def test_success_and_a_gone_upgrade_forget() -> None:
    patience = Patience()
    for tenant in ("acme", "beta"):
        patience.fail("shop", tenant, Unavailable("webhook down"), now=0.0)
    patience.forget("shop", "acme")
    assert patience.is_over("shop", "acme", 0.0)
    assert patience.next_end("shop", 0.0) == timedelta(seconds=0.5)
    patience.drop("shop")
    assert patience.next_end("shop", 0.0) is None


def test_another_write_that_fails_is_no_row() -> None:
    patience = Patience()
    for _ in range(TOLD_AT - 1):
        patience.fail("u", "t", Unavailable("create Lease ns/a: the answer was lost"), 0.0)
    assert patience.fail("u", "t", Unavailable("create Lease ns/a: overloaded"), 0.0).is_news
    assert patience.fail("u", "t", Unavailable("delete Lease ns/a: the answer was lost"), 0.0).wait == timedelta(seconds=0.5)
