"""The change record of a tenant: what was changed, from what to what, why, and by which upgrade or person.

Everything is derived from what is stored (TenantRuns, version records, UpgradeActions, TenantDecisions), so a restart tells nothing twice, and a
profile that has lost its status gets back what those still know. What they no longer know stays as the profile has it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from tenantwave.api.conditions import RunReason
from tenantwave.api.kinds import CONFIG_MAP, JOB, SECRET
from tenantwave.api.profile import Change
from tenantwave.api.run_records import HookRecord, HookState, SecretRecord, SecretState
from tenantwave.api.tenant_run import Direction, Intent, IntentState, MovedStart, TenantRunStatus, TenantState
from tenantwave.core.calendar import Decision
from tenantwave.core.world import Action, VersionRecord

MAX_CHANGES = 20
"""How many a profile shows. The lines of the log are all of them."""
LONGEST = 500
"""Bytes of one change, as JSON."""
STILL_NEWS = timedelta(hours=1)
"""What is older is told to nobody by a profile that has lost its status: it was told then."""

OPERATOR = "tenantwave"
NOBODY_NAMED = "platform (not named)"
TENANT_NOT_NAMED = "tenant (not named)"

UPGRADED, CREATED, DELETED, TAKEN_BACK, RECORDED = "Upgraded", "Created", "Deleted", "RolledBack", "Recorded"
RESCHEDULED = "Rescheduled"
HOOK_CHANGES = {HookState.SUCCEEDED: "HookSucceeded", HookState.FAILED: "HookFailed", HookState.UNKNOWN: "HookFailed"}
SECRET_CHANGES = {SecretState.CHANGED: "SecretChanged", SecretState.DELETED: "SecretDeleted"}
"""What somebody else did to a Secret during a run -> the action; what we put back stands among our writes."""
SOMEBODY = "somebody (not known)"
_OF_WRITES = frozenset({UPGRADED, CREATED, DELETED, TAKEN_BACK})

S = TenantState
_STOOD = frozenset({IntentState.LANDED, IntentState.REVERTED})
"""Writes that have reached the object, whatever became of them."""


class RunHere(Protocol):
    """One upgrade's TenantRun of the tenant."""

    @property
    def upgrade(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def status(self) -> TenantRunStatus: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """A TenantDecision that its upgrade has accepted. requested_by: '' for nobody named; reason: the tenant's own, '' for none."""

    upgrade: str
    decision: Decision
    requested_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, and the upgrade that it belongs to ('' for none)."""

    change: Change
    upgrade: str = ""


def changes_known(
    tenant: str,
    runs: Sequence[RunHere],
    records: Mapping[str, VersionRecord],
    actions: Iterable[Action],
    shown: Sequence[Change],
    decisions: Iterable[Taken] = (),
) -> tuple[Entry, ...]:
    """Return all changes of which what is stored still tells, oldest first; equal stores give equal changes.

    Args: shown: what the profile shows: a version that it explains is not explained once more by its record.
    Cost: O(writes that the TenantRuns remember), some 10 microseconds each.
    """
    entries = [entry for run in runs for entry in _of_run(run)]
    entries += [entry for action in actions if (entry := _of_order(tenant, action)) is not None]
    entries += [_of_decision(taken) for taken in decisions]
    explained = {(change.object, change.to) for change in (*shown, *(entry.change for entry in entries))}
    entries += _of_records(records, runs, explained)
    return tuple(sorted(entries, key=lambda entry: entry.change.time))


def recent_changes(shown: Sequence[Change], known: Iterable[Entry]) -> tuple[Change, ...]:
    """Return what the profile is to show: what it shows, and what is new, newest first. A change keeps the time at which it was first seen."""
    fresh = [entry.change for entry in _new(shown, known)]
    return tuple(sorted((*reversed(fresh), *shown), key=lambda change: change.time, reverse=True)[:MAX_CHANGES])


def changes_to_tell(shown: Sequence[Change], known: Iterable[Entry], now: datetime) -> tuple[Entry, ...]:
    """Return the changes that nobody was told of yet, oldest first: those that are new to the profile, and not too old for an empty one."""
    return tuple(entry for entry in _new(shown, known) if shown or entry.change.time > now - STILL_NEWS)


def _new(shown: Sequence[Change], known: Iterable[Entry]) -> Iterator[Entry]:
    """Yield what the profile has never shown. A full one has shown, and dropped, what is older than all that it shows.

    Of an upgrade's writes the number says what is older: their times are those of the TenantRun's last step, and move on with it.
    """
    before = {_identity(change) for change in shown}
    oldest = min(change.time for change in shown) if len(shown) >= MAX_CHANGES else None
    last: dict[str, int] = {}
    for change in shown:
        if (write := _write_in(change)) is not None:
            last[write[0]] = max(last.get(write[0], 0), write[1])
    for entry in known:
        change, write = entry.change, _write_in(entry.change)
        if _identity(change) in before:
            continue
        if oldest is None or (write[1] > last[write[0]] if write is not None and write[0] in last else change.time > oldest):
            yield entry


def change_id(tenant: str, change: Change) -> str:
    """Return a stable id: a change that is told once more has the same."""
    return hashlib.sha256("/".join((tenant, *_identity(change))).encode()).hexdigest()[:16]


# What a TenantRun tells.


def _of_run(run: RunHere) -> Iterator[Entry]:
    """Yield a change for each write of an upgrade that has reached its object, and for each that took one back; then version and date."""
    status = run.status
    planned = {(one.kind, one.name): one for one in status.plan.objects} if status.plan is not None else {}
    first: set[tuple[str, str, Direction]] = set()
    for intent in status.intents:
        time = _forward_time(status) if intent.direction is Direction.FORWARD else _back_time(status)
        if intent.state not in _STOOD or time is None or intent.target.kind == JOB.name:
            continue  # what a hook's Job did stands with its result
        key = (intent.target.kind, intent.target.name)
        seen = _versions_in(planned[key].summary) if key in planned and (*key, intent.direction) not in first else None
        first.add((*key, intent.direction))
        yield Entry(_of_write(status, intent, seen, time), run.upgrade)
    for hook in status.hooks:
        if (change := _of_hook(status, hook)) is not None:
            yield Entry(change, run.upgrade)
    for secret in status.secrets:
        if (change := _of_secret(status, secret)) is not None:
            yield Entry(change, run.upgrade)
    if (change := _of_version(run)) is not None:
        yield Entry(change, run.upgrade)
    if status.rescheduled is not None:
        yield Entry(_of_date(run.upgrade, status.rescheduled), run.upgrade)


def _of_write(status: TenantRunStatus, write: Intent, versions: tuple[str, str] | None, time: datetime) -> Change:
    """Return the change that one write made: from version to version where they are known, else from digest to digest."""
    is_back = write.direction is Direction.ROLLBACK
    digests = (write.before, write.after) if write.target.kind != SECRET.name else ("", "")  # of a Secret nothing is told
    old, new = versions if versions is not None else digests
    if versions is not None and is_back:
        old, new = new, old
    kept = next((one for one in status.preserved if write.target.kind == CONFIG_MAP.name and one.config_map == write.target.name), None)
    preserved = f": {kept.kept} kept, {kept.merged} merged" if kept is not None and not is_back else ""
    action = TAKEN_BACK if is_back else DELETED if not write.after else CREATED if not write.before else UPGRADED
    what = f"{write.target.kind}/{write.target.name}"
    return _change(time, OPERATOR, what, action, old, new, f"{_where(status)}, write {write.seq}{preserved}")


def _of_hook(status: TenantRunStatus, hook: HookRecord) -> Change | None:
    """Return what became of a hook, once that is known."""
    action = HOOK_CHANGES.get(hook.state)
    if action is None or hook.completion_time is None:
        return None
    said = f": {hook.message}" if hook.message else ""
    return _change(hook.completion_time, OPERATOR, f"Job/{hook.job}", action, "", "", f"{_where(status)}, {hook.at}{said}")


def _of_secret(status: TenantRunStatus, secret: SecretRecord) -> Change | None:
    """Return what somebody did to a Secret since the first write, as it was seen at the end. No digest: it would tell nobody anything."""
    action = SECRET_CHANGES.get(secret.state)
    if action is None or secret.time is None:
        return None
    note = f": {secret.note}" if secret.note else ""
    return _change(secret.time, SOMEBODY, f"Secret/{secret.name}", action, "", "", f"{_where(status)}, since its first write{note}")


def _of_version(run: RunHere) -> Change | None:
    """Return the change of the product's version, once the run has ended with one."""
    status = run.status
    if status.completion_time is None:
        return None
    what, where = f"product {run.product}", _where(status)
    if status.state is S.SUCCEEDED and status.reason != RunReason.ALREADY_AT_RELEASE:
        return _change(status.completion_time, OPERATOR, what, UPGRADED, status.from_version, status.to_version, where)
    if status.state is S.ROLLED_BACK and status.rolled_back_version:
        return _change(status.completion_time, OPERATOR, what, TAKEN_BACK, status.rolled_back_version, status.from_version, where)
    return None


def _of_date(upgrade: str, moved: MovedStart) -> Change:
    """Return the change of a date that the tenant was told. Without a new one none is in sight."""
    why = f"{upgrade}: {moved.why}" if moved.why else upgrade
    return _change(moved.time, OPERATOR, "planned start", RESCHEDULED, _time_text(moved.from_), _time_text(moved.to), why)


def _time_text(time: datetime | None) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time is not None else ""


def _where(status: TenantRunStatus) -> str:
    """Return run and wave. A tenant that is taken over into the next attempt as it is was still upgraded by the one before."""
    return f"{status.run.rpartition('-a')[0]}-a{status.attempt}, wave {status.wave}"


def _forward_time(status: TenantRunStatus) -> datetime | None:
    return status.applied_time or status.start_time or status.state_since_time


def _back_time(status: TenantRunStatus) -> datetime | None:
    ordered = status.take_back.time if status.take_back is not None else None
    ended = status.completion_time if status.state is S.ROLLED_BACK else None
    return ended or ordered or status.state_since_time


_IMAGE = re.compile(r"^[^:]+: (?P<old>\S*) -> (?P<new>\S*)$")


def _versions_in(summary: str) -> tuple[str, str] | None:
    """Return the versions of a workload's images before and after, as its plan says them (`api: shop/api:1 -> shop/api:2; ...`)."""
    found = [_IMAGE.match(part) for part in summary.split("; ")]
    pairs = dict.fromkeys((_tag(match["old"]), _tag(match["new"])) for match in found if match is not None)
    if not pairs:
        return None  # a ConfigMap, or a workload in which only the configuration's digest changes
    return ", ".join(old for old, _ in pairs), ", ".join(new for _, new in pairs)


def _tag(image: str) -> str:
    """Return an image's digest, else its tag, else the whole: a port of the registry is no tag."""
    if "@" in image:
        return image.rpartition("@")[2]
    name, _, tag = image.rpartition(":")
    return tag if name and "/" not in tag else image


# What version records, orders and decisions tell.


def _of_records(records: Mapping[str, VersionRecord], runs: Sequence[RunHere], explained: set[tuple[str, str]]) -> Iterator[Entry]:
    """Yield a change for each version on record that nothing else explains: the tenant was found there, or its TenantRun is gone."""
    for product, record in sorted(records.items()):
        what = f"product {product}"
        of_product = [run for run in runs if run.product == product]
        coming = any(run.status.to_version == record.version and run.status.completion_time is None for run in of_product)
        if not record.version or coming or (what, record.version) in explained:
            continue
        adopter = next(
            (run for run in of_product if run.status.to_version == record.version and run.status.reason == RunReason.ALREADY_AT_RELEASE),
            None,
        )
        why = f"{_where(adopter.status)}, found there" if adopter is not None else "version record"
        change = _change(record.since, OPERATOR, what, RECORDED, "", record.version, why)
        yield Entry(change, adopter.upgrade if adopter is not None else "")


def _of_order(tenant: str, action: Action) -> Entry | None:
    """Return the change that a person ordered for this tenant by name; None if the order was refused, or is about others."""
    spec = action.spec
    if not action.accepted or tenant not in spec.tenants:
        return None
    how = str(spec.resolution) if spec.resolution is not None else ""
    why = f"{action.name}: {spec.reason}" if spec.reason else action.name
    change = _change(action.creation_time, spec.requested_by or NOBODY_NAMED, f"upgrade {spec.upgrade}", str(spec.type), "", how, why)
    return Entry(change, spec.upgrade)


def _of_decision(taken: Taken) -> Entry:
    """Return the change that the tenant itself decided."""
    decision = taken.decision
    why = f"{decision.name}: {taken.reason}" if taken.reason else decision.name
    actor, what = taken.requested_by or TENANT_NOT_NAMED, f"upgrade {taken.upgrade}"
    return Entry(_change(decision.creation_time, actor, what, str(decision.type), "", _time_text(decision.until_time), why), taken.upgrade)


# Bounds and identity.


def _change(time: datetime, actor: str, what: str, action: str, old: str, new: str, why: str) -> Change:
    """Return a change within its bounds. What is too long is cut at its end, at last the reason."""
    change = Change(
        time=time.replace(microsecond=0),
        actor=actor[:128],
        object=what[:128],
        action=action[:32],
        from_=old[:71],
        to=new[:71],
        why=why[:128],
    )
    for field in ("why", "object", "actor"):
        excess = _size(change) - LONGEST
        if excess > 0:
            text = getattr(change, field).encode()
            change = change.model_copy(update={field: text[: max(len(text) - excess, 1)].decode(errors="ignore") or "?"})
    return change


def _size(change: Change) -> int:
    return len(change.model_dump_json(by_alias=True).encode())


_WRITE = re.compile(r"^(?P<upgrade>.+)-\d+-a\d+, .*\bwrite (?P<seq>\d+)")


def _write_in(change: Change) -> tuple[str, int] | None:
    """Return which write of which upgrade made the change: name and UID of the upgrade, and a number that no other write of it has here."""
    found = _WRITE.match(change.why) if change.actor == OPERATOR and change.action in _OF_WRITES else None
    return (found["upgrade"], int(found["seq"])) if found is not None else None


def _identity(change: Change) -> tuple[str, ...]:
    """Return what makes a change one and the same.

    Not its time, which is not known exactly of all, but that of a date that moved: it may move to and fro. And of a write only its number, for a
    tenant that the next run takes over unproven brings its writes along.
    """
    write = _write_in(change)
    moved = (str(change.time),) if change.action == RESCHEDULED else ()
    why = (write[0], str(write[1])) if write is not None else (change.why, *moved)
    return (change.object, change.action, change.from_, change.to, *why)
