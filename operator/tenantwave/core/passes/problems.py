"""What keeps an upgrade from starting, and what the whole of it waits for. Nothing in any tenant has been touched when one of these holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tenantwave.api.conditions import ReadyReason, SkipReason
from tenantwave.api.limits import unsupported_fields
from tenantwave.api.tenant_run import TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import tenant_run, versions
from tenantwave.core.calendar import missing_in, past_times
from tenantwave.core.hooks import template_problems
from tenantwave.core.journal import WaveProgress
from tenantwave.core.passes.draft import Draft, runs_version

GRACE = timedelta(seconds=5)
"""Git applies in any order: a policy or catalogue entry that is missing gets this long before it is called missing."""

SHOWN = 3
"""How many tenants a message names before it says how many more there are."""


def named(tenants: list[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(tenants) - SHOWN} more" if len(tenants) > SHOWN else ""
    return ", ".join(tenants[:SHOWN]) + more


def check_spec(draft: Draft) -> None:
    """InvalidSpec: what only the operator can judge of the upgrade itself."""
    upgrade = draft.world.upgrade
    if upgrade.spec is None:
        draft.stall(ReadyReason.INVALID_SPEC, upgrade.problem)
        return
    problems = [*unsupported_fields(upgrade.spec), *template_problems(upgrade.spec), *_shared_objects(upgrade.spec)]
    if upgrade.spec.release.from_versions and (problem := versions.range_problem(upgrade.spec.release.from_versions)):
        problems.append(problem)
    problems += [problem for problem in _calendar_problems(draft) if problem]
    if problems:
        draft.stall(ReadyReason.INVALID_SPEC, "; ".join(problems))


def _shared_objects(spec: TenantUpgradeSpec) -> Iterator[str]:
    """Two components of one object: each is written, proven and taken back for itself. Where a selector finds it, the preflight does."""
    owners: dict[tuple[str, str], str] = {}
    for component in spec.components:
        workload = component.workload
        if workload is None or workload.name is None:
            continue
        first = owners.setdefault((str(workload.kind), workload.name), component.name)
        if first != component.name:
            what = f"components[{first}] and components[{component.name}] both mean {workload.kind} {workload.name}"
            yield f"{what}: put their containers into one component"


def _calendar_problems(draft: Draft) -> Iterator[str]:
    """Times that had passed when they were first seen, and a notice without what the policy requires; while tenants are left to start."""
    spec = draft.world.upgrade.spec
    if spec is None or not _has_tenants_to_start(draft):
        return
    for seen in draft.journal.times:
        is_deadline = seen.field == "deadlineTime"
        yield past_times(seen.value if is_deadline else None, None if is_deadline else seen.value, seen.first_seen)
    if draft.policy is not None:
        yield missing_in(draft.policy.notice, spec.notice)


def _has_tenants_to_start(draft: Draft) -> bool:
    if not draft.planned:
        return True
    return draft.run.completion_time is None and any(status.state in tenant_run.NOT_STARTED for _, status in draft.current())


def check_policy(draft: Draft) -> None:
    """PolicyNotFound and InvalidSpec of the policy. A run that is planned goes on as planned; only starting needs usable windows."""
    policy = draft.world.policy
    spec = draft.world.upgrade.spec
    if policy is None and not draft.planned and spec is not None:
        name = spec.policy_ref.name
        if _out_of_patience(draft):
            draft.stall(ReadyReason.POLICY_NOT_FOUND, f"RolloutPolicy {name} does not exist; apply it, or correct spec.policyRef.name")
        else:
            draft.stall(ReadyReason.PLANNING, f"waiting for RolloutPolicy {name}")
        return
    if policy is not None and policy.problems:
        draft.stall(ReadyReason.INVALID_SPEC, f"RolloutPolicy {policy.name}: " + "; ".join(policy.problems))


def check_catalogue(draft: Draft) -> None:
    """InvalidSpec for duplicates, CatalogueIncomplete for a target that the release neither has nor drops."""
    catalogue = draft.world.catalogue
    if draft.planned or draft.began or draft.problem is not None:
        return
    if catalogue.duplicates:
        draft.stall(ReadyReason.INVALID_SPEC, "; ".join(catalogue.duplicates))
        return
    release = draft.spec.release
    there = {entry.target for entry in catalogue.entries if entry.version == release.version}
    running = {runs_version(draft, tenant) for tenant in draft.world.tenants.values() if tenant.selected}
    missing = sorted(
        {(entry.target, entry.version) for entry in catalogue.entries if entry.version in running and entry.target not in there}
    )
    if not missing:
        return
    target, version = missing[0]
    more = f" ({len(missing) - 1} more are missing)" if len(missing) > 1 else ""
    if _out_of_patience(draft):
        draft.stall(
            ReadyReason.CATALOGUE_INCOMPLETE,
            f"ConfigMap {target} has a catalogue entry for {release.product} {version} and none for {release.version}{more}; "
            'add it, or an entry annotated tenantwave.io/removed: "true" if the release drops it',
        )
    else:
        draft.stall(ReadyReason.PLANNING, f"waiting for the catalogue entry of {target} for {release.product} {release.version}")


def forgive(draft: Draft) -> None:
    """Forget since when something was missing, once nothing is."""
    waiting = draft.problem is not None and draft.problem.reason in (
        ReadyReason.PLANNING,
        ReadyReason.POLICY_NOT_FOUND,
        ReadyReason.CATALOGUE_INCOMPLETE,
    )
    if not waiting and draft.journal.unavailable_since is not None:
        draft.set_journal(unavailable_since=None)


ORDERED = frozenset({SkipReason.SKIPPED_BY_ACTION, SkipReason.RESOLVED, SkipReason.SUPERSEDED})
"""Reasons why a tenant is skipped that somebody has ordered for it: who skips a canary, or gives it a higher version, knows what for."""


def check_first_wave(draft: Draft) -> None:
    """EmptyFirstWave: of the first wave nobody has met the release, so the next wave would be the first to."""
    if draft.problem is None and (why := why_nobody_is_first(draft)):
        draft.stall(ReadyReason.EMPTY_FIRST_WAVE, why)


def why_nobody_is_first(draft: Draft) -> str:
    """Return why the first wave may not pass though nobody in it is left to upgrade, and what mends it; '' if it may, or is not so far.

    One tenant that runs the release is enough, and so is a person's order about a tenant or about the wave's gate. Without others who wait
    there is nobody to protect.
    """
    run = draft.run
    if not draft.planned or draft.deleted or not run.waves or run.order is not None or run.completion_time is not None:
        return ""
    first, members = run.waves[0], list(draft.in_wave(run.waves[0]))
    is_settled = first.progress is WaveProgress.PASSED or first.override is not None
    if is_settled or not members or len(members) < len(first.tenants):
        return ""
    if not any(status.state in tenant_run.NOT_STARTED for _, status in draft.current()):
        return ""
    if any(status.state not in (TenantState.SKIPPED, TenantState.ORPHANED) or status.reason in ORDERED for _, status in members):
        return ""
    if all(status.reason == SkipReason.OPTED_OUT for _, status in members):
        return (
            f"everybody in the first wave, {first.name}, opted out; label a tenant that agrees for it, then create an UpgradeAction Retry"
        )
    tenant, status = min(members, key=lambda member: (member[1].reason == SkipReason.OPTED_OUT, member[0].name))
    release = draft.spec.release
    return (
        f"nobody in the first wave, {first.name}, has shown that {release.product} {release.version} is healthy ({tenant.name}: "
        f"{status.reason}: {status.message}), and others wait; label another tenant for it, then create an UpgradeAction Retry"
    )


def check_owners(draft: Draft) -> None:
    """OwnershipConflict: a tenant of the first wave has a field that another tool would write back. Found before anything starts."""
    if not draft.planned or not draft.run.waves or draft.problem is not None:
        return
    first = draft.run.waves[0]
    if first.progress is WaveProgress.PASSED or draft.any_in(tenant_run.IN_FLIGHT | {TenantState.SOAKING, TenantState.ROLLING_BACK}):
        return
    owned = [
        (tenant.name, view.owner)
        for tenant, status in draft.in_wave(first)
        if (status.state in tenant_run.NOT_STARTED or (status.state is TenantState.HELD and not status.written))
        and not all(view.at_release for view in tenant.components if view.present)  # then nothing is to be written
        for view in tenant.components
        if view.owner
    ]
    if owned:
        tenants = sorted({name for name, _ in owned})
        draft.stall(
            ReadyReason.OWNERSHIP_CONFLICT,
            f"{owned[0][1]} in {named(tenants)}; use that tool's driver, delegate the field to tenantwave, or SkipTenant these tenants",
        )


def _out_of_patience(draft: Draft) -> bool:
    since = draft.journal.unavailable_since
    if since is None:
        draft.set_journal(unavailable_since=draft.now)
        draft.wake(draft.now + GRACE)
        return False
    draft.wake(since + GRACE)
    return draft.now >= since + GRACE
