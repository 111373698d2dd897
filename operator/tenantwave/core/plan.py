"""The vocabulary of decisions: what `decide` may ask for, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from tenantwave.api.conditions import ActionReason, FailReason, ReadyReason, WaitReason
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core import calendar
from tenantwave.core.gates import GateContext
from tenantwave.core.journal import Journal


@dataclass(frozen=True, slots=True)
class Hold:
    """Not yet. A CamelCase reason, one sentence that names who or what it waits for, and where one exists, a time."""

    reason: WaitReason
    message: str
    until: datetime | None = None


class Deed(Enum):
    """One piece of work in one tenant. Each may be cut off anywhere and begun again: the TenantRun says how far it came."""

    PREVIEW = "Preview"  # read, merge, tell the conflicts; writes nothing but the TenantRun
    PREPARE = "Prepare"  # Preflight: lock, owners, snapshot, merges, server checks -> Applying, or Held with nothing written
    APPLY = "Apply"  # Applying: write the current component's configuration and version -> Converging
    CONFIRM = "Confirm"  # Converging, seen converged: prove that a pod runs it -> Applying the next component, or Soaking
    FINALISE = "Finalise"  # Soaking, proven: markers off, record and base pointer move, lock released -> Succeeded
    TAKE_BACK = "TakeBack"  # RollingBack: one component after the other, newest first, then verify -> RolledBack
    LET_GO = "LetGo"  # end without taking back: markers off, lock released -> `outcome`


@dataclass(frozen=True, slots=True)
class Step:
    """Do `deed` in `tenant`. `outcome`: for LET_GO, the status that the TenantRun ends with; for a Retry, see `PREPARE`."""

    tenant: str
    deed: Deed
    outcome: TenantRunStatus | None = None
    overwrite_later_edits: bool = False
    """TAKE_BACK for Resolve ForcePreImage: the goal wins over later edits, which stay in the snapshot."""
    at_most_every: timedelta | None = None
    """Set for a try that may well fail again: no oftener than this, and no reason to look again at once."""


@dataclass(frozen=True, slots=True)
class Move:
    """Write this status to the tenant's TenantRun (created where it is missing). Pure bookkeeping: nothing in the tenant changes."""

    tenant: str
    status: TenantRunStatus


@dataclass(frozen=True, slots=True)
class Answer:
    """The conditions of one UpgradeAction. `accepted` None: leave it as it is (only `completed` changes)."""

    action: str
    accepted: bool
    reason: ActionReason
    message: str
    completed: bool = False


@dataclass(frozen=True, slots=True)
class DecisionAnswer:
    """The condition `Accepted` of one TenantDecision, in the tenant's namespace."""

    tenant: str
    answer: calendar.Answer


@dataclass(frozen=True, slots=True)
class Note:
    """An Event. `tenant` empty: about the upgrade, else about that tenant's profile."""

    reason: str
    message: str
    tenant: str = ""
    warning: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What `status` says of the whole: one reason, one sentence."""

    reason: ReadyReason
    message: str


@dataclass(frozen=True, slots=True)
class Next:
    """What happens next, and when."""

    time: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision. Carried out in this order: journal, finalizer, moves, steps, answers, status, notes.

    Whatever fails on the way ends it; the next decision begins from what was stored.
    """

    journal: Journal | None
    summary: Summary
    finalizer: bool | None = None
    """True: put it on before anything else. False: take it off, last of all. None: leave it."""
    moves: tuple[Move, ...] = ()
    steps: tuple[Step, ...] = ()
    answers: tuple[Answer, ...] = ()
    decision_answers: tuple[DecisionAnswer, ...] = ()
    notes: tuple[Note, ...] = ()
    gate_context: GateContext | None = None
    """What the prober is to measure for this upgrade from now on; None: nothing."""
    holds: Mapping[str, Hold] = field(default_factory=dict)
    next: Next | None = None
    wake_time: datetime | None = None
    save_policy: bool = False
    """The run is being planned: the live policy and catalogue are to be saved under the digests of the journal before it is written."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A tenant that failed or is held, and why."""

    reason: FailReason
    message: str
