"""Take one upgrade one step further: observe, decide, act, report. Then say when to look again."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from tenantwave.api.bounds import bounded_document
from tenantwave.api.conditions import ActionReason, ConditionType, ReadyReason
from tenantwave.api.kinds import FINALIZER, TENANT_UPGRADE, UPGRADE_ACTION
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core.gates import GateBook, next_tick_time
from tenantwave.core.gates.journal import restore
from tenantwave.core.plan import Answer, DecisionAnswer, Deed, Plan, Step, Summary
from tenantwave.core.planner import decide
from tenantwave.core.status import Said, settle, upgrade_status
from tenantwave.core.world import World
from tenantwave.engine.decisions import Answers
from tenantwave.engine.figures import figures_of
from tenantwave.engine.forecasts import Forecasts
from tenantwave.engine.journals import Journals
from tenantwave.engine.news import Reporter
from tenantwave.engine.patience import Patience
from tenantwave.engine.prober import Prober
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.store import Store
from tenantwave.engine.tenant import TenantSteps
from tenantwave.engine.views import ActionView, JournalView, UpgradeView
from tenantwave.engine.worlds import observe
from tenantwave.faults import Fault, NotFound, SnapshotCorrupt
from tenantwave.ports import Clock, Cluster
from tenantwave.telemetry import Telemetry

log = logging.getLogger(__name__)
T = TypeVar("T")

EFFECTS_PER_ROUND = 200
EFFECTS_IN_FLIGHT = 32
LONGEST_SLEEP = timedelta(minutes=10)
STEP_AGAIN = timedelta(seconds=1)
"""A step that found nothing to do yet waits for an event; this long where none comes, for pods are not watched."""
PACED_PER_ROUND = 30
PACED_AGAIN = timedelta(seconds=3)
"""Steps with a pace of their own are begun so often and so many at once: ten a second, in rounds of some seconds at the longest."""
GRACE = timedelta(seconds=5)
"""An order may come before its upgrade: git applies in any order."""


@dataclass(slots=True)
class Reconciler:
    """The loop's body. Everything it needs is handed in; it keeps nothing that a restart would miss."""

    store: Store
    cluster: Cluster
    journals: Journals
    steps: TenantSteps
    prober: Prober
    forecasts: Forecasts
    reporter: Reporter
    telemetry: Telemetry
    clock: Clock
    queue: WorkQueue[str]
    _patience: Patience = field(default_factory=Patience)
    _begun: dict[str, dict[tuple[str, Deed], float]] = field(default_factory=dict)
    """Upgrade -> tenant and step -> when it was begun last, of steps with a pace and of those that had to wait for a place."""

    async def reconcile(self, name: str) -> None:
        """Take the upgrade one step further. Raises a Fault where the plan could not be carried out: the queue backs off and comes again."""
        lost = await self._load_planned(name)
        now = self.clock.now()
        decided_on = self.store.journals.get(name)
        world = observe(self.store, name, self._gates(name), now)
        if world is None:
            await self._gone(name)
            return
        if (damaged := self.store.damaged_journals.get(name)) is not None:
            await self._report_undecided(world, damaged.problem)
            return  # whoever mends it wakes us
        if lost is not None:
            await self._report(world, Plan(journal=None, summary=Summary(ReadyReason.HELD, lost.message)))
            raise lost
        plan = decide(world, now)
        self._probe(name, world, plan)
        try:
            moved = await self._act(world, plan, decided_on)
        finally:
            if plan.journal is None or self.store.journal_of(name) == plan.journal:  # else nothing of the plan stands yet
                await self._report(world, plan)
        self._look_again(world, plan, moved)

    async def _load_planned(self, name: str) -> SnapshotCorrupt | None:
        """Load what the run works by. What is lost is returned, so that it can be shown: without it nothing may be decided."""
        try:
            await self.journals.load_planned(name)
        except SnapshotCorrupt as corrupt:
            return corrupt
        return None

    def _look_again(self, world: World, plan: Plan, moved: bool) -> None:
        name = world.upgrade.name
        if plan.journal is not None or moved:
            self.queue.add(name)
            return
        delay = min((self._wait(name, step) for step in plan.steps), default=LONGEST_SLEEP)
        if plan.wake_time is not None:
            delay = min(delay, plan.wake_time - self.clock.now())
        delay = min(delay, self._patience.next_end(name, self.clock.monotonic()) or delay)
        book = self.prober.book(name)
        if plan.gate_context is not None and book is not None:
            tick = next_tick_time(book, plan.gate_context, self.clock.now())
            delay = min(delay, tick - self.clock.now()) if tick is not None else delay
        self.queue.add_after(name, max(delay, timedelta(milliseconds=50)))

    # Gates.

    def _gates(self, name: str) -> GateBook:
        return self.prober.book(name) or self._restored(name)

    def _restored(self, name: str) -> GateBook:
        """Return what the last process left: the memory of the gates, as TenantRuns and journal have it."""
        journal = self.store.journal_of(name)
        if journal is None:
            return GateBook()
        runs = (view.run.status for view in self.store.runs_of(name).values())  # of an earlier attempt the baseline counts
        return restore(
            journal.run.id, (status.gate for status in runs if status.gate), (wave.gate for wave in journal.run.waves if wave.gate)
        )

    def _probe(self, name: str, world: World, plan: Plan) -> None:
        """Have the evidence fetched that the plan is about; it arrives as a new reason to look."""
        journal = plan.journal or world.journal
        if plan.gate_context is None or journal is None:
            return
        # Once the run has ended only tenants that were taken back are asked for, and for minutes.
        if journal.run.completion_time is None or plan.gate_context.tenants:
            self.prober.look(name, plan.gate_context, world.gates)

    # Act.

    async def _act(self, world: World, plan: Plan, decided_on: JournalView | None) -> bool:
        """Carry the plan out in its order. What fails ends it, for the next decision begins from what is stored.

        Returns: whether a step moved its tenant on.
        """
        if plan.finalizer:
            await self._set_finalizer(world, present=True)
        if plan.journal is not None:
            if plan.save_policy and world.upgrade.spec is not None:
                await self.journals.save_planned(plan.journal, world.upgrade.spec)
            await self.journals.save(plan.journal, decided_on)
        moved, behind = await self._work_in_tenants(world, plan)
        await self._answer_tenants(world, plan.decision_answers)
        for answer in plan.answers:
            await self._answer(world.upgrade.name, answer, behind)
        if plan.finalizer is False:
            await self._set_finalizer(world, present=False)
        return moved

    async def _work_in_tenants(self, world: World, plan: Plan) -> tuple[bool, frozenset[str]]:
        """Carry out moves and steps, tenant by tenant. What fails in one is tried again later, with patience, and stops no other.

        Returns: whether any tenant was moved on, and the tenants in which something of the plan was not done this time.
        """
        name = world.upgrade.name
        concerned = {move.tenant for move in plan.moves} | {step.tenant for step in plan.steps}
        ready = {tenant for tenant in concerned if self._patience.is_over(name, tenant, self.clock.monotonic())}
        moves = [move for move in plan.moves if move.tenant in ready][:EFFECTS_PER_ROUND]
        steps = self._due(name, [step for step in plan.steps if step.tenant in ready])
        work = [(move.tenant, self.journals.move(world, move)) for move in moves] + [
            (step.tenant, self._step(world, step)) for step in steps
        ]
        results = await self._all(effect for _, effect in work)
        owed = {move.tenant for move in plan.moves} | {step.tenant for step in plan.steps if step.at_most_every is None}
        moved, behind = False, owed - {tenant for tenant, _ in work}
        for (tenant, _), result in zip(work, results, strict=True):
            if isinstance(result, Fault):
                self._bear(world, tenant, result)
                behind.add(tenant)
            elif isinstance(result, Exception):
                # Nothing that stands in one tenant may stop the others, or what people ask for.
                log.error("%s: %s: unexpected", name, tenant, exc_info=result)
                self._bear(world, tenant, Fault(f"unexpected {type(result).__name__}: please report it with the operator's log"))
                behind.add(tenant)
            elif isinstance(result, BaseException):
                raise result
            else:
                self._patience.forget(name, tenant)
                moved = moved or result is not False
        return moved, frozenset(behind)

    async def _answer_tenants(self, world: World, answers: Iterable[DecisionAnswer]) -> None:
        """Answer TenantDecisions. One that cannot be answered is tried again later, with patience of its own, and stops nothing else."""
        name, answers_by = world.upgrade.name, Answers(self.cluster, self.telemetry, self.clock)
        due = [
            (f"{one.tenant}/{one.answer.decision}", view, one.answer)
            for one in answers
            if (view := self.store.decisions.get((one.tenant, one.answer.decision))) is not None and view.upgrade == name
        ]
        due = [one for one in due if self._patience.is_over(name, one[0], self.clock.monotonic())][:EFFECTS_PER_ROUND]
        results = await self._all(answers_by.write(view, answer) for _, view, answer in due)
        for (key, _, _), result in zip(due, results, strict=True):
            if isinstance(result, NotFound) or result is None:
                self._patience.forget(name, key)
            elif isinstance(result, Fault):
                self._bear(world, key, result)
            else:
                raise result

    def _bear(self, world: World, tenant: str, fault: Fault) -> None:
        """Note that work in a tenant failed. Somebody being faster is ordinary; what lasts is told."""
        setback = self._patience.fail(world.upgrade.name, tenant, fault, self.clock.monotonic())
        level = logging.WARNING if setback.lasts else logging.INFO
        log.log(level, "%s: %s: %s; tried again in %.1f s", world.upgrade.name, tenant, fault.message, setback.wait.total_seconds())
        if setback.is_news:
            self.reporter.warn(world, "TenantWorkFailing", f"{tenant}: {fault.message}; it is tried again, the others go on")

    def _due(self, name: str, steps: Iterable[Step]) -> list[Step]:
        """Return the steps to take in this round: of those whose turn it is the ones that have waited longest.

        In the order of the plan tenants in which nothing moves on would take all the room, and those behind them would never have any. Steps
        with a pace of their own are few in a round: a rollback is not to wait until hundreds of tenants have been looked at.
        Cost: 2 ms for 10,000 tenants.
        """
        due = [step for step in steps if self._rest(name, step) <= timedelta(0)]
        work = [step for step in due if step.at_most_every is None]
        now, begun = self.clock.monotonic(), self._begun.setdefault(name, {})
        is_crowded = len(work) > EFFECTS_PER_ROUND

        def since(step: Step) -> float:
            return begun.get((step.tenant, step.deed), float("-inf"))

        if is_crowded:
            work = heapq.nsmallest(EFFECTS_PER_ROUND, work, key=since)
        looks = heapq.nsmallest(PACED_PER_ROUND, (step for step in due if step.at_most_every is not None), key=since)
        begun.update(((step.tenant, step.deed), now) for step in (*(work if is_crowded else ()), *looks))
        return work + looks

    def _rest(self, name: str, step: Step) -> timedelta:
        """Return how long a step with a pace has still to wait for its turn; not above 0 where it is due."""
        begun = self._begun.get(name, {}).get((step.tenant, step.deed))
        if step.at_most_every is None or begun is None:
            return timedelta(0)
        return step.at_most_every - timedelta(seconds=self.clock.monotonic() - begun)

    def _wait(self, name: str, step: Step) -> timedelta:
        """Return after what time to look at a step again that is not done yet."""
        return STEP_AGAIN if step.at_most_every is None else max(PACED_AGAIN, self._rest(name, step))

    async def _step(self, world: World, step: Step) -> bool:
        started = self.clock.monotonic()
        moved = await self.steps.execute(step, world)
        self.telemetry.tenant_run_step(step.deed.value, self.clock.monotonic() - started)
        return moved

    async def _all(self, effects: Iterable[Awaitable[T]]) -> list[T | BaseException]:
        """Carry out effects side by side, and return what came of each. One that fails does not stop the others."""
        room = asyncio.Semaphore(EFFECTS_IN_FLIGHT)

        async def one(effect: Awaitable[T]) -> T:
            async with room:
                return await effect

        return await asyncio.gather(*(one(effect) for effect in effects), return_exceptions=True)

    async def _set_finalizer(self, world: World, *, present: bool) -> None:
        view = self.store.upgrades.get(world.upgrade.name)
        if view is None:
            return  # it went in this moment, and its finalizers with it
        others = [finalizer for finalizer in view.finalizers if finalizer != FINALIZER]
        patch = {"metadata": {"finalizers": [*others, FINALIZER] if present else others}}
        await self.cluster.merge_patch(TENANT_UPGRADE, "", world.upgrade.name, patch, resource_version=view.resource_version)

    async def _answer(self, upgrade: str, answer: Answer, behind: frozenset[str]) -> None:
        """Answer an order, unless its effect has still to come to a tenant that it names: the planner repeats what is not answered."""
        view = next((action for action in self.store.actions_of(upgrade) if action.name == answer.action), None)
        named = view.action.spec.tenants if view is not None and view.action is not None else ()
        if view is not None and not (answer.accepted and behind.intersection(named)):
            await self._write_answer(view, answer)

    async def _write_answer(self, view: ActionView, answer: Answer) -> None:
        said = [
            Said(ConditionType.ACCEPTED, answer.accepted, answer.reason if not answer.completed else ActionReason.ACCEPTED, answer.message)
        ]
        if answer.accepted:
            reason = ActionReason.COMPLETED if answer.completed else ActionReason.IN_PROGRESS
            said.append(Said(ConditionType.COMPLETED, answer.completed, reason, answer.message))
        conditions = settle(view.conditions, said, view.generation, self.clock.now())
        status = {"observedGeneration": view.generation, "conditions": [condition.document() for condition in conditions]}
        await self.cluster.merge_patch(
            UPGRADE_ACTION, "", view.name, {"status": status}, resource_version=view.resource_version, subresource="status"
        )
        self.telemetry.status_write(UPGRADE_ACTION.name)

    # Report.

    async def _report_undecided(self, world: World, why: str) -> None:
        """Say why nothing is decided; beside that the status stays as it was last known."""
        view = self.store.upgrades[world.upgrade.name]
        plan = Plan(journal=None, summary=Summary(ReadyReason.HELD, why))
        status = upgrade_status(view.status, world, plan, self.clock.now())
        if view.status is not None and view.status.run is not None:
            said = {"conditions": status.conditions, "observed_generation": status.observed_generation}
            status = view.status.model_copy(update=said)
        await self._show(world, plan, view, status)

    async def _report(self, world: World, plan: Plan) -> None:
        view = self.store.upgrades.get(world.upgrade.name)
        if view is None or view.upgrade.uid != world.upgrade.uid:
            return
        await self._show(world, plan, view, upgrade_status(view.status, world, plan, self.clock.now()))

    async def _show(self, world: World, plan: Plan, view: UpgradeView, status: TenantUpgradeStatus) -> None:
        self.reporter.tell(world, plan, view.status, status)
        if status != view.status:
            body = {
                "apiVersion": TENANT_UPGRADE.api_version,
                "kind": TENANT_UPGRADE.name,
                "metadata": {"name": world.upgrade.name, "uid": world.upgrade.uid, "resourceVersion": view.resource_version},
                "status": bounded_document(status),
            }
            await self.cluster.replace(TENANT_UPGRADE, body, subresource="status")
            self.telemetry.status_write(TENANT_UPGRADE.name)
        self.telemetry.upgrade(figures_of(world, plan, status, self.clock.now()))
        self.forecasts.look(world, status)

    # Ends.

    async def _gone(self, name: str) -> None:
        """Forget an upgrade that is no more, and answer orders that name it."""
        self.prober.forget(name)
        self.forecasts.forget(name)
        self._begun.pop(name, None)
        self._patience.drop(name)
        self.reporter.forget(name)
        self.telemetry.forget_upgrade(name)
        for view in self.store.actions_of(name):
            if view.action is not None and view.action.accepted is None:
                if self.clock.now() < view.action.creation_time + GRACE:
                    self.queue.add_after(name, GRACE)
                    continue
                answer = Answer(
                    view.name, False, ActionReason.UNKNOWN_TARGET, f"there is no TenantUpgrade {name}; correct spec.upgrade in a new action"
                )
                await self._write_answer(view, answer)
