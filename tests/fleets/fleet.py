"""A fleet that is carried through upgrades in memory: it does what plans ask for, and checks the invariants after every step.

Nothing here knows how the planner decides. It has what a cluster would have (objects, journal, TenantRuns), scripted troubles, and a clock
that jumps to the time at which the plan wants to be looked at again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from builders import NEW, NOON, OLD, UID, UPGRADE, Block, a_policy, a_spec, an_action
from fleets.deeds import DEEDS, Fails
from fleets.gates import TICK, ScriptedGates
from fleets.invariants import check, check_rest, check_status
from fleets.member import Broken, Member, hook_end_time
from tenantwave.api.decision import DecisionType
from tenantwave.api.meta import tenant_run_name
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.run_records import HookState
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core import tenant_run
from tenantwave.core.calendar import Decision, NoticeRecord, compile_calendar
from tenantwave.core.journal import Journal
from tenantwave.core.plan import Answer, DecisionAnswer, Deed, Note, Plan, Step
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status
from tenantwave.core.world import (
    Action,
    Catalogue,
    CatalogueEntry,
    ComponentView,
    HookJobView,
    Policy,
    Progress,
    SeenDecision,
    StoredRun,
    Tenant,
    Upgrade,
    World,
)

S = TenantState
TOLD = frozenset({"FleetIncident", "FleetIncidentOver", "WaveShifted", "GateOverridden", "WorseThanBefore"})
"""Events that a transcript shows: what is told of the gates shows in no state."""
TROUBLES = ("bad", "ill", "conflict", "owner", "stuck", "fails_back", "hook_takes", "hook_fails", "hook_is_irreversible")
PREVIEW_EVERY = timedelta(seconds=10)
STEPS_AT_MOST = 5000
WAYS = ("plain", "crashes", "restarts", "shuffled")
"""How a story may be disturbed without coming to another end."""


@dataclass(repr=False)
class Fleet:
    """Everything that outlives the operator, and the operator's memory of the gates."""

    members: dict[str, Member]
    policy: Policy | None = field(default_factory=a_policy)
    spec: TenantUpgradeSpec = field(default_factory=a_spec)
    now: datetime = NOON
    generation: int = 1
    deletion_time: datetime | None = None
    has_finalizer: bool = False
    journal: Journal | None = None
    planned: dict[str, tuple[TenantUpgradeSpec, Policy]] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    catalogue: dict[tuple[str, str], CatalogueEntry] = field(default_factory=dict)
    gates: ScriptedGates = field(default_factory=ScriptedGates)
    tells: bool = True
    """The profiles' worker gives the notices that TenantRuns ask for."""
    looks_at_doors: bool = False
    """Members have the profiles that their calendars were compiled from: whoever starts is looked at a second time."""
    notes: list[Note] = field(default_factory=list)
    """The Events that plans wanted."""
    status: TenantUpgradeStatus | None = None
    plan: Plan | None = None
    lines: list[str] = field(default_factory=list)
    shuffle: random.Random | None = None
    restarts: random.Random | None = None
    """Forget, after random steps, what is only in memory."""
    restart_share: float = 0.1
    """After which share of the steps."""
    cuts: random.Random | None = None
    """Cut the carrying out of plans off at random effects, as a crash does."""
    _tried: dict[str, datetime] = field(default_factory=dict)
    plans: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    passed: set[tuple[str, datetime]] = field(default_factory=set)
    """Waves that are known to have passed, and when."""
    _said: str = ""
    _waves: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Tell what matters of it, for failed tests."""
        waves = (
            [wave.model_dump(mode="json", by_alias=True, exclude_none=True) for wave in self.policy.spec.waves]
            if self.policy and self.policy.spec
            else []
        )
        troubles = {
            name: [word for word in TROUBLES if getattr(member, word)]
            + [word for word in ("exists", "selected") if not getattr(member, word)] + ([member.live] if member.live != OLD else [])
            for name, member in self.members.items()
        }  # fmt: skip
        gated = bool(self.policy and self.policy.spec and self.policy.spec.gates)
        failure = self.policy.spec.on_failure.model_dump(mode="json") if self.policy and self.policy.spec else {}
        return f"Fleet({troubles}, gated={gated}, waves={waves}, on_failure={failure})"

    # What goes wrong.

    def disturb(self, way: str, seed: int) -> None:
        """From now on deeds come in any order, writes are cut off in the middle, or the process is replaced; `way` is one of WAYS."""
        match way:
            case "crashes":
                self.cuts = random.Random(seed)
            case "restarts":
                self.restarts = random.Random(seed)
            case "shuffled":
                self.shuffle = random.Random(seed)

    # What people do.

    def order(self, kind: str, name: str = "", *, run: str | None = "", **spec: Any) -> str:
        """Create an UpgradeAction; for the current run unless said otherwise."""
        name = name or f"{kind.lower()}-{len(self.actions) + 1}"
        current = self.journal.run.id if self.journal is not None else None
        self.actions[name] = replace(an_action(kind, name=name, time=self.now, run=current if run == "" else run, **spec))
        self._line("order", name, f"{kind} " + " ".join(f"{key}={value}" for key, value in spec.items() if key != "requestedBy"))
        return name

    def decide_as(self, tenant: str, kind: str, until: datetime | None = None, name: str = "") -> str:
        """Create a TenantDecision in a tenant's namespace."""
        decisions = self.members[tenant].decisions
        name = name or f"{kind.lower()}-{len(decisions) + 1}"
        decisions[name] = SeenDecision(Decision(name, DecisionType(kind), self.now, until))
        self._line("decision", tenant, f"{name}" + (f" until {until:%Y-%m-%d %H:%M}" if until is not None else ""))
        return name

    def set_door(self, tenant: str, **profile: Any) -> None:
        """Have a tenant state its windows and freezes; the policy's maintenance is that of the fleet."""
        assert self.policy is not None
        assert self.policy.spec is not None
        member = self.members[tenant]
        member.profile = TenantProfileSpec.model_validate(profile)
        member.calendar = compile_calendar(self.policy.spec.maintenance, member.profile)

    def edit(self, version: str | None = None, **fields: Any) -> None:
        """Edit the TenantUpgrade in git."""
        self.spec = a_spec(version or self.spec.release.version, **fields)
        self.generation += 1
        self._line("edit", UPGRADE, f"version {self.spec.release.version}" + (f" {sorted(fields)}" if fields else ""))

    def suspend(self, on: bool) -> None:
        """Set or remove spec.suspend."""
        self.spec = self.spec.model_copy(update={"suspend": on or None})
        self.generation += 1
        self._line("edit", UPGRADE, f"suspend: {on}")

    def delete(self) -> None:
        """Delete the TenantUpgrade."""
        self.deletion_time = self.now
        self._line("delete", UPGRADE, "")

    def make_again(self) -> None:
        """Create the TenantUpgrade again after its deletion, in a file that has moved: of the one before nothing is left but version records."""
        if self.has_finalizer or self.deletion_time is None:
            raise Broken("it is still there")
        self.deletion_time, self.journal = None, None
        for member in self.members.values():
            member.run = None
        self.gates = ScriptedGates()
        self.passed, self._waves = set(), {}
        self._line("create", UPGRADE, "")

    # What there is.

    def world(self) -> World:
        """Return the world as the caches would show it."""
        planned = self.planned.get(self.journal.run.id) if self.journal is not None and self.journal.run.planned_time is not None else None
        spec = planned[0] if planned is not None else self.spec
        names = [name for name, member in sorted(self.members.items()) if member.selected or member.run is not None]
        if self.shuffle is not None:
            self.shuffle.shuffle(names)
        upgrade = Upgrade(UPGRADE, UID, self.generation, NOON - timedelta(hours=1), self.spec, "", self.deletion_time, self.has_finalizer)
        actions = list(self.actions.values())
        return World(
            upgrade=upgrade,
            journal=self.journal,
            policy=self.policy,
            planned_policy=planned[1] if planned is not None else None,
            planned_spec=spec if planned is not None else None,
            tenants={name: self._tenant(self.members[name], spec) for name in names},
            catalogue=Catalogue(tuple(self.catalogue.values())),
            gates=self.gates.book,
            actions=tuple(actions),
        )

    def _tenant(self, member: Member, spec: TenantUpgradeSpec) -> Tenant:
        views = tuple(self._view(member, component.name, spec) for component in spec.components)
        return Tenant(
            name=member.name,
            uid=member.uid or f"uid-{member.name}",
            labels=member.labels,
            selected=member.selected and member.exists,
            exists=member.exists,
            record=member.record,
            run=member.run,
            calendar=member.calendar,
            components=views if member.exists else (),
            hook_jobs=self._hook_jobs(member),
            claims=member.claims,
            decisions=tuple(member.decisions.values()),
            told=tuple(member.told),
        )

    def _hook_jobs(self, member: Member) -> dict[str, HookJobView]:
        """Return the Jobs of the member's hooks as a cache has them."""
        end = hook_end_time(member)
        if end is None or member.run is None:
            return {}
        job = member.run.status.hooks[0].job
        ended = HookState.FAILED if member.hook_fails else HookState.SUCCEEDED
        return {job: HookJobView(member.name, job, UPGRADE, ended if self.now >= end else HookState.RUNNING)}

    def _view(self, member: Member, name: str, spec: TenantUpgradeSpec) -> ComponentView:
        progress = Progress.PROGRESSING if member.live in member.bad else Progress.CONVERGED
        message = f"Deployment {name} waits for pods" if member.live in member.bad else ""
        at_release = member.live == spec.release.version
        return ComponentView(name, True, at_release, progress, message, owner=member.owner)

    def state(self, tenant: str) -> TenantState | None:
        """Return where a tenant stands."""
        run = self.members[tenant].run
        return run.status.state if run is not None else None

    def run_of(self, tenant: str) -> TenantRunStatus:
        """Return a tenant's TenantRun."""
        run = self.members[tenant].run
        assert run is not None, f"{tenant} has no TenantRun"
        return run.status

    def is_guarded(self) -> bool:
        """Tell whether the finalizer is on."""
        return self.has_finalizer

    @property
    def ready(self) -> str:
        """Return the reason of Ready."""
        assert self.plan is not None
        return str(self.plan.summary.reason)

    def states(self) -> dict[str, str]:
        """Return tenant -> state."""
        return {name: str(self.state(name)) for name in sorted(self.members)}

    # The loop.

    def plan_now(self) -> Plan:
        """Decide, and carry nothing out."""
        return decide(self.world(), self.now)

    def step(self) -> bool:
        """Decide once and carry the plan out. Returns False when nothing is to be done now."""
        world = self.world()
        self.plan = plan = decide(world, self.now)
        if self.cuts is None and self.restarts is None and self.shuffle is None:
            again = decide(replace(world, tenants=dict(reversed(list(world.tenants.items())))), self.now)
            if _essence(again) != _essence(plan):
                raise Broken("the order of the tenants changes the plan")
        effects = self._effects(world, plan)
        has_work = bool(effects)
        if self.cuts is not None and effects and self.cuts.random() < 0.4:
            effects = effects[: self.cuts.randrange(len(effects))]
        started = [(name, member.run.status.state if member.run else None) for name, member in self.members.items()]
        for effect in effects:
            effect()
        check(self, plan, dict(started))
        self._report(world, plan)
        if self.tells and self._tell():
            has_work = True
        if not has_work:
            check_rest(self)
        if self.restarts is not None and self.restarts.random() < self.restart_share:
            self._restart()
        if plan.gate_context is not None:
            self.gates.tick(plan.gate_context, self.members, self.now)
        return has_work

    def go(self, until: Callable[[Fleet], bool] | str = "", limit: timedelta = timedelta(days=2)) -> Fleet:
        """Go on until something holds (a reason of Ready, or a question), or nothing more happens by itself."""
        done = until if callable(until) else lambda fleet: bool(until) and fleet.ready == until
        end = self.now + limit
        for _ in range(STEPS_AT_MOST):
            moved = self.step()
            if done(self) and not moved:
                return self
            if callable(until) and done(self):
                return self
            if not moved and not self._wait(end):
                if until:
                    raise Broken(f"nothing more happens, Ready is {self.ready}, tenants {self.states()}\n" + "\n".join(self.lines[-15:]))
                return self
        raise Broken(f"no end after {STEPS_AT_MOST} steps: {self.ready} {self.states()}\n" + "\n".join(self.lines[-15:]))

    def advance(self, at_most: timedelta) -> bool:
        """Let time pass until the plan wants to be looked at again. Returns False when it does not, or not so soon."""
        return self._wait(self.now + at_most)

    def _wait(self, end: datetime) -> bool:
        assert self.plan is not None
        times = [self.plan.wake_time] if self.plan.wake_time is not None else []
        if self.plan.gate_context is not None and self.plan.gate_context.tenants:
            times.append(self.now + TICK)
        if any(step.deed is Deed.PREVIEW for step in self.plan.steps):
            times.append(self.now + PREVIEW_EVERY)
        times += [
            self._tried[step.tenant] + step.at_most_every for step in self.plan.steps if step.at_most_every and step.tenant in self._tried
        ]
        times += [ended for member in self.members.values() if (ended := hook_end_time(member)) is not None]  # its Job's end wakes us
        later = [time for time in times if time > self.now]
        if not later or min(later) > end:
            return False
        self.now = min(later)
        return True

    # What plans ask for.

    def _effects(self, world: World, plan: Plan) -> list[Callable[[], None]]:
        effects: list[Callable[[], None]] = []
        if plan.finalizer:
            effects.append(lambda: setattr(self, "has_finalizer", True))
        if plan.journal is not None:
            effects.append(lambda: self._save(world, plan))
        effects += [lambda move=move: self.store(move.tenant, move.status) for move in plan.moves]  # type: ignore[misc]
        effects += [lambda step=step: self._do(step) for step in plan.steps if self._is_due(step)]  # type: ignore[misc]
        effects += [lambda answer=answer: self._answer(answer) for answer in plan.answers]  # type: ignore[misc]
        effects += [lambda answer=answer: self._answer_tenant(answer) for answer in plan.decision_answers]  # type: ignore[misc]
        if plan.finalizer is False:
            effects.append(lambda: setattr(self, "has_finalizer", False))
        return effects

    def _is_due(self, step: Step) -> bool:
        """Tell whether a try is due. One that waits for pods changes nothing, so it is no reason to go on at once."""
        member = self.members[step.tenant]
        if step.deed is Deed.TAKE_BACK and member.stuck and step.at_most_every is None:
            return False
        ends = hook_end_time(member)
        if step.deed is Deed.APPLY and ends is not None and self.now < ends:
            return False
        if step.deed is Deed.CONFIRM and member.live in member.bad:
            return False
        every = step.at_most_every or (PREVIEW_EVERY if step.deed is Deed.PREVIEW else None)
        if every is None:
            return True
        if step.tenant in self._tried and self.now < self._tried[step.tenant] + every:
            return False
        self._tried[step.tenant] = self.now
        return True

    def _save(self, world: World, plan: Plan) -> None:
        assert plan.journal is not None
        if plan.save_policy:
            assert self.policy is not None
            self.planned[plan.journal.run.id] = (self.spec, self.policy)
        self.journal = Journal.model_validate_json(plan.journal.model_dump_json(exclude_defaults=True))

    def store(self, tenant: str, status: TenantRunStatus) -> None:
        """Write a TenantRun, and see that the move is a declared one."""
        member = self.members[tenant]
        before_status = member.run.status if member.run is not None else None
        before = before_status.state if before_status is not None else None
        # A new run or attempt plans a tenant anew: it is Queued, and may be passed over in the same breath.
        origin = S.QUEUED if member.run is not None and member.run.status.run != status.run else before
        if origin is not None and status.state not in tenant_run.MOVES[origin] | {before, origin}:
            raise Broken(f"{tenant}: {before} -> {status.state} is no declared move")
        if member.run is not None and before is not status.state and member.run.status.run != status.run and status.state is S.PREFLIGHT:
            raise Broken(f"{tenant} starts in a run before its place in it is stored")
        begins_to_go_back = status.state is S.ROLLING_BACK and before not in tenant_run.GOING_BACK
        if begins_to_go_back and status.forward_only and status.resolution is None:
            raise Broken(f"{tenant} goes back past the point of no return, and nobody ordered it by Resolve")
        if member.run is not None and status.last_seq < member.run.status.last_seq:
            raise Broken(f"{tenant}: the numbers of intents began again")
        text = TenantRunStatus.model_validate_json(status.model_dump_json(by_alias=True))
        member.run = StoredRun(tenant_run_name(UPGRADE, tenant), f"run-{tenant}", "1", UPGRADE, UID, text)
        known = before_status.after_rollback if before_status is not None else None
        if status.after_rollback is not None and known is None:
            self._line("judged", tenant, f"after its rollback: {status.after_rollback.verdict}: {status.after_rollback.message}")
        if before is not status.state:
            self._line(str(status.state), tenant, f"{status.reason}: {status.message}")

    def _do(self, step: Step) -> None:
        member, status = self.members[step.tenant], self.run_of(step.tenant)
        try:
            DEEDS[step.deed](self, member, status, step)
        except Fails as failure:
            takes_back = self.policy is None or self.policy.spec is None or self.policy.spec.on_failure.tenant.value == "Rollback"
            self.store(member.name, tenant_run.failed(self.run_of(member.name), failure.reason, str(failure), self.now, takes_back))

    def planned_spec(self) -> TenantUpgradeSpec:
        """Return the spec that the run works by."""
        assert self.journal is not None
        return self.planned[self.journal.run.id][0] if self.journal.run.id in self.planned else self.spec

    def _answer(self, answer: Answer) -> None:
        action = self.actions[answer.action]
        self.answers[answer.action] = answer
        self.actions[answer.action] = replace(action, accepted=answer.accepted, completed=answer.completed)
        word = "completed" if answer.completed else "accepted" if answer.accepted else "refused"
        self._line(word, answer.action, f"{answer.reason}: {answer.message}")

    def _answer_tenant(self, said: DecisionAnswer) -> None:
        decisions, answer = self.members[said.tenant].decisions, said.answer
        if answer.decision in decisions:
            decisions[answer.decision] = replace(decisions[answer.decision], answer=answer)
            word = "accepted" if answer.accepted else "refused"
            self._line(word, said.tenant, f"{answer.decision}: {answer.reason}: {answer.message}")

    def _tell(self) -> bool:
        """Do what the profiles' worker does: give the notices that TenantRuns ask for. Returns whether there were any."""
        found = False
        for member in self.members.values():
            status = member.run.status if member.run is not None else None
            if status is None or not status.notice_digest or status.notice_time is not None or status.state in tenant_run.ENDED:
                continue
            if all((one.version, one.digest) != (status.to_version, status.notice_digest) for one in member.told):
                member.told.append(NoticeRecord(status.to_version, status.notice_digest, self.now.replace(microsecond=0)))
                self._line("told", member.name, f"of {status.to_version}")
                found = True
        return found

    def _restart(self) -> None:
        """Forget all that is only in memory."""
        runs = [member.run.status for member in self.members.values() if member.run is not None]
        self.gates.restart(self.journal, runs)

    def _report(self, world: World, plan: Plan) -> None:
        stands = plan.journal is None or plan.journal == self.journal  # as in the engine: what is not stored is not told
        told = plan.notes if stands else ()
        self.notes += told
        for note in told:
            if note.reason in TOLD:
                self._line("event", note.tenant or UPGRADE, f"{note.reason}: {note.message}")
        before = self.status
        self.status = status = upgrade_status(before, world, plan, self.now)
        check_status(status, world, plan, self.now)
        for wave in self.journal.run.waves if self.journal is not None else ():
            if self._waves.get(wave.name, "Queued") != wave.progress:
                self._line("wave", wave.name, str(wave.progress))
            self._waves[wave.name] = str(wave.progress)
        said = f"{plan.summary.reason}"
        if said != self._said:
            self._line("Ready", said, plan.summary.message)
            self._said = said

    def _line(self, verb: str, what: str, message: str) -> None:
        days = (self.now - NOON).days
        clock = f"{self.now:%H:%M:%S}" + (f" +{days}d" if days else "")
        self.lines.append(f"{clock}  {verb:<12} {what:<10} {message}".rstrip())

    def transcript(self) -> str:
        """Return what happened, for people."""
        return "\n".join(self.lines) + "\n"


def _essence(plan: Plan) -> object:
    moves = sorted((move.tenant, move.status.model_dump_json()) for move in plan.moves)
    steps = sorted((step.tenant, step.deed.value) for step in plan.steps)
    said = sorted((said.tenant, said.answer.decision, said.answer.message) for said in plan.decision_answers)
    return (plan.journal, plan.summary, moves, steps, plan.answers, said, plan.finalizer, plan.wake_time)


def a_fleet(canaries: int = 1, others: int = 3, *, waves: Iterable[Block] | None = None, gated: bool = False, **blocks: Any) -> Fleet:
    """Return a fleet on 2.3.1: canaries c1, c2 ... and others t1, t2 ..., under a policy with the waves canary and rest."""
    members = {f"c{number}": Member(f"c{number}", {"product": "shop", "tenantwave.io/ring": "canary"}) for number in range(1, canaries + 1)}
    members |= {f"t{number}": Member(f"t{number}", {"product": "shop"}) for number in range(1, others + 1)}
    policy = a_policy(tuple(waves), gated=gated, **blocks) if waves is not None else a_policy(gated=gated, **blocks)
    return Fleet(members, policy=policy, spec=a_spec(NEW))
