"""Which policy's hours count for a tenant, and that no calendar is compiled twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.engine_story import UPGRADE
from support.tenant_story import ACME, OWN
from support.tenants_story import TenantsStory
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.api.kinds import CONFIG_MAP, ROLE_LABEL, ROLLOUT_POLICY, TENANT_RUN, TENANT_UPGRADE, UPGRADE_LABEL
from tenantwave.api.meta import tenant_run_name
from tenantwave.api.policy import Maintenance
from tenantwave.core.calendar import Calendar, Terms, planned_start
from tenantwave.core.gates import GateBook
from tenantwave.core.journal import Journal, RunRecord
from tenantwave.engine.calendars import Calendars, Hours
from tenantwave.engine.journals import journal_name
from tenantwave.engine.store import Store
from tenantwave.engine.tenant_views import ProfileView, profile_view
from tenantwave.engine.views import NamespaceView, PolicyView, policy_view, upgrade_view
from tenantwave.engine.worlds import observe

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = {"tenantwave.io/product-shop": "true"}


def a_policy(name: str, generation: int = 1, resource_version: str = "1", freezes: tuple[dict[str, Any], ...] = ()) -> PolicyView:
    metadata = {"name": name, "generation": generation, "resourceVersion": resource_version}
    maintenance = {"whenNoWindow": "Open", "freezes": list(freezes)}
    return policy_view({"metadata": metadata, "spec": {"waves": [{"name": "all"}], "allowNoGates": True, "maintenance": maintenance}})


def an_upgrade(name: str, policy: str) -> dict[str, Any]:
    container = {"name": "api", "image": "registry.example.com/shop/api:2.0.0"}
    return {
        "policyRef": {"name": policy},
        "tenantSelector": {"matchLabels": LABELS},
        "release": {"product": name, "version": "2.0.0"},
        "components": [{"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [container]}}],
    }


def a_profile(generation: int) -> ProfileView:
    metadata = {"name": "tenant", "namespace": ACME, "uid": "p", "generation": generation, "resourceVersion": str(generation)}
    return profile_view({"metadata": metadata, "spec": {"timeZone": "Europe/Berlin"}})


class Fleet:
    """One tenant that two upgrades with policies of their own want."""

    def __init__(self) -> None:
        self.store = Store(OWN, WorkloadDriver())
        self.store.namespace_changed(None, NamespaceView(ACME, "uid", LABELS, terminating=False))
        for name in ("slow", "fast"):
            self.store.policy_changed(None, a_policy(name))
            metadata = {"name": f"to-{name}", "uid": name, "generation": 1, "resourceVersion": "1"}
            self.store.upgrade_changed(None, upgrade_view({"metadata": metadata, "spec": an_upgrade(name, name)}))
        self.store.profile_changed(None, a_profile(1))

    def calendar(self, policy: str) -> Calendar:
        world = observe(self.store, f"to-{policy}", GateBook(), NOW)
        assert world is not None
        calendar = world.tenants[ACME].calendar
        assert calendar is not None
        return calendar

    def calendars(self) -> tuple[Calendar, Calendar]:
        return self.calendar("slow"), self.calendar("fast")


def test_two_upgrades_with_policies_of_their_own_keep_their_calendars() -> None:
    """They look in turns, and neither throws away what the other has compiled."""
    fleet = Fleet()
    slow, fast = fleet.calendars()
    again = fleet.calendars()
    assert (again[0] is slow, again[1] is fast) == (True, True)


def test_a_policys_status_and_labels_compile_nothing() -> None:
    """Also the second time: what the reflector hands over as the old one is the policy as it was read, not as it was kept."""
    fleet = Fleet()
    before = fleet.calendars()
    first, second, third = (a_policy("slow", resource_version=version) for version in ("1", "2", "3"))
    fleet.store.policy_changed(first, second)
    fleet.store.policy_changed(second, third)
    assert fleet.store.policies["slow"].resource_version == "3"
    assert all(one is other for one, other in zip(before, fleet.calendars(), strict=True))


def test_an_edited_policy_compiles_its_own_calendars() -> None:
    fleet = Fleet()
    slow, fast = fleet.calendars()
    freeze = {"name": "year-end", "yearly": {"from": "12-01", "to": "01-31"}}
    fleet.store.policy_changed(fleet.store.policies["slow"], a_policy("slow", 2, "2", (freeze,)))
    assert fleet.calendar("slow") != slow
    assert fleet.calendar("fast") is fast


def test_an_edited_profile_compiles_its_tenants_calendars() -> None:
    fleet = Fleet()
    before = fleet.calendars()
    fleet.store.profile_changed(a_profile(1), a_profile(2))
    assert all(one is not other for one, other in zip(before, fleet.calendars(), strict=True))


OTHER = "mail"


def with_another(story: TenantsStory, run: dict[str, Any] | None) -> None:
    """Add an upgrade whose policy is closed to all, heard of last; `run` is its journal's, None: it was never planned."""
    closed = {"waves": [{"name": "all"}], "allowNoGates": True, "maintenance": {"whenNoWindow": "Closed"}}
    story.cluster.put(ROLLOUT_POLICY, {"metadata": {"name": "closed"}, "spec": closed})
    metadata = {"name": OTHER, "creationTimestamp": "2026-12-06T01:00:01Z"}
    story.cluster.put(TENANT_UPGRADE, {"metadata": metadata, "spec": an_upgrade(OTHER, "closed")})
    if run is None:
        return
    uid = story.cluster.see(TENANT_UPGRADE, "", OTHER)["metadata"]["uid"]
    record = RunRecord(id=f"{OTHER}-a1", generation=1, attempt=1, spec_digest="", start_time=story.clock.now()).model_copy(update=run)
    journal = Journal(upgrade=OTHER, upgrade_uid=uid, run=record)
    labels = {ROLE_LABEL: "journal", UPGRADE_LABEL: OTHER}
    stored = {"metadata": {"name": journal_name(OTHER), "namespace": OWN, "labels": labels}, "data": {"journal": journal.model_dump_json()}}
    story.cluster.put(CONFIG_MAP, stored)
    spec = {"upgrade": OTHER, "upgradeUID": uid, "tenant": ACME, "product": OTHER}
    status = {"state": "Succeeded" if record.completion_time else "Waiting", "run": record.id}
    story.cluster.put(TENANT_RUN, {"metadata": {"name": tenant_run_name(OTHER, ACME), "namespace": OWN}, "spec": spec, "status": status})


EARLY, LATE = timedelta(days=1), timedelta(days=2)


@pytest.mark.parametrize(
    ("mine", "other", "is_open"),
    [
        pytest.param("live", "never planned", True, id="live before one that was never planned"),
        pytest.param("live", LATE, True, id="live before one that has ended"),
        pytest.param(EARLY, "live", False, id="the other one is live"),
        pytest.param("live", "live", True, id="of two that live, the older"),
        pytest.param(LATE, EARLY, True, id="of two that have ended, the last"),
        pytest.param(EARLY, LATE, False, id="of two that have ended, the other one is the last"),
        pytest.param(EARLY, "never planned", True, id="the last one before one that was never planned"),
    ],
)
async def test_a_tenant_is_shown_the_hours_of_its_live_upgrade(mine: str | timedelta, other: str | timedelta, is_open: bool) -> None:
    """Else those of the last one used, in whatever order we have heard of them. The other one's policy is closed to all."""
    story = TenantsStory()

    def ended(how: str | timedelta) -> dict[str, Any]:
        return {"completion_time": story.clock.now() + how} if isinstance(how, timedelta) else {}

    await story.settle(upgrade=True)
    if isinstance(mine, timedelta):
        story.begin(**ended(mine))
        run = story.run()["status"]
        story.cluster.edit(TENANT_RUN, OWN, tenant_run_name(UPGRADE, ACME), {"status": run | {"state": "Succeeded"}})
    with_another(story, None if other == "never planned" else ended(other))
    await story.settle()
    story.awake["profile"].add(ACME)
    await story.settle()
    window = story.profile().window
    assert window is not None
    assert window.open is is_open


async def test_an_edited_policy_shows_in_the_profiles_at_once() -> None:
    """Also of tenants that no upgrade is about to change: nothing else would wake their profiles before the next opening or close."""
    story = TenantsStory()
    story.edit_upgrade({"suspend": True})
    await story.settle(upgrade=True)
    assert [window.open for window in (story.profile().window,) if window is not None] == [True]
    freeze = {"name": "emergency", "dates": {"from": f"{story.clock.now():%Y-%m-%d}", "to": "2027-01-31"}}
    story.cluster.edit(ROLLOUT_POLICY, "", "standard", {"spec": {"maintenance": {"whenNoWindow": "Open", "freezes": [freeze]}}})
    await story.settle()
    window = story.profile().window
    assert window is not None
    assert (window.open, window.reason) == (False, "PlatformFreeze")


def test_force_time_opens_a_tenant_whose_profile_cannot_be_read() -> None:
    """Its windows and freezes no longer count then, not even broken ones; the policy's hours do."""
    metadata = {"name": "tenant", "namespace": ACME, "uid": "p", "generation": 1, "resourceVersion": "1"}
    broken = profile_view({"metadata": metadata, "spec": {"windows": "nonsense"}})
    assert broken.spec is None
    calendar = Calendars().of(ACME, broken, Hours("standard", Maintenance.model_validate({"whenNoWindow": "Open"})))
    assert planned_start(calendar, Terms(force_time=NOW + timedelta(days=1)), NOW).hold is not None
    assert planned_start(calendar, Terms(force_time=NOW), NOW).hold is None


async def test_of_an_edited_policy_only_the_hours_count_in_a_run_that_goes_on() -> None:
    """How much must be left of an opening, and what a tenant may close, are as the run was planned; the next run takes the edit."""
    story = TenantsStory()
    story.edit_upgrade({"suspend": True})
    await story.settle(upgrade=True)
    view = story.store.upgrades[UPGRADE]
    before = story.store.hours_of(view)
    assert before is not None
    freeze = {"name": "emergency", "dates": {"from": f"{story.clock.now():%Y-%m-%d}", "to": "2027-01-31"}}
    edited = {"whenNoWindow": "Open", "freezes": [freeze], "minRemaining": "5h", "tenantLimits": {"maxFreezeDaysPerYear": 1}}
    story.cluster.edit(ROLLOUT_POLICY, "", "standard", {"spec": {"maintenance": edited}})
    await story.settle(upgrade=True)
    hours = story.store.hours_of(view)
    assert hours is not None
    assert [one.name for one in hours.maintenance.freezes] == ["emergency"]
    assert hours.maintenance.min_remaining == before.maintenance.min_remaining
    assert hours.maintenance.tenant_limits == before.maintenance.tenant_limits
    calendar = story.store.calendar_of(ACME, hours)
    assert story.store.calendar_of(ACME, story.store.hours_of(view)) is calendar, "compiled once"
    story.edit_upgrade({"release": {"product": "shop", "version": "2.5.0", "assumedVersion": "2.3.1"}})
    await story.settle(upgrade=True)
    after = story.store.hours_of(story.store.upgrades[UPGRADE])
    assert after is not None
    assert after.maintenance.min_remaining == timedelta(hours=5), "the next run"
