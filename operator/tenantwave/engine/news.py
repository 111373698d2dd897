"""What is worth telling people and counting: what has changed between two looks at an upgrade, each once.

The planner notes what it decides (a wave starts, a run ends). What only shows by comparing, a tenant that got somewhere or a new reason of Ready, is
found here. A process that has just started has nothing to compare with, so it tells nothing twice.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from tenantwave.api.conditions import Condition, ConditionStatus, ConditionType, FailReason, ReadyReason, RunReason, condition_of
from tenantwave.api.decision import DecisionType
from tenantwave.api.kinds import TENANT_PROFILE, TENANT_UPGRADE
from tenantwave.api.meta import PROFILE_NAME
from tenantwave.api.profile import Change, TenantProfileStatus
from tenantwave.api.run_records import HookState
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core import changes, tenant_run
from tenantwave.core.gate_report import slow_evaluation
from tenantwave.core.plan import Note, Plan
from tenantwave.core.status import STALLED
from tenantwave.core.world import World
from tenantwave.ports import Notifier, Regarding
from tenantwave.telemetry import Telemetry

log = logging.getLogger(__name__)
record = logging.getLogger("tenantwave.changes")
"""The change record: every change as a line of its own, whatever else is logged, and how."""

S = TenantState

EVENTS_OF_REASONS: dict[str, tuple[str, bool]] = {
    ReadyReason.SOAKING: ("WaveSoaking", False),
    ReadyReason.GATE_UNKNOWN: ("GateBlind", True),
    ReadyReason.GATE_INCONCLUSIVE: ("GateBlind", True),
}
"""Reason of Ready -> the Event for it, and whether it is a warning. Those of ends and orders are noted by the planner."""

NOTED = frozenset({ReadyReason.ROLLED_BACK, ReadyReason.ABORTED})
"""Stalled reasons whose Events the planner has noted already."""

BEGUN = tenant_run.IN_FLIGHT | {S.SOAKING}
OUTCOMES = frozenset({S.SUCCEEDED, S.ROLLED_BACK, S.ROLLBACK_FAILED, S.HELD, S.SKIPPED, S.ORPHANED})


@dataclass(slots=True)
class Reporter:
    """Tells what is new as Events, as lines of the log and as counters. Best effort: nothing is decided by it."""

    notifier: Notifier
    telemetry: Telemetry
    _stood: dict[str, dict[str, TenantRunStatus]] = field(default_factory=dict)
    """Upgrade -> tenant -> where it stood at the last look."""
    _judged: dict[str, datetime] = field(default_factory=dict)
    """Upgrade -> the last tick of its gates that was counted."""
    _slow: dict[str, datetime] = field(default_factory=dict)
    """Upgrade -> since when its gates are looked at less often than its policy says, as told."""

    def tell(self, world: World, plan: Plan, before: TenantUpgradeStatus | None, after: TenantUpgradeStatus) -> None:
        """Tell where tenants have got to, what the planner noted, and a new reason of Ready. Cost: O(tenants of the upgrade)."""
        name = world.upgrade.name
        known = self._stood.get(name, {})
        self._stood[name] = {tenant: entry.run.status for tenant, entry in world.tenants.items() if entry.run is not None}
        for tenant, status in self._stood[name].items():
            for told in of_hooks(tenant, known[tenant], status) if tenant in known and status.hooks else ():
                self._tell(world, told)
            if tenant in known and known[tenant].state is not status.state:
                self._count(world, status)
                if (note := of_tenant(tenant, known[tenant], status)) is not None:
                    self._tell(world, note)
        for note in plan.notes:
            self._tell(world, note)
        self._count_verdicts(world)
        self._tell_of_slowness(world, plan)
        if (note := of_drift(before, after)) is not None:
            self._tell(world, note)
        was, now = ready_of(before), ready_of(after)
        if now is None or (was is not None and was.reason == now.reason):
            return
        if (note := of_upgrade(now, after.run.id if after.run is not None else "")) is not None:
            self._tell(world, note)
        elif not plan.notes:
            log.info("%s: %s: %s", name, now.reason, now.message)

    def forget(self, upgrade: str) -> None:
        """Forget an upgrade that is gone."""
        self._stood.pop(upgrade, None)
        self._judged.pop(upgrade, None)
        self._slow.pop(upgrade, None)

    def warn(self, world: World, reason: str, message: str) -> None:
        """Tell what the planner cannot know: that something outside goes wrong for longer than is ordinary."""
        self._tell(world, Note(reason, message, warning=True, key=message))

    def _tell(self, world: World, note: Note) -> None:
        about = f"{world.upgrade.name}, {note.tenant}" if note.tenant else world.upgrade.name
        log.log(logging.WARNING if note.warning else logging.INFO, "%s: %s: %s", about, note.reason, note.message)
        if note.tenant:
            regarding = Regarding(TENANT_PROFILE, note.tenant, PROFILE_NAME)
        else:
            regarding = Regarding(TENANT_UPGRADE, "", world.upgrade.name, world.upgrade.uid)
        # The sentence is part of the key: a second wave that starts is another Event, not the first one once more.
        self.notifier.tell(regarding, note.reason, note.message, warning=note.warning, key=f"{note.key} {note.message}")

    def _count(self, world: World, after: TenantRunStatus) -> None:
        spec = world.planned_spec or world.upgrade.spec
        product = spec.release.product if spec is not None else ""
        if after.state in OUTCOMES:
            self.telemetry.tenant_run(product, str(after.state))
        if after.state is S.SUCCEEDED and after.reason != RunReason.ALREADY_AT_RELEASE:
            self.telemetry.config_keys(outcome for one in after.preserved for outcome in ["kept"] * one.kept + ["merged"] * one.merged)
        if after.state is S.ROLLING_BACK:
            cause = after.take_back.cause if after.take_back is not None else after.reason
            self.telemetry.rollback(product, "Wave" if cause == FailReason.WAVE_FAILED else "Tenant", str(cause))

    def _count_verdicts(self, world: World) -> None:
        """Count the verdicts of a tick that has not been counted."""
        time = world.gates.evaluation_time
        if time is None or self._judged.get(world.upgrade.name) == time:
            return
        self._judged[world.upgrade.name] = time
        for wave in world.gates.waves.values():
            for metric in wave.metrics if wave.evaluation_time == time else ():
                self.telemetry.gate_evaluation(metric.verdict.value, "Enforce" if metric.enforced else "Observe")

    def _tell_of_slowness(self, world: World, plan: Plan) -> None:
        """Tell, once each time it begins, that the source is too slow for the policy's interval."""
        name, since, context = world.upgrade.name, world.gates.source.slow_since_time, plan.gate_context
        if since is None or context is None:
            self._slow.pop(name, None)
        elif self._slow.get(name) != since:
            self._slow[name] = since
            self._tell(world, Note("EvaluationSlow", slow_evaluation(context), warning=True, key=context.run_id))


def of_upgrade(ready: Condition, run: str) -> Note | None:
    """Return the Event of a new reason of Ready, None if the planner has noted it or it needs none."""
    if ready.reason in STALLED:
        return None if ready.reason in NOTED else Note("UpgradeStalled", f"{ready.reason}: {ready.message}", warning=True, key=ready.reason)
    event, warning = EVENTS_OF_REASONS.get(ready.reason, ("", False))
    return Note(event, ready.message, warning=warning, key=run) if event else None


def of_drift(before: TenantUpgradeStatus | None, after: TenantUpgradeStatus) -> Note | None:
    """Return the Event of finished tenants that no longer show the release, or show it again."""
    was, now = (condition_of(status.conditions if status is not None else (), ConditionType.DRIFTED) for status in (before, after))
    if now is None or (was is not None and (was.status, was.message) == (now.status, now.message)):
        return None
    if now.status is ConditionStatus.TRUE:
        return Note("TenantsDrifted", now.message, warning=True)
    return Note("TenantsDriftOver", now.message)


def of_windows(tenant: str, before: TenantProfileStatus | None, after: TenantProfileStatus) -> Note | None:
    """Return the Event of a tenant whose windows cannot be used, which locks it, or can be used again."""
    was, now = (condition_of(status.conditions if status is not None else (), ConditionType.WINDOWS_VALID) for status in (before, after))
    if now is None:
        return None
    if now.status is ConditionStatus.FALSE:
        is_new = was is None or (was.status, was.message) != (now.status, now.message)
        return Note("WindowsInvalid", f"{now.reason}: {now.message}", tenant, warning=True) if is_new else None
    return Note("WindowsValid", now.message, tenant) if was is not None and was.status is ConditionStatus.FALSE else None


def of_tenant(tenant: str, before: TenantRunStatus, after: TenantRunStatus) -> Note | None:
    """Return what a tenant whose state has changed is told of its own upgrade: that it began, and how it ended."""
    match after.state:
        case S.SUCCEEDED if after.reason != RunReason.ALREADY_AT_RELEASE:
            return Note("TenantUpgradeSucceeded", after.message, tenant, key=after.run)
        case S.ROLLED_BACK:
            return Note("TenantUpgradeRolledBack", after.message, tenant, warning=True, key=after.run)
        case S.HELD | S.ROLLBACK_FAILED:
            return Note("TenantUpgradeHeld", f"{after.reason}: {after.message}", tenant, warning=True, key=f"{after.run} {after.reason}")
    if before.state in tenant_run.NOT_STARTED and after.state in BEGUN:
        return Note("TenantUpgradeStarted", f"the upgrade to {after.to_version} began (wave {after.wave})", tenant, key=after.run)
    return None


EVENTS_OF_HOOKS = {
    HookState.RUNNING: ("HookStarted", False),
    HookState.SUCCEEDED: ("HookSucceeded", False),
    HookState.FAILED: ("HookFailed", True),
    HookState.UNKNOWN: ("HookFailed", True),
}
"""What became of a hook -> the Event for it, and whether it is a warning."""


def of_hooks(tenant: str, before: TenantRunStatus, after: TenantRunStatus) -> tuple[Note, ...]:
    """Return what a tenant is told of the hooks that started or ended since the last look."""
    known = {hook.job: hook.state for hook in before.hooks}
    notes = []
    for hook in after.hooks:
        if known.get(hook.job) is not hook.state:
            reason, warning = EVENTS_OF_HOOKS[hook.state]
            said = f": {hook.message}" if hook.message else ""
            notes.append(Note(reason, f"{hook.name} ({hook.at}), Job {hook.job}{said}", tenant, warning=warning, key=after.run))
    return tuple(notes)


def ready_of(status: TenantUpgradeStatus | None) -> Condition | None:
    """Return the condition Ready."""
    conditions = status.conditions if status is not None else ()
    return next((condition for condition in conditions if condition.type == ConditionType.READY), None)


EVENTS_OF_CHANGES: dict[str, str] = {
    changes.CREATED: "TenantObjectCreated",
    changes.UPGRADED: "TenantObjectUpgraded",
    changes.DELETED: "TenantObjectDeleted",
    changes.TAKEN_BACK: "TenantObjectRolledBack",
}
"""What was done to an object -> the Event for it. Whatever else stands in the record was done by order of a person."""
EVENTS_OF_SECRETS = {"SecretChanged": "TenantSecretChanged", "SecretDeleted": "TenantSecretDeleted"}
"""What somebody else did to a Secret during a run -> the Event for it. It shows in the record of the change alone, never in a value."""
ORDERED = "TenantOrderTaken"
DECIDED = "TenantDecisionTaken"
DECISIONS = frozenset(str(kind) for kind in DecisionType)
REMEMBERED_COUNT = 20_000


@dataclass(slots=True)
class ChangeNews:
    """Tells the changes in tenants: each as a line of the log, and as an Event of the tenant's profile. Also what the profile says of its windows."""

    notifier: Notifier
    _told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Ids of what this process has told; a profile shows too few to tell it by that alone."""

    def tell(self, tenant: str, entries: Iterable[changes.Entry]) -> None:
        """Tell what has not been told yet, in this order."""
        for entry in entries:
            identity = changes.change_id(tenant, entry.change)
            if identity in self._told:
                continue
            self._told[identity] = None
            if len(self._told) > REMEMBERED_COUNT:
                self._told.popitem(last=False)
            self._tell(tenant, entry, identity)

    def tell_of_windows(self, tenant: str, before: TenantProfileStatus | None, after: TenantProfileStatus) -> None:
        """Tell that the tenant's windows lock it, or no longer do."""
        if (note := of_windows(tenant, before, after)) is not None:
            regarding = Regarding(TENANT_PROFILE, tenant, PROFILE_NAME)
            self.notifier.tell(regarding, note.reason, note.message, warning=note.warning, key=note.message)

    def _tell(self, tenant: str, entry: changes.Entry, identity: str) -> None:
        change = entry.change
        fields = change.document() | {"tenant": tenant, "upgrade": entry.upgrade, "id": identity}
        record.info("%s: %s", tenant, sentence_of(change), extra={"fields": fields})
        if (reason := event_of(change)) is not None:
            self.notifier.tell(Regarding(TENANT_PROFILE, tenant, PROFILE_NAME), reason, sentence_of(change), key=identity)


def event_of(change: Change) -> str | None:
    """Return the Event of a change; None where something else tells it: how the upgrade or a hook ended, what was only found there, a date."""
    if change.object.startswith("product ") or change.action == changes.RESCHEDULED or change.action in changes.HOOK_CHANGES.values():
        return None
    if change.action in DECISIONS:
        return DECIDED
    if change.action in EVENTS_OF_SECRETS:
        return EVENTS_OF_SECRETS[change.action]
    return EVENTS_OF_CHANGES.get(change.action, ORDERED) if change.actor == changes.OPERATOR else ORDERED


def sentence_of(change: Change) -> str:
    """Return a change as a sentence."""
    what = f"{change.action} {change.object}"
    if change.from_ and change.to:
        what += f" from {change.from_} to {change.to}"
    elif change.from_ or change.to:
        what += f" (was {change.from_})" if change.from_ else f" ({change.to})"
    return f"{what}, by {change.actor}: {change.why}"
