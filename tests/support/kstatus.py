"""What generic tools make of a TenantUpgrade's status, and what must hold for every version of it that was ever stored.

`kstatus` follows the rules of the kstatus library (Flux and others rely on them) in a text of our own, so
that no test has to believe the operator.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from localcluster.client import Changed, KubeClient, Listed

Object = dict[str, Any]

IN_PROGRESS, FAILED, CURRENT, TERMINATING = "InProgress", "Failed", "Current", "Terminating"

WORKING = "Planning WaveRunning Soaking RollingBack GateUnknown GateInconclusive FleetIncident WaitingForWindow NoticePeriod AwaitingConsent TenantBusy AwaitingApproval Paused".split()  # noqa: E501, SIM905
STALLED = "RolledBack Aborted RollbackFailed Held InvalidSpec PolicyNotFound NoTenants UnmatchedTenants EmptyFirstWave CatalogueIncomplete OwnershipConflict DeadlineExceeded".split()  # noqa: E501, SIM905
DONE = ("Succeeded", "SucceededWithSkips")

ROW_OF: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(WORKING, ("False", "True", "")),
    **dict.fromkeys(STALLED, ("False", "", "True")),
    **dict.fromkeys(DONE, ("True", "", "")),
}
"""Reason of Ready -> status of (Ready, Reconciling, Stalled): api.md's table. `Suspended` may reconcile or not."""

COUNTED = (
    "queued", "waiting", "inFlight", "soaking", "succeeded", "rollingBack", "rolledBack", "held", "rollbackFailed", "skipped", "orphaned",
)  # fmt: skip


def conditions_of(body: Object) -> dict[str, Object]:
    """Return type -> condition."""
    return {one["type"]: one for one in (body.get("status") or {}).get("conditions") or []}


def kstatus(body: Object) -> str:
    """Return what the kstatus library says of the object."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return IN_PROGRESS
    for one in status.get("conditions") or []:
        if one["type"] == "Reconciling" and one["status"] == "True":
            return IN_PROGRESS
        if one["type"] == "Stalled" and one["status"] == "True":
            return FAILED
    ready = conditions_of(body).get("Ready")
    return CURRENT if ready is None or ready["status"] == "True" else IN_PROGRESS


def faults_of(body: Object, before: Object | None = None) -> list[str]:
    """Return what is wrong with one stored version of a TenantUpgrade; `before` is the version that was seen last."""
    status, said = body.get("status") or {}, conditions_of(body)
    if status.get("observedGeneration") == -1:
        return [] if kstatus(body) in (IN_PROGRESS, TERMINATING) else ["a fresh object is not InProgress"]
    found = [
        f"observedGeneration of {kind} is left behind"
        for kind, one in said.items()
        if one.get("observedGeneration") != status["observedGeneration"]
    ]
    if len(said) != len(status["conditions"]):
        found.append("two conditions of one type")
    return found + _faults_of_row(said) + _faults_of_counts(status) + _faults_of_times(said, conditions_of(before or {}))


def _faults_of_row(said: dict[str, Object]) -> list[str]:
    ready = said["Ready"]
    shown = tuple(said.get(kind, {}).get("status", "") for kind in ("Ready", "Reconciling", "Stalled"))
    expected = {ROW_OF[ready["reason"]]} if ready["reason"] in ROW_OF else {("False", "", ""), ("False", "True", "")}
    found = [] if shown in expected else [f"{ready['reason']}: Ready, Reconciling, Stalled are {shown}, not {expected}"]
    if not ready.get("message"):
        found.append(f"{ready['reason']} says nothing")
    found += [
        f"{kind} and Ready differ in reason or message"
        for kind in ("Reconciling", "Stalled")
        if kind in said and (said[kind]["reason"], said[kind]["message"]) != (ready["reason"], ready["message"])
    ]
    return found


def _faults_of_counts(status: Object) -> list[str]:
    counts, found = status.get("counts") or {}, []
    if sum(counts.get(name, 0) for name in COUNTED) != counts.get("total", 0):
        found.append(f"the counts do not sum up: {counts}")
    found += [f"wave {wave['name']} counts more than it has" for wave in status.get("waves", ()) if _counted(wave) > wave["total"]]
    if len(status.get("exceptions", ())) > 20:
        found.append("more than 20 exceptions")
    return found


def _counted(wave: Object) -> int:
    return sum(int(wave.get(name, 0)) for name in ("succeeded", "rolledBack", "skipped"))


def _faults_of_times(said: dict[str, Object], before: dict[str, Object]) -> list[str]:
    return [
        f"lastTransitionTime of {kind} moved without its status"
        for kind, one in said.items()
        if kind in before and before[kind]["status"] == one["status"] and before[kind]["lastTransitionTime"] != one["lastTransitionTime"]
    ]


class Recorder:
    """Watches all TenantUpgrades while a story goes on, and keeps what was wrong with any version, and the reasons that were shown."""

    def __init__(self, kube: KubeClient, kind: str) -> None:
        self._kube = kube
        self._kind = kind
        self._last: dict[str, Object] = {}
        self._task: asyncio.Task[None] | None = None
        self.faults: list[str] = []
        self.reasons: dict[str, list[str]] = {}
        """Upgrade -> reasons of Ready in the order in which they were shown, each once in a row."""

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(await self._kube.path(self._kind)))

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self, path: str) -> None:
        async for change in self._kube.follow(path):
            bodies = change.bodies if isinstance(change, Listed) else [change.body] if isinstance(change, Changed) else []
            for body in bodies:
                self._take(body)

    def _take(self, body: Object) -> None:
        name = body["metadata"]["name"]
        reason = conditions_of(body).get("Ready", {}).get("reason")
        self.faults += [
            f"{name} {reason} ({body['metadata']['resourceVersion']}): {fault}" for fault in faults_of(body, self._last.get(name))
        ]
        self._last[name] = body
        shown = self.reasons.setdefault(name, [])
        if reason is not None and shown[-1:] != [reason]:
            shown.append(reason)
