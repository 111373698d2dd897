"""One tenant's trouble makes that tenant wait, longer each time, and nobody else."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.engine.patience import SOON, Patience
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
    assert [count for count, _ in waits] == list(range(1, 16))
    assert [wait.total_seconds() for _, wait in waits[:3]] == [0.5, 1.0, 2.0]
    assert waits[-1][1] == timedelta(seconds=300)
    assert patience.is_over("shop", "acme", 300.0)


def test_a_conflict_is_ordinary_and_is_looked_at_again_at_once() -> None:
    patience = Patience()
    assert patience.fail("shop", "acme", Conflict("somebody was faster"), now=0.0) == (0, SOON)


def test_what_the_server_asks_for_is_kept() -> None:
    patience = Patience()
    _, wait = patience.fail("shop", "acme", Unavailable("busy", retry_after=timedelta(seconds=30)), now=0.0)
    assert wait == timedelta(seconds=30)


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
    for _ in range(5):
        patience.fail("u", "t", Unavailable("create Lease ns/a: the answer was lost"), 0.0)
    assert patience.fail("u", "t", Unavailable("create Lease ns/a: overloaded"), 0.0)[0] == 6
    assert patience.fail("u", "t", Unavailable("delete Lease ns/a: the answer was lost"), 0.0)[0] == 1
