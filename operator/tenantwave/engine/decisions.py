"""Answers TenantDecisions: how an answer is written, and what those are answered that no upgrade answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tenantwave.api.conditions import ConditionType, DecisionReason
from tenantwave.api.kinds import TENANT_DECISION
from tenantwave.core.calendar import Answer
from tenantwave.core.calendar.sentences import sentence
from tenantwave.core.status import Said, settle
from tenantwave.engine.decision_index import Key
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.store import Store
from tenantwave.engine.tenant_views import DecisionView
from tenantwave.faults import NotFound
from tenantwave.ports import Clock, Cluster
from tenantwave.telemetry import Telemetry

GRACE = timedelta(seconds=5)
"""A decision may come before its upgrade, and before the label of its namespace: git applies in any order. And the upgrade answers itself."""
LONG_AGO = datetime.min.replace(tzinfo=UTC) + GRACE


@dataclass(frozen=True, slots=True)
class Answers:
    """Writes what a TenantDecision is answered: its condition Accepted."""

    cluster: Cluster
    telemetry: Telemetry
    clock: Clock

    async def write(self, view: DecisionView, answer: Answer | None) -> None:
        """Write the answer where it is another one than before; None takes back what was answered.

        Raises: Conflict, where the decision was changed meanwhile; NotFound, where it is gone; other Faults.
        """
        if answer == view.answer:
            return
        said = [Said(ConditionType.ACCEPTED, answer.accepted, answer.reason, answer.message)] if answer is not None else []
        conditions = settle(view.conditions, said, view.generation, self.clock.now())
        status = {"observedGeneration": view.generation, "conditions": [condition.document() for condition in conditions]}
        await self.cluster.merge_patch(
            TENANT_DECISION, view.namespace, view.name, {"status": status}, resource_version=view.resource_version, subresource="status"
        )
        self.telemetry.status_write(TENANT_DECISION.name)


@dataclass(slots=True)
class Decisions:
    """One worker's body for TenantDecisions: it answers those that reach no upgrade, for as long as that is so."""

    store: Store
    answers: Answers
    clock: Clock
    queue: WorkQueue[Key]
    _reached: dict[Key, datetime] = field(default_factory=dict)
    """Decisions that reach their upgrade since then, and still bear what we said before."""

    async def reconcile(self, key: Key) -> None:
        """Say what is wrong with a decision that reaches no upgrade. Once it does its upgrade answers; if that takes long, take it back."""
        view, namespace = self.store.decisions.get(key), self.store.namespaces.get(key[0])
        answer = self._right_answer(view) if view is not None else None
        if view is None or namespace is None or namespace.terminating or answer == view.answer:
            self._reached.pop(key, None)
            return
        left = self._grace_since(view, answer) + GRACE - self.clock.now()
        if left > timedelta():
            self.queue.add_after(key, left)
            return
        try:
            await self.answers.write(view, answer)
        except NotFound:
            return  # deleted meanwhile

    def _grace_since(self, view: DecisionView, answer: Answer | None) -> datetime:
        """Return from when the time of grace counts: a fresh decision waits for its upgrade, what we said waits for the upgrade's answer."""
        if answer is None:
            return self._reached.setdefault(view.key, self.clock.now())
        return view.creation_time if view.answer is None else LONG_AGO

    def _right_answer(self, view: DecisionView) -> Answer | None:
        """Return what the decision should have as its answer, as far as we can tell without its upgrade."""
        if view.seen is None:
            return Answer(view.name, False, DecisionReason.INVALID, sentence(f"{view.problem} in a new decision"))
        by_upgrade = view.seen.answer
        upgrade = self.store.upgrades.get(view.upgrade)
        if upgrade is None:
            return by_upgrade or _unknown(  # an answer stays when its upgrade is cleared away
                view, f"there is no TenantUpgrade {view.upgrade}; if the name is wrong, create a new decision with the right one"
            )
        is_tenant = self.store.is_tenant(upgrade, view.namespace)
        if is_tenant is None:
            return view.answer
        if is_tenant:
            return by_upgrade
        return _unknown(
            view, f"TenantUpgrade {view.upgrade} does not select namespace {view.namespace}; name the right one in a new decision"
        )


def _unknown(view: DecisionView, text: str) -> Answer:
    return Answer(view.name, False, DecisionReason.UNKNOWN_TARGET, sentence(text))
