"""What may go of our own records: never what anything refers to, and the rest after its time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantwave.core.retention import MARK_ANNOTATION, Keeping, KeptRun, Verdict, digests_in, marked_time, runs_to_delete, verdict

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEEPING = Keeping(run_count=3, age=30 * DAY)


def a_run(name: str, days_old: float = 100, **fields: object) -> KeptRun:
    plain = KeptRun(name, f"uid-{name}", f"gone-{name}", "acme", "shop", is_open=False, time=NOW - timedelta(days=days_old))
    return replace(plain, **fields)  # type: ignore[arg-type]


def gone(*runs: KeptRun, upgrades: frozenset[str] = frozenset(), writers: frozenset[str] = frozenset()) -> set[str]:
    return {uid.removeprefix("uid-") for uid in runs_to_delete(runs, upgrades, writers, KEEPING, NOW)}


OLD = tuple(a_run(f"r{number}", 100 + number) for number in range(5))
"""r0 is the youngest; r3 and r4 are beyond the last three."""


@pytest.mark.parametrize(
    ("runs", "upgrades", "writers", "deleted"),
    [
        (OLD, set(), set(), {"r3", "r4"}),
        (OLD[:3], set(), set(), set()),
        (OLD, {"gone-r3"}, set(), {"r4"}),
        (OLD, {"gone-r0"}, set(), {"r4"}),
        (OLD, set(), {"uid-r4"}, {"r3"}),
        ((*OLD[:4], replace(OLD[4], is_open=True)), set(), set(), {"r3"}),
        ((*OLD[:4], replace(OLD[4], tenant="beta")), set(), set(), {"r3"}),
        ((*OLD[:4], replace(OLD[4], product="mail")), set(), set(), {"r3"}),
        (tuple(a_run(f"r{number}", 29 + number / 10) for number in range(5)), set(), set(), set()),
        (tuple(a_run(f"r{number}", 29.8 + number / 10) for number in range(5)), set(), set(), {"r3", "r4"}),
        (tuple(a_run(name, 100) for name in "abcde"), set(), set(), {"a", "b"}),
    ],
    ids=[
        "beyond the last three",
        "the last three",
        "of an upgrade that exists",
        "one of an upgrade that exists counts for nobody",
        "the last good one",
        "open: in flight, held or failed",
        "another tenant",
        "another product",
        "younger",
        "exactly so old",
        "of one age",
    ],
)
def test_which_runs_go(runs: tuple[KeptRun, ...], upgrades: set[str], writers: set[str], deleted: set[str]) -> None:
    assert gone(*runs, upgrades=frozenset(upgrades), writers=frozenset(writers)) == deleted


some_runs = st.lists(
    st.builds(
        KeptRun,
        name=st.sampled_from([f"u{number}.t" for number in range(12)]),
        uid=st.uuids().map(str),
        upgrade_uid=st.sampled_from(["u1", "u2", "u3", "u4"]),
        tenant=st.sampled_from(["acme", "beta"]),
        product=st.sampled_from(["shop", "mail"]),
        is_open=st.booleans(),
        time=st.integers(0, 60).map(lambda days: NOW - days * DAY),
    ),
    max_size=12,
    unique_by=lambda run: run.name,
)
some_keeping = st.builds(Keeping, run_count=st.integers(1, 4), age=st.integers(1, 45).map(lambda days: days * DAY))
some_upgrades = st.frozensets(st.sampled_from(["u1", "u2", "u3", "u4"]))


@given(some_runs, some_upgrades, some_keeping, st.data())
def test_nothing_goes_that_anything_needs(runs: list[KeptRun], upgrades: frozenset[str], keeping: Keeping, data: st.DataObject) -> None:
    """And of each tenant and product so many stay as there are, up to the count."""
    writers = frozenset(data.draw(st.sets(st.sampled_from([run.uid for run in runs])))) if runs else frozenset()
    deleted = runs_to_delete(runs, upgrades, writers, keeping, NOW)
    for run in runs:
        if run.uid in deleted:
            assert not run.is_open
            assert run.upgrade_uid not in upgrades
            assert run.uid not in writers
            assert run.time <= NOW - keeping.age
    settled = [run for run in runs if not run.is_open and run.upgrade_uid not in upgrades]
    for key in {(run.tenant, run.product) for run in settled}:
        of_tenant = [run for run in settled if (run.tenant, run.product) == key]
        stays = [run for run in of_tenant if run.uid not in deleted]
        assert len(stays) >= min(keeping.run_count, len(of_tenant))
        youngest_gone = max((run.time for run in of_tenant if run.uid in deleted), default=None)
        assert youngest_gone is None or sum(run.time >= youngest_gone for run in stays) >= keeping.run_count


@given(some_runs, some_upgrades, some_keeping)
def test_a_second_sweep_finds_nothing_more(runs: list[KeptRun], upgrades: frozenset[str], keeping: Keeping) -> None:
    """And the order in which the runs are listed is the same to it."""
    deleted = runs_to_delete(runs, upgrades, frozenset(), keeping, NOW)
    assert runs_to_delete(list(reversed(runs)), upgrades, frozenset(), keeping, NOW) == deleted
    left = [run for run in runs if run.uid not in deleted]
    assert runs_to_delete(left, upgrades, frozenset(), keeping, NOW) == frozenset()


@pytest.mark.parametrize(
    ("is_needed", "marked", "said"),
    [
        (True, None, Verdict.LEAVE),
        (True, NOW - 90 * DAY, Verdict.UNMARK),
        (False, None, Verdict.MARK),
        (False, NOW - DAY + timedelta(seconds=1), Verdict.LEAVE),
        (False, NOW - DAY, Verdict.DELETE),
        (False, NOW + DAY, Verdict.MARK),
    ],
    ids=["needed", "needed again", "first seen", "in its grace", "over", "of a clock that was wrong"],
)
def test_what_goes_in_two_steps(is_needed: bool, marked: datetime | None, said: Verdict) -> None:
    assert verdict(is_needed=is_needed, marked_time=marked, grace=DAY, now=NOW) is said


@pytest.mark.parametrize("text", ["soon", "2026-01-01T00:00:00", ""], ids=["no time", "no zone", "empty"])
def test_a_mark_that_nobody_can_read_is_set_anew(text: str) -> None:
    """It never counts as old."""
    time = marked_time({MARK_ANNOTATION: text})
    assert verdict(is_needed=False, marked_time=time, grace=DAY, now=NOW) is Verdict.MARK


def test_a_mark_is_read_as_it_was_written() -> None:
    assert marked_time({MARK_ANNOTATION: NOW.isoformat()}) == NOW
    assert marked_time({"other": "x"}) is None
    assert marked_time(None) is None


def test_every_digest_of_a_document_is_found_wherever_it_stands() -> None:
    """Also in a field that this build does not know."""
    digests = {f"sha256:{letter * 64}" for letter in "abc"}
    first, second, third = sorted(digests)
    text = f'{{"intents":[{{"before":"{first}"}}],"later":{{"{second}":1}},"note":"kept as {third}."}}'
    assert digests_in(text) == digests
    assert digests_in("sha256:" + "a" * 63) == frozenset()
