"""Builders of worlds: each gives a valid value, and a test changes the one thing that it is about. Worlds that cannot be are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenantwave.api.action import ActionType, UpgradeActionSpec
from tenantwave.api.meta import run_id, tenant_run_name
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import tenant_run
from tenantwave.core.gates import GateBook
from tenantwave.core.journal import Journal, PolicyRef, RunRecord, VersionSeen, WaveProgress, WaveRecord
from tenantwave.core.passes.runs import meaning
from tenantwave.core.world import Action, Catalogue, ComponentView, Policy, Progress, StoredRun, Tenant, Upgrade, VersionRecord, World

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday."""
UPGRADE = "shop-2-4-0"
UID = "x7f2k1aa-0000-4000-8000-000000000000"
RUN = run_id(UPGRADE, UID, 1, 1)
OLD, NEW = "2.3.1", "2.4.0"
CANARY = {"tenantwave.io/ring": "canary"}
TWO_WAVES = ({"name": "canary", "selector": {"matchLabels": CANARY}}, {"name": "rest"})
MINUTE = timedelta(minutes=1)

S = TenantState
Block = dict[str, Any]


def a_spec(version: str = NEW, *, release: Block | None = None, **fields: Any) -> TenantUpgradeSpec:
    """Return the spec of an upgrade of product shop: one Deployment, adopting tenants as 2.3.1."""
    image = f"registry.test/shop/api:{version}"
    return TenantUpgradeSpec.model_validate(
        {
            "policyRef": {"name": "standard"},
            "tenantSelector": {"matchLabels": {"product": "shop"}},
            "release": {"product": "shop", "version": version, "assumedVersion": OLD, **(release or {})},
            "components": [
                {"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": image}]}}
            ],
            **fields,
        }
    )


def an_upgrade(spec: TenantUpgradeSpec | None = None, *, name: str = UPGRADE, generation: int = 1, **fields: Any) -> Upgrade:
    """Return a TenantUpgrade made an hour before noon."""
    return Upgrade(name, UID, generation, NOON - timedelta(hours=1), spec if spec is not None else a_spec(), **fields)


def a_policy_spec(waves: Sequence[Block] = TWO_WAVES, *, gated: bool = False, **blocks: Any) -> RolloutPolicySpec:
    """Return a policy by which tenants may start at any time; with one gate on errors if `gated`."""
    gates: Block = {"allowNoGates": True}
    if gated:
        ratio = {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}
        gates = {"prometheus": {"url": "http://prometheus.test:9090"}, "gates": [{"name": "errors", "ratio": ratio, "max": "1%"}]}
    return RolloutPolicySpec.model_validate({"waves": list(waves), "maintenance": {"whenNoWindow": "Open"}, **gates, **blocks})


def a_policy(waves: Sequence[Block] = TWO_WAVES, *, gated: bool = False, problems: Sequence[str] = (), **blocks: Any) -> Policy:
    """Return the RolloutPolicy `standard`."""
    return Policy("standard", 1, "sha256:" + "a" * 64, a_policy_spec(waves, gated=gated, **blocks), tuple(problems))


def a_view(name: str = "api", *, at_release: bool = False, progress: Progress = Progress.CONVERGED, **fields: Any) -> ComponentView:
    """Return what a driver sees of one component."""
    return ComponentView(name, present=fields.pop("present", True), at_release=at_release, progress=progress, **fields)


def a_record(version: str = OLD) -> VersionRecord:
    """Return what the operator recorded of a tenant."""
    return VersionRecord(version, version, NOON - timedelta(days=30))


def a_status(state: TenantState = S.QUEUED, *, wave: str = "canary", run: str = RUN, **fields: Any) -> TenantRunStatus:
    """Return a TenantRun's status; `written` follows from the state unless the test says otherwise. Refuses what cannot be."""
    writes = tenant_run.UNPROVEN | {S.ROLLING_BACK, S.ROLLBACK_FAILED, S.SUCCEEDED}
    status = TenantRunStatus(
        state=state,
        wave=wave,
        run=run,
        **{"attempt": 1, "from_version": OLD, "to_version": NEW, "state_since_time": NOON, "written": state in writes, **fields},
    )
    if state in (S.SOAKING,) and status.converged_time is None:
        status = status.model_copy(update={"converged_time": NOON})
    if state is S.ROLLED_BACK and status.written:
        raise ValueError("a tenant that was taken back has nothing of ours standing")
    if state is S.SOAKING and not status.written:
        raise ValueError("a tenant that soaks has been written")
    return status


def a_tenant(
    name: str = "acme", status: TenantRunStatus | None = None, *, labels: Mapping[str, str] | None = None, **fields: Any
) -> Tenant:
    """Return a tenant of product shop; in ring canary unless `labels` says otherwise."""
    run = StoredRun(tenant_run_name(UPGRADE, name), f"run-{name}", "1", UPGRADE, UID, status) if status is not None else None
    labels = {"product": "shop", **(CANARY if labels is None else labels)}
    shows = status is not None and status.state in (S.CONVERGING, S.SOAKING, S.SUCCEEDED)
    defaults: Block = {"uid": f"uid-{name}", "selected": True, "components": (a_view(at_release=shows),), "run": run}
    return Tenant(name=name, labels=labels, **{**defaults, **fields})


def a_journal(policy: Policy, waves: Mapping[str, Sequence[str]], *, running: str = "", **fields: Any) -> Journal:
    """Return the journal of a planned run: waves before `running` have passed, later ones are queued."""
    records, seen = [], not running
    for name, tenants in waves.items():
        seen = seen or name == running
        progress = WaveProgress.RUNNING if name == running else WaveProgress.QUEUED if seen else WaveProgress.PASSED
        start = None if progress is WaveProgress.QUEUED else NOON
        records.append(WaveRecord(name=name, tenants=tuple(tenants), progress=progress, start_time=start))
    outside = {key: fields.pop(key) for key in ("pause", "answered", "unavailable_since", "version", "times") if key in fields}
    outside.setdefault("version", VersionSeen(version="2.4.0", since=NOON))
    run = RunRecord(
        **{
            "id": RUN,
            "generation": 1,
            "attempt": 1,
            "spec_digest": meaning(a_spec()),
            "start_time": NOON,
            "planned_time": NOON,
            "policy": PolicyRef(name=policy.name, generation=policy.generation, digest=policy.digest),
            "waves": tuple(records),
            **fields,
        }
    )
    return Journal(upgrade=UPGRADE, upgrade_uid=UID, run=run, **outside)


def a_world(
    tenants: Iterable[Tenant] = (),
    *,
    upgrade: Upgrade | None = None,
    policy: Policy | None = None,
    journal: Journal | None = None,
    without_policy: bool = False,
    **fields: Any,
) -> World:
    """Return a world; with a planned journal the plan is that of the upgrade and policy given. Refuses worlds that cannot be."""
    upgrade = upgrade or an_upgrade()
    live = None if without_policy else policy or a_policy()
    known = {tenant.name: tenant for tenant in tenants}
    planned = journal is not None and journal.run.planned_time is not None
    world = World(
        upgrade=upgrade,
        journal=journal,
        policy=live,
        planned_policy=live if planned else None,
        planned_spec=upgrade.spec if planned else None,
        tenants=known,
        catalogue=fields.pop("catalogue", Catalogue()),
        gates=fields.pop("gates", GateBook()),
        actions=tuple(fields.pop("actions", ())),
    )
    world = replace(world, **fields)
    _refuse_impossible(world)
    return world


def _refuse_impossible(world: World) -> None:
    placed = [name for wave in (world.journal.run.waves if world.journal is not None else ()) for name in wave.tenants]
    if len(placed) != len(set(placed)):
        raise ValueError("a tenant is in two waves")
    for name in placed:
        if name not in world.tenants:
            raise ValueError(f"{name} is in a wave and not in the world")
    for tenant in world.tenants.values():
        if not tenant.selected and tenant.run is None:
            raise ValueError(f"{tenant.name} is neither selected nor has it a TenantRun")
        if tenant.run is not None and world.journal is None:
            raise ValueError(f"{tenant.name} has a TenantRun, but the upgrade has no journal")


def an_action(kind: str | ActionType, *, name: str = "order", time: datetime = NOON, run: str | None = RUN, **spec: Any) -> Action:
    """Return an UpgradeAction; a reason is given."""
    body = UpgradeActionSpec.model_validate(
        {"upgrade": UPGRADE, "run": run, "type": str(kind), "reason": "CHG-4411 ok", "requestedBy": "ann", **spec}
    )
    return Action(name, f"uid-{name}", time, 1, body)


def after(**length: float) -> datetime:
    """Return an instant after noon."""
    return NOON + timedelta(**length)
