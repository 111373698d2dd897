"""The engine with its workers for TenantProfiles and TenantDecisions. They are run only for what the store's `wake` names, as in the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest.mock import patch

from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import ACME, OWN
from tenantwave.api.conditions import ReadyReason
from tenantwave.api.kinds import (
    CONFIG_MAP,
    ROLE_LABEL,
    TENANT_DECISION,
    TENANT_PROFILE,
    TENANT_RUN,
    TENANT_UPGRADE,
    UPGRADE_LABEL,
)
from tenantwave.api.meta import PROFILE_NAME, tenant_run_name
from tenantwave.api.profile import GivenNotice, TenantProfileStatus
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core.calendar import Answer
from tenantwave.core.gates import GateBook
from tenantwave.core.journal import Journal, RunRecord
from tenantwave.core.plan import DecisionAnswer, Plan, Summary
from tenantwave.core.world import World
from tenantwave.engine import reconcile, tenant_views
from tenantwave.engine.decisions import Answers, Decisions
from tenantwave.engine.journals import journal_name
from tenantwave.engine.news import ChangeNews
from tenantwave.engine.patience import SOON
from tenantwave.engine.profiles import Profiles
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.store import Wake
from tenantwave.engine.worlds import observe
from tenantwave.faults import Conflict
from tenantwave.telemetry import Silent

RUN = f"{UPGRADE}-a1"


@dataclass
class TenantsStory(EngineStory):
    """`awake`: what the store has woken and nobody has looked at yet."""

    awake: dict[str, set[Any]] = field(default_factory=lambda: {"upgrade": set(), "profile": set(), "decision": set()})

    def restart(self) -> None:
        """Let a new process take over; as after a start, everything is looked at."""
        super().restart()
        store, telemetry = self.store, Silent()
        self._rows = (
            *self._rows[:4],
            (TENANT_PROFILE, tenant_views.profile_view, store.profile_changed),
            (TENANT_DECISION, tenant_views.decision_view, store.decision_changed),
            *self._rows[4:],
        )
        store.wake = Wake(upgrade=self.awake["upgrade"].add, profile=self.awake["profile"].add, decision=self.awake["decision"].add)
        self.profile_queue: WorkQueue[str] = WorkQueue("profile", telemetry=telemetry)
        self.decision_queue: WorkQueue[tuple[str, str]] = WorkQueue("decision", telemetry=telemetry)
        self.profiles = Profiles(store, self.cluster, telemetry, self.clock, self.profile_queue, ChangeNews(self.heard))
        self.decisions = Decisions(store, Answers(self.cluster, telemetry, self.clock), self.clock, self.decision_queue)

    async def settle(self, *, upgrade: bool = False) -> None:
        """Let the workers look at what was woken, until nothing more happens; the upgrade's only where `upgrade` says so."""
        for _ in range(100):
            self.cluster.play()
            self.watch()
            profiles, decisions, upgrades = (set(self.awake[kind]) for kind in ("profile", "decision", "upgrade"))
            if not (profiles or decisions or (upgrade and upgrades)):
                return
            for kind in ("profile", "decision", *(["upgrade"] if upgrade else [])):
                self.awake[kind].clear()
            for tenant in sorted(profiles):
                try:
                    await self.profiles.reconcile(tenant)
                except Conflict:
                    self.awake["profile"].add(tenant)
            for key in sorted(decisions):
                try:
                    await self.decisions.reconcile(key)
                except Conflict:
                    self.awake["decision"].add(key)
            if upgrade and upgrades:
                await self._look_at_upgrade()
        raise AssertionError(f"never at rest: {self.cluster.writes[-5:]}")

    async def _look_at_upgrade(self) -> None:
        """Take the upgrade one step further. Its timers ring if they are about to: after a conflict it looks again in a moment."""
        queue = self.reconciler.queue
        try:
            await self.reconcile()
        except Conflict:
            self.awake["upgrade"].add(UPGRADE)
        delay = queue.delay_of(UPGRADE)
        if delay is not None and delay <= SOON:
            self.clock.forward(SOON)
            self.awake["upgrade"].add(UPGRADE)
        if queue.depth:
            self.awake["upgrade"].add(UPGRADE)
        queue.forget(UPGRADE)

    # What people, and the upgrade's own worker, do

    def decide(self, name: str, kind: str = "OptOut", upgrade: str = UPGRADE, tenant: str = ACME, **spec: Any) -> None:
        """Create a TenantDecision, now."""
        metadata = {"name": name, "namespace": tenant, "creationTimestamp": f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"}
        self.cluster.put(TENANT_DECISION, {"metadata": metadata, "spec": {"upgrade": upgrade, "type": kind} | spec})

    async def answer_by_upgrade(self, *answers: Answer, tenant: str = ACME) -> None:
        """Let the upgrade's worker carry out a plan that has these answers, and nothing else."""
        answered = tuple(DecisionAnswer(tenant, answer) for answer in answers)
        plan = Plan(journal=None, summary=Summary(ReadyReason.PLANNING, "the plan is being computed"), decision_answers=answered)
        self.watch()
        with patch.object(reconcile, "decide", lambda world, now: plan):
            await self.reconcile()
        self.watch()

    def begin(self, **run: Any) -> None:
        """Store a journal with a run that goes on, or as `run` says, as the upgrade's worker does."""
        record = RunRecord(id=RUN, generation=1, attempt=1, spec_digest="", start_time=self.clock.now()).model_copy(update=run)
        journal = Journal(upgrade=UPGRADE, upgrade_uid=self.uid(), run=record)
        labels = {ROLE_LABEL: "journal", UPGRADE_LABEL: UPGRADE}
        body = {
            "metadata": {"name": journal_name(UPGRADE), "namespace": OWN, "labels": labels},
            "data": {"journal": journal.model_dump_json()},
        }
        if self.cluster.has(CONFIG_MAP, OWN, journal_name(UPGRADE)):
            self.cluster.edit(CONFIG_MAP, OWN, journal_name(UPGRADE), {"data": body["data"]})
        else:
            self.cluster.put(CONFIG_MAP, body)

    def plan(self, status: TenantRunStatus, tenant: str = ACME) -> None:
        """Store a TenantRun, as the upgrade's worker does."""
        name, document = tenant_run_name(UPGRADE, tenant), status.document()
        if self.cluster.has(TENANT_RUN, OWN, name):
            gone = {field: None for field in self.run(tenant)["status"] if field not in document}
            self.cluster.edit(TENANT_RUN, OWN, name, {"status": document | gone})
            return
        spec = {"upgrade": UPGRADE, "upgradeUID": self.uid(), "tenant": tenant, "product": "shop"}
        self.cluster.put(TENANT_RUN, {"metadata": {"name": name, "namespace": OWN}, "spec": spec, "status": document})

    def edit_upgrade(self, spec: Mapping[str, Any]) -> None:
        """Edit the TenantUpgrade in git."""
        self.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"spec": spec})

    # What is there

    def world(self) -> World:
        """Return what the upgrade sees."""
        world = observe(self.store, UPGRADE, GateBook(), self.clock.now())
        assert world is not None
        return world

    def uid(self) -> str:
        """Return the upgrade's UID."""
        uid: str = self.cluster.see(TENANT_UPGRADE, "", UPGRADE)["metadata"]["uid"]
        return uid

    def profile(self, tenant: str = ACME) -> TenantProfileStatus:
        """Return the status of a tenant's profile."""
        return TenantProfileStatus.model_validate(self.cluster.see(TENANT_PROFILE, tenant, PROFILE_NAME).get("status") or {})

    def notices(self, tenant: str = ACME) -> list[tuple[str, datetime]]:
        """Return headline and time of what a tenant was told."""
        return [(notice.title, notice.time) for notice in self.given(tenant)]

    def given(self, tenant: str = ACME) -> tuple[GivenNotice, ...]:
        """Return what a tenant was told."""
        return self.profile(tenant).notices

    def answer(self, name: str, tenant: str = ACME) -> tuple[str, str, str] | None:
        """Return status, reason and message of the condition Accepted; None: there is none."""
        conditions = (self.cluster.see(TENANT_DECISION, tenant, name).get("status") or {}).get("conditions") or []
        return next(((one["status"], one["reason"], one["message"]) for one in conditions if one["type"] == "Accepted"), None)
