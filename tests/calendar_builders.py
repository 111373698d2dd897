"""Builders for all that decides when a tenant starts: calendars, notices, decisions, what people lift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from builders import NEW, NOON, RUN, Block, a_journal, a_policy, a_spec, a_world, after, an_action, an_upgrade
from tenantwave.api.conditions import DecisionReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.calendar import Answer, Calendar, Decision, NoticeRecord, compile_calendar
from tenantwave.core.journal import VersionSeen
from tenantwave.core.notices import notice_digest
from tenantwave.core.passes.runs import meaning
from tenantwave.core.plan import Plan
from tenantwave.core.world import Action, Policy, SeenDecision, World

WORDS: Block = {"title": "Shop 2.4", "changes": "a new basket", "benefits": "faster", "risks": "none known"}
"""A notice that says all that a policy may require."""
SHUT_UNTIL_TUESDAY: Block = {"name": "own", "weekly": {"days": ["Tue"], "start": "12:00", "duration": "2h"}}
"""A window that opens a day after noon."""
MAINTENANCE: Block = {"whenNoWindow": "Open", "minRemaining": "15m"}


def a_calendar(policy: Block | None = None, **profile: Any) -> Calendar:
    """Return a tenant's calendar: always open, unless the blocks of policy and profile say otherwise."""
    maintenance = Maintenance.model_validate({**MAINTENANCE, **(policy or {})})
    return compile_calendar(maintenance, TenantProfileSpec.model_validate(profile))


def an_opening(start: datetime, minutes: int, name: str = "own") -> Block:
    """Return a window with a single opening."""
    return {"name": name, "once": {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "duration": f"{minutes}m"}}


def frozen_today() -> list[Block]:
    """Return freezes that cover the day of noon."""
    return [{"name": "sale", "dates": {"from": f"{NOON:%Y-%m-%d}", "to": f"{NOON:%Y-%m-%d}"}}]


def a_decision(
    kind: str, *, name: str = "", time: datetime = NOON, until: datetime | None = None, answer: Answer | None = None
) -> SeenDecision:
    """Return a TenantDecision about the upgrade, not answered yet."""
    return SeenDecision(Decision(name or kind.lower(), DecisionType(kind), time, until), answer)


def an_answer(decision: str, message: str) -> Answer:
    """Return what a decision that counts was answered."""
    return Answer(decision, True, DecisionReason.ACCEPTED, message)


def digest_of(spec: TenantUpgradeSpec) -> str:
    """Return the name of what this spec tells tenants."""
    return notice_digest(spec.notice, spec.release.product, spec.release.version)


def told(spec: TenantUpgradeSpec, time: datetime = NOON, version: str = NEW) -> NoticeRecord:
    """Return what a profile shows that was told of this spec."""
    return NoticeRecord(version, digest_of(spec), time)


def an_override(
    *lifts: str, name: str = "lift", expire_time: datetime | None = None, accepted: bool | None = True, run: str = RUN, **whom: Any
) -> Action:
    """Return an OverrideWindow, accepted already, for an hour."""
    expires = f"{expire_time or after(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    return replace(an_action("OverrideWindow", name=name, run=run, lifts=list(lifts), expireTime=expires, **whom), accepted=accepted)


def a_policy_with(waves: Sequence[Block] | None = None, **blocks: Any) -> Policy:
    """Return a policy of one wave, canary, unless said otherwise; `maintenance` needs to name only what differs."""
    maintenance = {**MAINTENANCE, **blocks.pop("maintenance", {})}
    return a_policy(waves if waves is not None else [{"name": "canary", "maxParallel": 5}], maintenance=maintenance, **blocks)


def running(
    *tenants: Any, spec: TenantUpgradeSpec | None = None, policy: Policy | None = None, journal: Block | None = None, **world: Any
) -> World:
    """Return a world in which wave canary runs with these tenants."""
    policy = policy or a_policy_with()
    asked = spec or a_spec()
    fields = {"version": VersionSeen(version=asked.release.version, since=NOON), "spec_digest": meaning(asked), **(journal or {})}
    record = a_journal(policy, {"canary": [one.name for one in tenants]}, running="canary", **fields)
    return a_world(tenants, upgrade=an_upgrade(spec), policy=policy, journal=record, **world)


def ended(plan: Plan, world: World, tenant: str = "acme") -> TenantRunStatus:
    """Return where a tenant stands when the plan's moves are stored."""
    known = world.tenants[tenant].run
    moved = next((move.status for move in plan.moves if move.tenant == tenant), None)
    status = moved if moved is not None else known.status if known is not None else None
    assert status is not None, f"{tenant} has no TenantRun"
    return status


def starts(plan: Plan) -> list[str]:
    """Return who starts."""
    return sorted(move.tenant for move in plan.moves if move.status.state is TenantState.PREFLIGHT)


def why_held(plan: Plan, tenant: str = "acme") -> str:
    """Return the reason for which a tenant waits, '' if nothing holds it."""
    hold = plan.holds.get(tenant)
    return str(hold.reason) if hold is not None else ""


def stored(world: World, plan: Plan) -> World:
    """Return the world after everything that the plan writes is stored, except steps."""
    tenants = dict(world.tenants)
    for move in plan.moves:
        tenant = tenants[move.tenant]
        assert tenant.run is not None
        tenants[move.tenant] = replace(tenant, run=replace(tenant.run, status=move.status))
    answered = {(one.tenant, one.answer.decision): one.answer for one in plan.decision_answers}
    for name, tenant in tenants.items():
        seen = tuple(replace(one, answer=answered.get((name, one.decision.name), one.answer)) for one in tenant.decisions)
        tenants[name] = replace(tenant, decisions=seen)
    return replace(world, tenants=tenants, journal=plan.journal or world.journal)
