"""The status of a TenantUpgrade: kstatus row by row, conditions that do not flap, counts that sum up."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest

from builders import NEW, NOON, OLD, Block, a_journal, a_policy, a_record, a_spec, a_status, a_tenant, a_view, a_world, after, an_upgrade
from tenantwave.api.conditions import Condition, ConditionStatus, ConditionType, FailReason, ReadyReason, condition_of
from tenantwave.api.model import ApiModel
from tenantwave.api.profile import PreservedConfig
from tenantwave.api.run_records import Conflict, Settled, SettledBy
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade_status import RunStatus, TenantUpgradeStatus, WaveStatus
from tenantwave.core import status as module
from tenantwave.core.advice import advised
from tenantwave.core.plan import Plan, Summary
from tenantwave.core.status import MAX_EXCEPTIONS, Said, settle, upgrade_status
from tenantwave.core.world import Claim, ComponentView, Tenant
from tenantwave.engine.news import of_drift

S = TenantState
R = ReadyReason
IN_PROGRESS = {"Ready": "False", "Reconciling": "True"}
FAILED = {"Ready": "False", "Stalled": "True"}
DONE = {"Ready": "True"}
QUIET = {"Ready": "False"}
SKEW_MEND = "upgrade the tenants of the oldest, or raise the limit"


def status_of(reason: ReadyReason, statuses: dict[str, TenantRunStatus] | None = None) -> TenantUpgradeStatus:
    """Return the status for a plan with this reason."""
    statuses = statuses if statuses is not None else {"acme": a_status()}
    policy = a_policy()
    world = a_world(
        [a_tenant(name, status) for name, status in statuses.items()], policy=policy, journal=a_journal(policy, {"canary": tuple(statuses)})
    )
    return upgrade_status(None, world, Plan(world.journal, Summary(reason, "why")), NOON)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *((reason, IN_PROGRESS) for reason in (R.PLANNING, R.WAVE_RUNNING, R.SOAKING, R.ROLLING_BACK)),
        *((reason, IN_PROGRESS) for reason in (R.WAITING_FOR_WINDOW, R.NOTICE_PERIOD, R.AWAITING_CONSENT, R.TENANT_BUSY)),
        *((reason, IN_PROGRESS) for reason in (R.AWAITING_APPROVAL, R.PAUSED, R.GATE_UNKNOWN, R.GATE_INCONCLUSIVE, R.FLEET_INCIDENT)),
        (R.SUSPENDED, QUIET),
        *((reason, FAILED) for reason in (R.ROLLED_BACK, R.ABORTED, R.ROLLBACK_FAILED, R.HELD, R.DEADLINE_EXCEEDED)),
        *((reason, FAILED) for reason in (R.INVALID_SPEC, R.POLICY_NOT_FOUND, R.NO_TENANTS, R.UNMATCHED_TENANTS, R.EMPTY_FIRST_WAVE)),
        *((reason, FAILED) for reason in (R.CATALOGUE_INCOMPLETE, R.OWNERSHIP_CONFLICT)),
        (R.SUCCEEDED, DONE),
        (R.SUCCEEDED_WITH_SKIPS, DONE),
    ],
)
def test_one_state_one_row(reason: ReadyReason, expected: dict[str, str]) -> None:
    """The table of the contract: Ready, Reconciling and Stalled for each reason."""
    shown = {condition.type: condition.status.value for condition in status_of(reason).conditions}
    assert {kind: value for kind, value in shown.items() if kind in ("Ready", "Reconciling", "Stalled")} == expected


def test_suspended_reconciles_while_tenants_in_flight_finish() -> None:
    """Then only is it quiet."""
    shown = {condition.type for condition in status_of(R.SUSPENDED, {"acme": a_status(S.CONVERGING)}).conditions}
    assert "Reconciling" in shown


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    """Reason and message may change, the generation is acknowledged each time."""
    first = settle((), [Said(ConditionType.READY, False, "WaveRunning", "one")], 1, NOON)
    second = settle(first, [Said(ConditionType.READY, False, "Soaking", "two")], 2, after(hours=1))
    third = settle(second, [Said(ConditionType.READY, True, "Succeeded", "three")], 2, after(hours=2))
    assert [one[0].last_transition_time for one in (first, second, third)] == [NOON, NOON, after(hours=2)]
    assert [one[0].observed_generation for one in (first, second, third)] == [1, 2, 2]
    assert third[0] == Condition(
        type="Ready",
        status=ConditionStatus.TRUE,
        observed_generation=2,
        last_transition_time=after(hours=2),
        reason="Succeeded",
        message="three",
    )


def test_the_counts_sum_up_to_the_total() -> None:
    """Each state is counted once; failed ones besides."""
    statuses = {f"t{place}": a_status(state, reason="NotConverged") for place, state in enumerate(TenantState)}
    counts = status_of(R.WAVE_RUNNING, statuses).counts
    assert counts is not None
    numbers = counts.model_dump()
    assert counts.total == len(TenantState) == sum(value for name, value in numbers.items() if name not in ("total", "opted_out", "failed"))
    assert counts.in_flight == 3
    assert counts.failed == 4


def test_exceptions_are_worst_first_and_bounded() -> None:
    """Twenty at most, and how many more there are."""
    statuses = {f"s{number:02}": a_status(S.SKIPPED, reason="OptedOut") for number in range(MAX_EXCEPTIONS + 3)}
    statuses |= {"held": a_status(S.HELD, reason="ConfigConflict"), "worst": a_status(S.ROLLBACK_FAILED, reason="Recreated")}
    status = status_of(R.WAVE_RUNNING, statuses)
    assert [one.tenant for one in status.exceptions[:3]] == ["worst", "held", "s00"]
    assert len(status.exceptions) == MAX_EXCEPTIONS
    assert status.exceptions_truncated is True
    assert status_of(R.SUCCEEDED).exceptions_truncated is None


def a_fleet(
    *versions: str, limit: int | None = None, assumed: str | None = None, hidden: str = "", elsewhere: Block | None = None
) -> TenantUpgradeStatus:
    """Return the status of an upgrade whose tenants have these versions on record ('' for no record); `hidden` is no longer selected.

    elsewhere: tenants of other upgrades that run such a version.
    """
    asked: Block = {} if limit is None else {"alertAboveVersions": limit}
    policy = a_policy(**asked)
    tenants = [a_tenant(f"t{n:03}", a_status(), record=a_record(version) if version else None) for n, version in enumerate(versions)]
    if hidden:
        tenants.append(a_tenant("gone", a_status(S.SKIPPED), record=a_record(hidden), selected=False))
    upgrade = an_upgrade(a_spec(release={"assumedVersion": assumed}))
    journal = a_journal(policy, {"canary": [tenant.name for tenant in tenants]})
    world = replace(a_world(tenants, policy=policy, journal=journal, upgrade=upgrade), versions_elsewhere=elsewhere or {})
    return upgrade_status(None, world, Plan(world.journal, Summary(R.SOAKING, "why")), NOON)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(a_fleet("2.4.0", "2.3.1", "2.4.0"), [("2.3.1", 1), ("2.4.0", 2)], id="by record"),
        pytest.param(a_fleet("2.4.0", "", assumed="2.3.1"), [("2.3.1", 1), ("2.4.0", 1)], id="without a record: assumedVersion"),
        pytest.param(a_fleet("2.4.0", assumed="2.3.1"), [("2.4.0", 1)], id="a record wins over assumedVersion"),
        pytest.param(a_fleet("2.4.0", "", ""), [("", 2), ("2.4.0", 1)], id="neither: unknown"),
        pytest.param(a_fleet("2.10.0", "2.9.0", "blue", ""), [("", 1), ("2.9.0", 1), ("2.10.0", 1), ("blue", 1)], id="lowest first"),
        pytest.param(a_fleet("2.4.0", hidden="1.0.0"), [("2.4.0", 1)], id="who is no longer selected does not count"),
        pytest.param(
            a_fleet("3.0.0", "3.0.0", *(f"1.0.{n}" for n in range(60))),
            [*((f"1.0.{n}", 1) for n in range(49)), ("3.0.0", 2)],
            id="of too many those of most tenants",
        ),
    ],
)
def test_the_histogram_of_versions(status: TenantUpgradeStatus, expected: list[tuple[str, int]]) -> None:
    """By record, else assumedVersion, else unknown."""
    assert [(one.version, one.tenants) for one in status.versions] == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(a_fleet("2.4.0", "2.3.1", "2.2.0"), None, id="the policy does not ask"),
        pytest.param(
            a_fleet("2.4.0", "2.3.1", limit=2),
            (False, "FewVersions", "2 versions of shop in use, alertAboveVersions is 2: 2.3.1 (1), 2.4.0 (1)"),
            id="as many as the limit",
        ),
        pytest.param(
            a_fleet("2.4.0", "2.3.1", "2.3.1", "2.2.0", limit=2),
            (
                True,
                "TooManyVersions",
                f"3 versions of shop in use, alertAboveVersions is 2: 2.3.1 (2), 2.2.0 (1), 2.4.0 (1); {SKEW_MEND}",
            ),
            id="the third over a limit of 2",
        ),
        pytest.param(
            a_fleet("2.4.0", "2.3.1", limit=2, elsewhere={"2.2.0": 2, "2.4.0": 1}),
            (
                True,
                "TooManyVersions",
                f"3 versions of shop in use, alertAboveVersions is 2: 2.2.0 (2), 2.4.0 (2), 2.3.1 (1); {SKEW_MEND}",
            ),
            id="the third in another upgrade",
        ),
        pytest.param(
            a_fleet("2.4.0", "", "", limit=1),
            (False, "FewVersions", "1 version of shop in use, alertAboveVersions is 1: 2.4.0 (1)"),
            id="an unknown version is none",
        ),
        pytest.param(a_fleet("", limit=1), (False, "FewVersions", "no version is known"), id="none is known"),
        pytest.param(
            a_fleet(*(f"1.{n}.0" for n in range(7)), limit=6),
            (
                True,
                "TooManyVersions",
                f"7 versions of shop in use, alertAboveVersions is 6: {', '.join(f'1.{n}.0 (1)' for n in range(5))} and 2 more; {SKEW_MEND}",
            ),
            id="a bounded sentence",
        ),
    ],
)
def test_more_versions_than_the_policy_wants_are_flagged(status: TenantUpgradeStatus, expected: tuple[bool, str, str] | None) -> None:
    """VersionSkewExceeded; absent where the policy does not ask. Demand A6."""
    condition = condition_of(status.conditions, "VersionSkewExceeded")
    said = None if condition is None else (condition.status == "True", condition.reason, condition.message)
    assert said == expected


def test_tenants_that_an_earlier_run_still_has_are_not_forgotten() -> None:
    """One that could not be taken back is shown until a person settles it."""
    stuck = a_status(S.ROLLBACK_FAILED, run="shop-2-4-0-x7f2k-0-a1", reason=str(FailReason.RECREATED))
    status = status_of(R.ROLLBACK_FAILED, {"acme": a_status(), "beta": stuck})
    assert [one.tenant for one in status.exceptions] == ["beta"]
    assert status.counts is not None
    assert status.counts.total == 2


def a_finished_tenant(name: str = "acme", **fields: Any) -> Tenant:
    """Return a tenant that this upgrade has proven, and that shows the release."""
    return a_tenant(name, a_status(S.SUCCEEDED), **{"record": a_record(NEW), "components": (a_view(at_release=True),), **fields})


ELSEWHERE = a_view(at_release=False, shown="Deployment api: shop/api:2.3.9 instead of shop/api:2.4.0", message="1 of 3 pods are Ready")
CLAIM = Claim("shop-2-5-0", "r", holds=True, waits=False, running=True, creation_time=NOON, product="shop", version="2.5.0")


@pytest.mark.parametrize(
    ("tenant", "told"),
    [
        pytest.param(a_finished_tenant(), "", id="shows the release"),
        pytest.param(
            a_finished_tenant(components=(ELSEWHERE,)),
            "Deployment api: shop/api:2.3.9 instead of shop/api:2.4.0",
            id="shows another version",
        ),
        pytest.param(a_finished_tenant(components=(a_view(present=False),)), "api is gone", id="its component is gone"),
        pytest.param(a_finished_tenant(components=(ELSEWHERE,), record=a_record("2.5.0")), "", id="another upgrade has moved it on"),
        pytest.param(a_finished_tenant(components=(ELSEWHERE,), claims=(CLAIM,)), "", id="another upgrade is at it"),
        pytest.param(a_finished_tenant(components=(ELSEWHERE,), terminating=True), "", id="its namespace is going"),
        pytest.param(a_tenant("acme", a_status(S.SOAKING), components=(ELSEWHERE,), record=a_record(NEW)), "", id="not finished yet"),
        pytest.param(a_tenant("acme", a_status(S.SKIPPED), components=(ELSEWHERE,), record=a_record(OLD)), "", id="never upgraded"),
    ],
)
def test_a_finished_tenant_that_shows_something_else_is_reported(tenant: Tenant, told: str) -> None:
    """Drifted names it and says what it shows; whoever is on the way or was moved on by an upgrade is none."""
    policy = a_policy()
    world = a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ("acme",)}))
    condition = condition_of(upgrade_status(None, world, Plan(world.journal, Summary(R.SUCCEEDED, "why")), NOON).conditions, "Drifted")
    assert (condition is not None) == bool(told)
    if condition is not None:
        assert (condition.status, condition.reason) == (ConditionStatus.TRUE, "ChangedSince")
        assert f"1 of the upgraded tenants no longer show 2.4.0: acme; acme: {told}; nothing is done about it" in condition.message


def test_a_tenant_that_shows_the_release_again_ends_the_drift() -> None:
    """False once it was True; where nobody drifted nothing is said. Ready stays as it was."""
    policy = a_policy()

    def shown(before: TenantUpgradeStatus | None, *components: ComponentView) -> TenantUpgradeStatus:
        world = a_world([a_finished_tenant(components=components)], policy=policy, journal=a_journal(policy, {"canary": ("acme",)}))
        return upgrade_status(before, world, Plan(world.journal, Summary(R.SUCCEEDED, "why")), NOON)

    well, ill = shown(None, a_view(at_release=True)), shown(None, ELSEWHERE)
    again = shown(ill, a_view(at_release=True))
    drift = [condition_of(status.conditions, "Drifted") for status in (well, ill, again, shown(again, a_view(at_release=True)))]
    assert [one.status.value if one is not None else "" for one in drift] == ["", "True", "False", "False"]
    assert [note.reason if note is not None else "" for note in (of_drift(well, ill), of_drift(ill, ill), of_drift(ill, again))] == [
        "TenantsDrifted", "", "TenantsDriftOver",
    ]  # fmt: skip
    assert all({one.type: one.status.value for one in status.conditions}["Ready"] == "True" for status in (ill, again))


def a_conflict(key: str) -> Conflict:
    """A place that a tenant and the release both changed."""
    return Conflict(config_map="app-config", key=key, kind="Both", mend=f"add the rule for {key}")


def preserved(statuses: dict[str, TenantRunStatus]) -> tuple[str, str] | None:
    """Return status and message of ConfigPreserved."""
    said = condition_of(status_of(R.HELD, statuses).conditions, ConditionType.CONFIG_PRESERVED)
    return (said.status.value, said.message) if said is not None else None


GIVEN_WAY = {"log.level": SettledBy.RELEASE_WINS, "db.pool": SettledBy.RELEASE_WINS, "old.flag": SettledBy.TENANT_WINS}
HELD = a_status(S.HELD, conflicts=(a_conflict("log.level"), a_conflict("db.pool")), conflict_count=7)
GAVE_WAY = a_status(
    S.SUCCEEDED,
    written=True,
    preserved=(PreservedConfig(config_map="app-config", digest="sha256:" + "0" * 64, kept=1, merged=0),),
    settled=tuple(Settled(config_map="app-config", key=key, settled_by=by) for key, by in GIVEN_WAY.items()),
    settled_count=3,
)
KEPT = a_status(S.SUCCEEDED, preserved=(PreservedConfig(config_map="app-config", digest="sha256:" + "0" * 64, kept=4, merged=1),))


@pytest.mark.parametrize(
    ("statuses", "status", "words"),
    [
        pytest.param({"acme": HELD}, "False", "7 conflicts in acme; the first, in acme: app-config/log.level: add the rule", id="one"),
        pytest.param(
            dict.fromkeys("abcde", HELD), "False", "35 conflicts in a, b, c and 2 more tenants; the first, in a:", id="many tenants"
        ),
        pytest.param({"a": HELD, "b": KEPT}, "False", "7 conflicts in a;", id="one of two"),
        pytest.param({"a": KEPT, "b": KEPT}, "True", "8 values kept, 2 keys merged", id="all kept"),
        pytest.param({"a": HELD.model_copy(update={"state": S.SKIPPED}), "b": KEPT}, "True", "4 values kept", id="skipped: left alone"),
        pytest.param(
            {"a": GAVE_WAY, "b": KEPT}, "True", "; 2 changes of 1 tenant gave way as the rules say (a; see settled", id="gave way to a rule"
        ),
        pytest.param(
            {"a": GAVE_WAY.model_copy(update={"settled_count": 9}), "b": GAVE_WAY},
            "True",
            "; at least 4 changes of 2 tenants gave way as the rules say (a, b;",
            id="more than are listed",
        ),
        pytest.param({"a": GAVE_WAY.model_copy(update={"written": False})}, "True", "every tenant's own changes", id="only planned"),
    ],
)
def test_conflicts_are_counted_and_the_first_tenants_named(statuses: dict[str, TenantRunStatus], status: str, words: str) -> None:
    """Until a person has settled them; then how much was kept."""
    said = preserved(statuses)
    assert said is not None
    assert said[0] == status
    assert words in said[1]


def test_an_exception_ends_with_an_order_that_can_be_pasted() -> None:
    """Whatever else there is to say: the message is cut, the command is not."""
    stuck = advised(a_status(S.ROLLBACK_FAILED, written=True, message="x" * 1000), "shop", "acme")
    (exception,) = status_of(R.ROLLBACK_FAILED, {"acme": stuck}).exceptions
    assert len(exception.message) == 1024
    assert exception.message.endswith(stuck.commands[0])


@pytest.mark.parametrize("model", [RunStatus, WaveStatus])
def test_the_api_promises_no_field_that_is_never_written(model: type[ApiModel]) -> None:
    """Who reads such a field takes its absence for an answer."""
    text = inspect.getsource(module)
    assert [name for name in model.model_fields if not re.search(rf"\b{name}=", text)] == []
