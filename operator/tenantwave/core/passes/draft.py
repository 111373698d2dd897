"""A decision while it is being made: the world, and what the passes so far want to change in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property

from tenantwave.api.conditions import FailReason, ReadyReason, WaitReason
from tenantwave.api.defaults import EffectiveWave, effective_waves
from tenantwave.api.policy import RolloutPolicySpec, TenantFailure
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import tenant_run
from tenantwave.core.calendar import Forecast, Ruling
from tenantwave.core.gates import GateBook, GateContext
from tenantwave.core.journal import Journal, RunRecord, WaveRecord
from tenantwave.core.passes.ground import Ground, ground_of
from tenantwave.core.plan import Answer, DecisionAnswer, Deed, Hold, Move, Next, Note, Plan, Step, Summary
from tenantwave.core.world import Tenant, World

EMPTY_BOOK = GateBook()
RUN_FIELDS = ("tenant_selector", "policy_ref", "release", "components", "preservation", "hooks")
"""The fields of a TenantUpgrade that begin a new run when they change (`release.evidence` apart). All others are read live."""


class Draft:
    """What the passes share. Each pass reads the world and what earlier passes decided, and adds to it; nothing outside sees a draft."""

    def __init__(self, world: World, now: datetime, journal: Journal) -> None:
        self.world = world
        self.now = now
        self.journal = journal
        self.steps: dict[str, Step] = {}
        self.answers: list[Answer] = []
        self.decision_answers: list[DecisionAnswer] = []
        self.rulings: dict[str, Ruling] = {}
        """What the decisions of a tenant mean, where that has been asked already."""
        self.notes: list[Note] = []
        self.holds: dict[str, Hold] = {}
        self.problem: Summary | None = None
        """Why the upgrade cannot start, or not go on starting."""
        self.at_least: Next | None = None
        """What happens next as far as the forecast can tell; shown where nothing is known for certain."""
        self.on_hold: str = ""
        """Why no tenant starts now although the run is planned: the sentence that waiting tenants show."""
        self.superseded = False
        self.save_plan = False
        self.gate_context: GateContext | None = None
        self.finalizer: bool | None = None
        self._nexts: list[Next] = []
        self._wakes: list[datetime] = []
        self._before: dict[str, TenantRunStatus] = {
            name: tenant.run.status
            for name, tenant in sorted(world.tenants.items())  # caches give them in any order
            if tenant.run is not None and tenant.run.upgrade_uid == world.upgrade.uid
        }
        self._statuses = dict(self._before)
        self._untouchable = frozenset(name for name in self._before if self.problem_of(name))
        self._tally = Counter(status.state for status in self._before.values())

    # What is known.

    @property
    def run(self) -> RunRecord:
        """Return the record of the current run."""
        return self.journal.run

    @property
    def _goes_on(self) -> bool:
        """Tell whether the run is the one that the world knows: what was planned belongs to it, and not to one that has just begun."""
        return self.world.journal is not None and self.world.journal.run.id == self.run.id

    @property
    def began(self) -> bool:
        """Tell whether this decision began the run. What the world says of components and catalogue is then still about the run before."""
        return self.world.journal is not None and not self._goes_on

    @cached_property
    def spec(self) -> TenantUpgradeSpec:
        """Return the spec to work by: as planned in the fields that begin a run, live in all others."""
        live, planned = self.world.upgrade.spec, self.world.planned_spec if self._goes_on else None
        if planned is None:
            if live is None:
                raise ValueError("an upgrade without a readable spec has no run to work on")
            return live
        if live is None:
            return planned
        kept = {field: getattr(planned, field) for field in RUN_FIELDS}
        kept["release"] = planned.release.model_copy(update={"evidence": live.release.evidence})
        return live.model_copy(update=kept)

    @cached_property
    def policy(self) -> RolloutPolicySpec | None:
        """Return the policy to work by: as planned, else the live one."""
        policy = (self.world.planned_policy if self._goes_on else None) or self.world.policy
        return policy.spec if policy is not None else None

    @cached_property
    def optional_components(self) -> frozenset[str]:
        """Return the components that a tenant may lack."""
        return frozenset(component.name for component in self.spec.components if component.optional)

    @cached_property
    def effective_waves(self) -> Mapping[str, EffectiveWave]:
        """Return the waves of the policy with their defaults worked out, by name."""
        return {wave.name: wave for wave in effective_waves(self.policy.waves, bool(self.policy.gates))} if self.policy is not None else {}

    @cached_property
    def ground(self) -> Ground | None:
        """Return what counts for the start of all tenants alike; None without a policy."""
        if self.policy is None:
            return None
        return ground_of(self.spec, self.policy, self.journal, self.world.actions, self.world.clock_is_right)

    @property
    def foreseen(self) -> Forecast | None:
        """Return what will happen when, as last computed for this run."""
        seen = self.world.foreseen
        return seen.forecast if seen is not None and seen.run == self.run.id else None

    @property
    def book(self) -> GateBook:
        """Return what the gates know of the current run: nothing, where what they know is about another one."""
        return self.world.gates if self.world.gates.run_id == self.run.id else EMPTY_BOOK

    @property
    def planned(self) -> bool:
        """Tell whether the run has a plan."""
        return self.run.planned_time is not None

    @property
    def deleted(self) -> bool:
        """Tell whether the upgrade is being deleted."""
        return self.world.upgrade.deletion_time is not None

    @property
    def suspended(self) -> bool:
        """Tell whether only a plan is asked for."""
        live = self.world.upgrade.spec
        return live is not None and bool(live.suspend)

    @property
    def takes_back(self) -> bool:
        """Tell whether a tenant that fails after a write is taken back by itself."""
        return self.policy is None or self.policy.on_failure.tenant is TenantFailure.ROLLBACK

    def status(self, tenant: str) -> TenantRunStatus | None:
        """Return where the tenant stands, moves of this decision included; None where it has no TenantRun of this upgrade."""
        return self._statuses.get(tenant)

    def problem_of(self, tenant: str) -> str:
        """Return why nothing may be done in the tenant, '' if nothing stands against it: its TenantRun cannot be read."""
        stored = self.world.tenants[tenant].run if tenant in self.world.tenants else None
        return stored.problem if stored is not None else ""

    def is_stored(self, tenant: str) -> bool:
        """Tell whether the tenant's place in this run is stored already, and is none of those passed over; nothing starts before that."""
        before = self._before.get(tenant)
        return before is not None and before.run == self.run.id and before.state is not TenantState.SKIPPED

    def statuses(self) -> Mapping[str, TenantRunStatus]:
        """Return where every tenant with a TenantRun of this upgrade stands."""
        return self._statuses

    def current(self) -> Iterator[tuple[Tenant, TenantRunStatus]]:
        """Yield the tenants that belong to the current run."""
        run, tenants = self.run.id, self.world.tenants
        for name, status in list(self._statuses.items()):
            if status.run == run:
                yield tenants[name], status

    def in_wave(self, wave: WaveRecord) -> Iterator[tuple[Tenant, TenantRunStatus]]:
        """Yield the tenants of a wave in starting order, as far as their TenantRuns exist."""
        run, tenants, statuses = self.run.id, self.world.tenants, self._statuses
        for name in wave.tenants:
            status = statuses.get(name)
            if status is not None and status.run == run:
                yield tenants[name], status

    def any_in(self, states: Iterable[TenantState]) -> bool:
        """Tell whether any tenant with a TenantRun of this upgrade, of whatever run, is in one of these states."""
        return any(self._tally[state] > 0 for state in states)

    def count(self, state: TenantState) -> int:
        """Return how many tenants are in this state."""
        return self._tally[state]

    def has_moves(self) -> bool:
        """Tell whether tenants of the run have been moved by this decision, so that it is not stored yet where they stand."""
        run, before = self.run.id, self._before
        return any(
            status is not before.get(name) and status.run == run and status != before.get(name) for name, status in self._statuses.items()
        )

    # What is wanted.

    def forget_plan(self) -> None:
        """Read spec and policy live again: a run that has just begun has none of its own."""
        for name in ("spec", "optional_components", "policy", "effective_waves", "ground"):
            self.__dict__.pop(name, None)

    def set_run(self, **changes: object) -> None:
        """Change the record of the current run."""
        self.journal = self.journal.model_copy(update={"run": self.run.model_copy(update=changes)})

    def set_wave(self, name: str, **changes: object) -> None:
        """Change the record of one wave."""
        self.set_run(waves=tuple(wave.model_copy(update=changes) if wave.name == name else wave for wave in self.run.waves))

    def set_journal(self, **changes: object) -> None:
        """Change the journal outside the run."""
        self.journal = self.journal.model_copy(update=changes)

    def set_status(self, tenant: str, status: TenantRunStatus) -> None:
        """Move a tenant. A step that an earlier pass wanted for it is dropped: it was meant for another state.

        One whose TenantRun cannot be read stays as it is, whatever is wanted: the move would overwrite what a person may still restore.
        """
        known = self._statuses.get(tenant)
        if status is not known and status != known and tenant not in self._untouchable:
            self._statuses[tenant] = status
            self._tally[status.state] += 1
            if known is not None:
                self._tally[known.state] -= 1
            self.steps.pop(tenant, None)

    def move(self, tenant: str, state: TenantState, reason: str, message: str, **changes: object) -> None:
        """Move a tenant to a state, keeping what it has."""
        self.set_status(tenant, tenant_run.to(self._statuses[tenant], state, reason, message, self.now, **changes))

    def fail(self, tenant: str, reason: FailReason, message: str) -> None:
        """Let a tenant fail: what follows is the state machine's and the policy's."""
        self.set_status(tenant, tenant_run.failed(self._statuses[tenant], reason, message, self.now, self.takes_back))

    def do(
        self,
        tenant: str,
        deed: Deed,
        outcome: TenantRunStatus | None = None,
        *,
        overwrite: bool = False,
        at_most_every: timedelta | None = None,
    ) -> None:
        """Want a piece of work in a tenant. One that was moved just now gets none: its step follows from the state that is stored then."""
        if self._statuses.get(tenant) is self._before.get(tenant) and tenant not in self._untouchable:
            self.steps[tenant] = Step(tenant, deed, outcome, overwrite, at_most_every)

    def hold(self, tenant: str, hold: Hold) -> None:
        """Note why a tenant does not start yet."""
        self.holds[tenant] = hold
        if hold.until is not None:
            self.expect(hold.until, f"{tenant} starts ({hold.reason} ends)")

    def note(self, reason: str, message: str, tenant: str = "", *, warning: bool = False, about: str = "") -> None:
        """Want an Event. `about` tells apart what has the same reason in one run, and is not the same news."""
        self.notes.append(Note(reason, message, tenant, warning, key=f"{self.run.id} {about}".rstrip()))

    def stall(self, reason: ReadyReason, message: str) -> None:
        """Note why the upgrade cannot start. The first problem stays: api.md orders them."""
        if self.problem is None:
            self.problem = Summary(reason, message)

    def wake(self, time: datetime) -> None:
        """Look again at `time` at the latest."""
        self._wakes.append(time)

    def expect(self, time: datetime, what: str) -> None:
        """Say what happens next, and look again then."""
        self._nexts.append(Next(time, what))
        self.wake(time)

    def _urgency(self, tenant: str) -> int:
        """Return in which order moves are written: who goes back first, then who goes on; dates and notes can wait."""
        status, before = self._statuses[tenant], self._before.get(tenant)
        if before is not None and before.state is status.state:
            return 2
        return 0 if status.state in tenant_run.GOING_BACK else 1

    def _foreseen_next(self) -> Next | None:
        return self.at_least if self.at_least is not None and self.at_least.time > self.now else None

    def plan(self, summary: Summary) -> Plan:
        """Return the decision, with only what differs from the world."""
        later = [upcoming for upcoming in self._nexts if upcoming.time > self.now]
        changed = [name for name, status in self._statuses.items() if status is not self._before.get(name)]
        changed.sort(key=self._urgency)
        return Plan(
            journal=self.journal if self.journal != self.world.journal else None,
            summary=summary,
            finalizer=self.finalizer,
            moves=tuple(Move(name, self._statuses[name]) for name in changed),
            steps=tuple(self.steps.values()),
            answers=tuple(self.answers),
            decision_answers=tuple(self.decision_answers),
            notes=tuple(self.notes),
            gate_context=self.gate_context,
            holds=self.holds,
            next=min(later, key=lambda upcoming: upcoming.time, default=self._foreseen_next()),
            wake_time=min((time for time in self._wakes if time > self.now), default=None),
            save_policy=self.save_plan,
        )


def planned_status(draft: Draft, tenant: str, wave: str, why: str, previous: TenantRunStatus | None) -> TenantRunStatus:
    """Return a tenant's first status in the current run.

    What an earlier run or attempt wrote and nobody took back stays on record: its intents are what a rollback needs. The numbers of intents
    and fences never begin again, nor does the baseline of the gates, which is of the time before the first write.
    """
    entry = draft.world.tenants[tenant]
    fresh = TenantRunStatus(
        state=TenantState.QUEUED,
        reason=str(WaitReason.WAVE_QUEUED),
        message=f"wave {wave} has not begun" if wave else "no wave takes this tenant",
        run=draft.run.id,
        wave=wave,
        attempt=draft.run.attempt,
        namespace_uid=entry.uid,
        from_version=runs_version(draft, entry),
        to_version=draft.spec.release.version,
        explain=why,
        state_since_time=draft.now,
    )
    if previous is None:
        return fresh
    kept: tuple[str, ...] = ("last_seq", "epoch", "gate", "baseline")
    if previous.to_version == fresh.to_version:
        kept += ("notice_time", "notice_digest")  # a Retry, or another run to the same version, needs no other notice
    if previous.written and (previous.state is TenantState.HELD or tenant_run.is_unproven(previous)):
        kept += ("intents", "snapshots", "secrets", "written", "forward_only")
        kept += ("from_version", "plan", "start_time")  # the baseline is of before the first write
    return fresh.model_copy(update={field: getattr(previous, field) for field in kept})


def runs_version(draft: Draft, tenant: Tenant) -> str:
    """Return which version of the product a tenant runs: the record, else `release.assumedVersion`, else ''."""
    if tenant.record is not None and tenant.record.version:
        return tenant.record.version
    return draft.spec.release.assumed_version or ""


def is_at_release(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether every component of the tenant has every value of the release; a component that is absent must be optional."""
    optional = draft.optional_components
    return any(view.present for view in tenant.components) and all(
        view.at_release if view.present else view.name in optional for view in tenant.components
    )
