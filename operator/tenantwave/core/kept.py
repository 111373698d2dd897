"""What became of the tenants' own changes, in the words of the condition ConfigPreserved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tenantwave.api.conditions import DetailReason
from tenantwave.api.run_records import SettledBy
from tenantwave.api.tenant_run import TenantRunStatus, TenantState

MAX_NAMED = 3
LEFT_ALONE = frozenset({TenantState.SKIPPED, TenantState.ORPHANED})

ON_PURPOSE = ((SettledBy.RELEASE_WINS, "as the rules say"), (SettledBy.FORCE_PRE_IMAGE, "as ForcePreImage ordered"))
"""In which ways a tenant's change gives way without anybody having to act."""


def config_preserved(statuses: Mapping[str, TenantRunStatus]) -> tuple[bool, DetailReason, str] | None:
    """Return whether the tenants' own changes are kept, with reason and message; None where there is nothing to say yet.

    A conflict that nobody has decided is one that is not kept; what gave way to a rule or an order is counted in the message alone.
    """
    open_ones = {name: status for name, status in sorted(statuses.items()) if status.conflicts and status.state not in LEFT_ALONE}
    kept = [one for status in statuses.values() for one in status.preserved]
    if open_ones:
        name, status = next(iter(open_ones.items()))
        first, count = status.conflicts[0], sum(max(one.conflict_count, len(one.conflicts)) for one in open_ones.values())
        place = first.config_map + (f"/{first.key}" if first.key else "") + (f":{first.path}" if first.path else "")
        what = "1 conflict" if count == 1 else f"{count} conflicts"
        told = f"{what} in {listed(list(open_ones))}; the first, in {name}: {place}: {first.mend}"
        return False, DetailReason.CONFLICTS, told
    if not kept:
        return None
    numbers = f"{sum(one.kept for one in kept)} values kept, {sum(one.merged for one in kept)} keys merged"
    gave_way = "; ".join(_gave_way(statuses))
    told = f"tenants' own changes are kept: {numbers}; {gave_way}" if gave_way else f"every tenant's own changes are kept: {numbers}"
    return True, DetailReason.PRESERVED, told


def listed(names: Sequence[str]) -> str:
    """Return the first tenants by name, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more tenants" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def _gave_way(statuses: Mapping[str, TenantRunStatus]) -> Iterable[str]:
    """Say how many changes of tenants gave way on purpose, and whose. What only a plan says has not happened yet."""
    for by, why in ON_PURPOSE:
        lost = {
            name: sum(one.settled_by is by for one in status.settled)
            for name, status in sorted(statuses.items())
            if status.settled and (status.written or by is SettledBy.FORCE_PRE_IMAGE)
        }
        names, count = [name for name, number in lost.items() if number], sum(lost.values())
        if names:
            least = "at least " if any(statuses[name].settled_count > len(statuses[name].settled) for name in names) else ""
            changes, tenants = "change" if count == 1 else "changes", "tenant" if len(names) == 1 else "tenants"
            yield f"{least}{count} {changes} of {len(names)} {tenants} gave way {why} ({listed(names)}; see settled in the TenantRun)"
