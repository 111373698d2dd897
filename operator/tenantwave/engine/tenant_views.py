"""What the caches keep of the objects in a tenant's own namespace: its TenantProfile and its TenantDecisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from tenantwave.api.conditions import Condition, ConditionStatus, ConditionType, DecisionReason, condition_of
from tenantwave.api.decision import TenantDecisionSpec
from tenantwave.api.model import ApiModel
from tenantwave.api.profile import GivenNotice, TenantProfileSpec, TenantProfileStatus
from tenantwave.core.calendar import Answer, Decision, NoticeRecord
from tenantwave.core.changes import Taken
from tenantwave.core.world import SeenDecision
from tenantwave.engine.parsing import Raw, conditions_of, creation_time_of, spec_of, status_of

Model = TypeVar("Model", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A TenantProfile with what we last wrote as its status."""

    namespace: str
    uid: str
    generation: int
    resource_version: str
    spec: TenantProfileSpec | None
    problem: str
    status: TenantProfileStatus | None
    told: Mapping[str, tuple[NoticeRecord, ...]]
    """Upgrade -> what the tenant was told of it, as the API server has it."""


def profile_view(raw: Raw) -> ProfileView:
    """Read a TenantProfile."""
    metadata = raw["metadata"]
    spec, problem = spec_of(TenantProfileSpec, raw)
    status = _sharing(status_of(TenantProfileStatus, raw))
    return ProfileView(
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        spec=spec,
        problem=problem,
        status=status,
        told=_told(status.notices) if status is not None else {},
    )


def _sharing(status: TenantProfileStatus | None) -> TenantProfileStatus | None:
    """Let equal notices and changes of many tenants be the same objects: kept apart those of 10,000 tenants take half a gigabyte."""
    if status is None:
        return None
    return status.model_copy(
        update={
            "notices": tuple(_the_same(notice) for notice in status.notices),
            "recent_changes": tuple(_the_same(change) for change in status.recent_changes),
        }
    )


def _the_same(value: Model) -> Model:
    same: Model = _first_of(value)
    return same


@lru_cache(maxsize=8192)
def _first_of(value: ApiModel) -> Any:
    return value


def _told(notices: Iterable[GivenNotice]) -> Mapping[str, tuple[NoticeRecord, ...]]:
    told: dict[str, tuple[NoticeRecord, ...]] = {}
    for notice in notices:
        told[notice.upgrade] = (*told.get(notice.upgrade, ()), NoticeRecord(notice.version, notice.digest, notice.time))
    return told


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A TenantDecision. `seen` is what its upgrade sees of it; None where the spec cannot be read, and `problem` then says why."""

    namespace: str
    name: str
    upgrade: str
    seen: SeenDecision | None
    problem: str
    creation_time: datetime
    generation: int
    resource_version: str
    conditions: tuple[Condition, ...]
    answer: Answer | None
    """What it was answered, by its upgrade or because no upgrade answers; None: nothing yet, or about an older generation."""
    requested_by: str = ""
    reason: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Return namespace and name."""
        return self.namespace, self.name

    @property
    def taken(self) -> Taken | None:
        """Return what the change record tells of it; None unless its upgrade has accepted it."""
        if self.seen is None or self.seen.answer is None or not self.seen.answer.accepted:
            return None
        return Taken(self.upgrade, self.seen.decision, self.requested_by, self.reason)


def decision_view(raw: Raw) -> DecisionView:
    """Read a TenantDecision."""
    metadata, generation = raw["metadata"], raw["metadata"].get("generation", 1)
    spec, problem = spec_of(TenantDecisionSpec, raw)
    conditions = conditions_of(raw.get("status") or {})
    answer = _decision_answer(metadata["name"], conditions, generation)
    seen = None
    if spec is not None:
        decision = Decision(metadata["name"], spec.type, creation_time_of(metadata), spec.until_time)
        seen = SeenDecision(decision, answer if answer is not None and answer.reason not in NO_UPGRADES_ANSWERS else None)
    return DecisionView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        upgrade=spec.upgrade if spec is not None else "",
        seen=seen,
        problem=problem,
        creation_time=creation_time_of(metadata),
        generation=generation,
        resource_version=metadata["resourceVersion"],
        conditions=conditions,
        answer=answer,
        requested_by=spec.requested_by if spec is not None else "",
        reason=spec.reason if spec is not None else "",
    )


def _decision_answer(name: str, conditions: Iterable[Condition], generation: int) -> Answer | None:
    accepted = condition_of(conditions, ConditionType.ACCEPTED)
    if accepted is None or accepted.observed_generation < generation or accepted.reason not in _DECISION_REASONS:
        return None
    return Answer(name, accepted.status is ConditionStatus.TRUE, DecisionReason(accepted.reason), accepted.message)


_DECISION_REASONS = frozenset(reason.value for reason in DecisionReason)
NO_UPGRADES_ANSWERS = frozenset({DecisionReason.UNKNOWN_TARGET, DecisionReason.INVALID})
"""What a decision is told that reaches no upgrade. An upgrade that it reaches later has not answered it yet."""
