"""Notices: given once, kept with their time, bounded; their digest never changes from one build to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantwave.api.bounds import bounded_document
from tenantwave.api.profile import MAX_NOTICES, GivenNotice, TenantProfileStatus
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import Notice, TenantUpgradeSpec
from tenantwave.core.notices import DueNotice, due_notice, key_of, notice_digest, notices_shown, words_of

NOW = datetime(2026, 11, 16, tzinfo=UTC)
WORDS = {"title": "Shop 2.4", "changes": "c", "benefits": "b", "risks": "r", "url": "https://example.com/2.4"}
TEXT = Notice.model_validate(WORDS)
CONTAINERS = [{"name": "api", "image": "shop/api:2.4.0"}]
SPEC = TenantUpgradeSpec.model_validate(
    {
        "policyRef": {"name": "standard"},
        "tenantSelector": {"matchLabels": {"product": "shop"}},
        "release": {"product": "shop", "version": "2.4.0"},
        "components": [{"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": CONTAINERS}}],
        "notice": WORDS,
    }
)
DIGEST = notice_digest(TEXT, "shop", "2.4.0")


def test_the_digest_is_the_same_in_every_build() -> None:
    """Another digest for the same words would tell all tenants of all upgrades anew, and start their leads again."""
    assert DIGEST == "sha256:1f11a6cf98e9e97bc428138d47d3a48002b69dfdeb4883ec813eb63f8c8196f4"
    assert notice_digest(None, "shop", "2.4.0") == notice_digest(Notice(), "shop", "2.4.0")
    assert notice_digest(None, "shop", "2.4.0") == "sha256:30fe6d1af045fc33960c5e6751f8d60f3715dd1f4d8cd04337b2133129885bb9"


@pytest.mark.parametrize("field", WORDS)
def test_other_words_are_another_notice(field: str) -> None:
    other = TEXT.model_copy(update={field: WORDS[field] + "!"})
    assert notice_digest(other, "shop", "2.4.0") != DIGEST


def test_words_that_change_places_are_others() -> None:
    swapped = TEXT.model_copy(update={"changes": WORDS["benefits"], "benefits": WORDS["changes"]})
    assert notice_digest(swapped, "shop", "2.4.0") != DIGEST


def test_another_version_or_product_is_another_notice() -> None:
    digests = {notice_digest(TEXT, "shop", "2.4.0"), notice_digest(TEXT, "shop", "2.4.1"), notice_digest(TEXT, "mail", "2.4.0")}
    assert len(digests) == 3


def test_who_writes_no_headline_says_product_and_version() -> None:
    assert words_of(None, "shop", "2.4.0").title == "shop 2.4.0"
    assert words_of(Notice(risks="r"), "shop", "2.4.0") == Notice(title="shop 2.4.0", risks="r")
    assert words_of(TEXT, "shop", "2.4.0") is TEXT


RUN: dict[str, Any] = {"state": TenantState.WAITING, "to_version": "2.4.0", "notice_digest": DIGEST}


@pytest.mark.parametrize(
    ("changes", "is_due", "waits"),
    [
        ({}, True, True),
        ({"notice_digest": ""}, False, False),
        ({"notice_digest": "sha256:of-older-words"}, False, False),
        ({"to_version": "2.3.9"}, False, False),
        ({"notice_time": NOW}, True, True),
        ({"state": TenantState.HELD}, True, True),
        ({"state": TenantState.CONVERGING, "start_time": NOW, "notice_time": NOW}, True, False),
        ({"state": TenantState.SUCCEEDED, "start_time": NOW, "notice_time": NOW}, True, False),
        ({"state": TenantState.SKIPPED}, False, False),
        ({"state": TenantState.SKIPPED, "notice_time": NOW}, True, False),
    ],
    ids=[
        "waits and was not told",
        "nothing to tell",
        "the words were edited since",
        "the version was edited since",
        "told",
        "held before the start",
        "in flight",
        "done",
        "skipped before it was told",
        "skipped after it was told",
    ],
)
def test_when_a_notice_is_due(changes: dict[str, Any], is_due: bool, waits: bool) -> None:
    notice = due_notice("shop-2", SPEC, TenantRunStatus(**(RUN | changes)))
    assert (notice is not None) is is_due
    if notice is not None:
        assert notice == DueNotice("shop-2", "2.4.0", DIGEST, TEXT, changes.get("notice_time"), waits)


def a_due(upgrade: str, recorded: datetime | None = None, waits: bool = True, digest: str = DIGEST) -> DueNotice:
    return DueNotice(upgrade, "2.4.0", digest, TEXT, recorded, waits)


def test_what_a_tenant_is_told() -> None:
    (told,) = notices_shown((), [a_due("shop-2")], NOW + timedelta(microseconds=7))
    assert told == GivenNotice(upgrade="shop-2", version="2.4.0", digest=DIGEST, time=NOW, **WORDS)


def test_a_profile_that_lost_its_status_gets_it_back_with_its_time() -> None:
    (told,) = notices_shown((), [a_due("shop-2", recorded=NOW)], NOW + timedelta(days=3))
    assert told.time == NOW


def test_the_oldest_gives_way_but_none_that_a_tenant_waits_by() -> None:
    shown: tuple[GivenNotice, ...] = ()
    for day in range(8):
        shown = notices_shown(shown, [a_due(f"upgrade-{day}")], NOW + timedelta(days=day))
    waiting = [a_due("upgrade-0"), a_due("upgrade-9")]
    shown = notices_shown(shown, waiting, NOW + timedelta(days=9))
    assert [notice.upgrade[-1] for notice in shown] == list("97654320"), "the second oldest is gone: by the oldest the tenant still waits"


def test_where_all_places_are_waited_by_a_new_notice_waits_for_a_place() -> None:
    eight = [a_due(f"upgrade-{number}") for number in range(8)]
    shown = notices_shown((), [*eight, a_due("upgrade-8")], NOW)
    assert {notice.upgrade for notice in shown} == {notice.upgrade for notice in eight}
    later = notices_shown(shown, [*eight[1:], a_due("upgrade-8")], NOW + timedelta(hours=1))
    assert later[0].upgrade == "upgrade-8"
    assert len(later) == MAX_NOTICES


UPGRADES = st.sampled_from([f"upgrade-{number}" for number in range(11)])


@dataclass(frozen=True)
class Scene:
    """One look: what is due by upgrade, whether the profile has lost its status, whether the last times were recorded, the time since then."""

    due: dict[str, DueNotice]
    is_lost: bool
    is_recorded: bool
    pause: timedelta


@st.composite
def scenes(draw: st.DrawFn) -> list[Scene]:
    """Draw looks at one tenant."""
    scenes = []
    for _ in range(draw(st.integers(1, 8))):
        due = {
            upgrade: a_due(upgrade, waits=draw(st.booleans()), digest=draw(st.sampled_from(["sha256:a", "sha256:b"])))
            for upgrade in draw(st.lists(UPGRADES, unique=True, max_size=11))
        }
        is_lost = draw(st.sampled_from([False, False, False, True]))
        scenes.append(Scene(due, is_lost, draw(st.booleans()) or is_lost, timedelta(hours=draw(st.integers(0, 48)))))
    return scenes


@settings(max_examples=400)
@given(scenes())
def test_giving_is_idempotent_bounded_and_never_changes_a_time(scenes: list[Scene]) -> None:
    shown: tuple[GivenNotice, ...] = ()
    recorded: dict[Any, datetime] = {}
    asked: set[Any] = set()
    now = NOW
    for scene in scenes:
        now += scene.pause
        # What the upgrade's worker does meanwhile, sooner or later: it records the times that the profile shows of what it asked for.
        if scene.is_recorded:
            recorded |= {key_of(notice): notice.time for notice in shown if key_of(notice) in asked}
        shown = () if scene.is_lost else shown
        notices = [replace(one, recorded_time=recorded.get(one.key)) for one in scene.due.values()]
        before = {key_of(notice): notice for notice in shown}
        after = notices_shown(shown, notices, now)

        assert notices_shown(after, notices, now + timedelta(days=1)) == after, "idempotent, whenever it is done again"
        assert len(after) <= MAX_NOTICES
        assert len({key_of(notice) for notice in after}) == len(after)
        assert list(after) == sorted(after, key=lambda notice: notice.time, reverse=True), "newest first"
        for notice in after:
            known = before.get(key_of(notice))
            assert known is None or known == notice, "never changed once given"
            assert notice.time == recorded.get(key_of(notice), notice.time), "nor once recorded"
            assert key_of(notice) in before or key_of(notice) in {one.key for one in notices}, "nothing is made up"
        kept = {key_of(notice) for notice in after}
        for one in notices:
            assert one.key in kept or not ((one.waits or one.recorded_time is None) and one.key in before), "none that counts is dropped"
            assert one.key in kept or len(after) == MAX_NOTICES, "nor is any left out while there is room"
        shown, asked = after, {one.key for one in notices}


def test_nothing_is_cut_of_the_longest_notice() -> None:
    """The texts of an upgrade fit into a profile, all eight of them: what is stored is what was given."""
    longest = Notice(title="t" * 200, changes="c" * 4000, benefits="b" * 4000, risks="r" * 4000, url="u" * 1024)
    due = [DueNotice("u" * 40, "2" * 63, f"sha256:{number:064}", longest) for number in range(MAX_NOTICES)]
    status = TenantProfileStatus(notices=notices_shown((), due, NOW))
    assert len(status.notices) == MAX_NOTICES
    assert bounded_document(status) == status.document()
    assert TenantProfileStatus.model_validate(status.document()) == status
