"""What the operator remembers of an upgrade: one journal per TenantUpgrade, kept in a ConfigMap of its own namespace.

`status` of a TenantUpgrade is only a picture of the journal: restored without it, or edited by hand, nothing is lost. The journal is replaced
as a whole, with the resourceVersion of the one that was read; so a second leader that decided on an older picture fails, and looks again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tenantwave.core.places import named_by, places_of

Instant = datetime
MOST_NAMED = 100
"""Up to so many tenants are named where they are ordered back: people read that."""


class _Record(BaseModel):
    """A frozen value that is stored as JSON; what is absent is not written."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WaveProgress(StrEnum):
    """How far a wave is. `status.waves[].state` is computed from it, from the tenants and from the gate."""

    QUEUED = "Queued"
    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"


class Approval(_Record):
    """One person's consent that a wave starts or passes."""

    person: str
    action: str
    time: Instant


class Override(_Record):
    """A person's word that the wave, or who of it still soaks, passes on its soak alone (OverrideGate). What the gate said then stays on record."""

    person: str
    action: str
    reason: str
    time: Instant
    verdict: str
    said: str = ""
    """The gate's reason and message at that time."""
    for_stragglers: bool = False
    """It was given when the wave had passed: for those of its stragglers that soaked then, and for nobody else."""

    def sentence(self, *, is_past: bool = False) -> str:
        """Return by whose word the wave passes, as a sentence."""
        if self.for_stragglers:
            return f"lets stragglers pass on their soak alone, by OverrideGate {self.action} of {self.person}: {self.reason}"
        how = "passed" if is_past else "passes on its soak alone,"
        return f"{how} by OverrideGate {self.action} of {self.person}: {self.reason}"


class WaveRecord(_Record):
    """One wave of the plan. `tenants` is fixed when the run is planned, in the order in which they start."""

    name: str
    tenants: tuple[str, ...] = ()
    early_count: int = 0
    """How many of the tenants, the last ones, have come here from a later wave by their own OptInEarly."""
    progress: WaveProgress = WaveProgress.QUEUED
    start_time: Instant | None = None
    completion_time: Instant | None = None
    approvals_before: tuple[Approval, ...] = ()
    approvals_after: tuple[Approval, ...] = ()
    soaked_since_time: Instant | None = None
    """Since when every tenant of the wave soaks or is through; used where a policy has no gates."""
    gate: str = ""
    """The wave's gate memory (core.gates), as compact JSON."""
    shown: str = ""
    """The gate as status shows it, as JSON: with the queries that give these very numbers, whoever is in the wave later."""
    override: Override | None = None
    """By whose word the wave passes on its soak alone."""


class Pause(_Record):
    """No more tenants start until Resume. `action` is the UpgradeAction, empty where the operator paused by policy."""

    time: Instant
    message: str
    action: str = ""


class EndReason(StrEnum):
    """Why a run takes tenants back: by an action of a person, or because a wave failed."""

    ABORT = "Aborted"
    WAVE_FAILED = "WaveFailed"


class TakeBackOrder(_Record):
    """Who is taken back in this run, and why. It is written once and never changes its mind: the tenants are named."""

    reason: EndReason
    wave: str = ""
    message: str
    time: Instant
    tenants: tuple[str, ...] = ()
    action: str = ""


class PolicyRef(_Record):
    """The policy as it was when the run was planned; `digest` names the saved copy."""

    name: str
    generation: int
    digest: str


class CatalogueRef(_Record):
    """One entry of the pristine catalogue as it was when the run was planned. `digest` names the saved copy; empty where it is marked removed."""

    version: str
    target: str
    digest: str = ""
    removed: bool = False


class RunRecord(_Record):
    """One run: an attempt at one meaning of the spec.

    All of a journal fits into one ConfigMap, which holds 1 MiB. Of what it says only the names of tenants grow with the fleet; so the plan
    names each of them once, and what else is about many of them does so by their places in it.
    """

    id: str
    generation: int
    attempt: int
    spec_digest: str
    """Of the fields that begin a run: another digest is another run."""
    start_time: Instant
    completion_time: Instant | None = None
    spec: str = ""
    """Digest of the saved copy of the spec; empty before the run is planned."""
    policy: PolicyRef | None = None
    catalogue: tuple[CatalogueRef, ...] = ()
    planned_time: Instant | None = None
    plan_digest: str = ""
    waves: tuple[WaveRecord, ...] = ()
    order: TakeBackOrder | None = None
    warnings: tuple[str, ...] = ()
    """What the plan cannot do well, in sentences: shown with it."""
    paused_for: tuple[str, ...] = ()
    """Tenants and waves whose failure has already paused the upgrade: Resume goes on without them instead of pausing again."""
    content: str = ""
    """Digest of what the run writes into a tenant: components, preservation, hooks, version and pristine configuration."""
    previous_run: str = ""
    """The run or attempt before this one."""
    previous_content: str = ""
    """Its `content`: where it is the same, what soaked in that run has nothing to be written again."""
    retried: tuple[str, ...] = ()
    """The tenants that a Retry named; empty where it named none, so that all that had not succeeded begin again."""
    blind_since: Instant | None = None
    """The first unusable tick for which `evaluation.onUnknown` has already paused the upgrade."""
    late_for: str = ""
    """The tenant for whom deadlineTime cannot be met, as people have been told."""

    @model_serializer(mode="wrap")
    def _write_places(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write an order for many tenants as their places in the plan."""
        written: dict[str, Any] = write(self)
        if self.order is not None and len(self.order.tenants) > MOST_NAMED:
            del written["order"]["tenants"]
            written["order"]["places"] = places_of(self.order.tenants, self._planned)
        return written

    @model_validator(mode="before")
    @classmethod
    def _read_places(cls, data: Any) -> Any:
        """Read what `_write_places` has written."""
        order = data.get("order") if isinstance(data, dict) else None
        if not isinstance(order, dict) or "places" not in order:
            return data
        planned = [name for wave in data.get("waves", ()) for name in wave.get("tenants", ())]
        return {**data, "order": {**order, "tenants": named_by(order["places"], planned)}}

    @property
    def _planned(self) -> list[str]:
        return [name for wave in self.waves for name in wave.tenants]

    @property
    def moved_early(self) -> tuple[str, ...]:
        """Return the tenants that OptInEarly has moved to an earlier wave. Cost: a copy; `Ground.early` has them at hand."""
        return tuple(name for wave in self.waves if wave.early_count for name in wave.tenants[-wave.early_count :])


class VersionSeen(_Record):
    """Since when the upgrade asks for this version. Consent that is older was given to another one."""

    version: str
    since: Instant


class TimeSeen(_Record):
    """When a value of `deadlineTime` or `forceTime` was first seen: one that had passed by then was a mistake."""

    field: str
    value: Instant
    first_seen: Instant


class Journal(_Record):
    """All that outlives a restart of what was decided about one TenantUpgrade."""

    upgrade: str
    upgrade_uid: str
    run: RunRecord
    pause: Pause | None = None
    unavailable_since: Instant | None = None
    """Since when the policy or a catalogue entry is missing: git applies in any order, so the first 5 s are forgiven."""
    version: VersionSeen | None = None
    times: tuple[TimeSeen, ...] = ()
    """What the spec says now of its two times, each with when that was first seen."""
    answered: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """UIDs of UpgradeActions whose effect is already part of this journal: a crash before their answer repeats the answer, not the effect."""
