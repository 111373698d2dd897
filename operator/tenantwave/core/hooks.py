"""Hooks: which Jobs run at which place of a tenant's turn, what they are called, what they look like, and what their status says.

Pure. The Job is the truth about a hook while it runs; `TenantRun.status.hooks` is the journal of what became of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import GROUP, INTENT_ANNOTATION, JOB, RUN_LABEL, TENANT_LABEL, UPGRADE_LABEL
from tenantwave.api.run_records import HookRecord, HookState
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.api.upgrade import Component, Hook, HookTime, TenantUpgradeSpec
from tenantwave.core.world import HookJobView

LET_RUN_ANNOTATION = f"{GROUP}/let-run"
"""Stands on a Job that was let run, and says when: one which somebody else suspends later is left to them."""
DEFAULT_TIMEOUT = timedelta(minutes=10)
LATE = timedelta(minutes=1)
"""The Job's own deadline ends it. So much later we end it ourselves: it may be suspended, or nobody may run the Job controller."""
BACKOFF_LIMIT = 2
"""Pods that may fail before the Job has failed, where the template does not say: the default of Kubernetes would outlast most timeouts."""
KEPT = timedelta(days=1)
"""How long a finished Job stays for its logs once the tenant's turn is over, where the template does not say."""
MAX_NAME_LENGTH = 63
DIGEST_LENGTH = 10

_STANDS_IN = {HookTime.PRE_APPLY: 0, HookTime.POST_APPLY: -1}
"""Which component a hook is about that names none: the first, or the last."""


@dataclass(frozen=True, slots=True)
class HookJob:
    """One Job to be run: a hook of the spec, or the probe of a CronJob.

    name: in the journal; reason: what a tenant fails for if it fails; template: a Job template whose placeholders are filled.
    """

    name: str
    job: str
    at: HookTime
    component: str
    template: Mapping[str, Any]
    timeout: timedelta
    is_irreversible: bool = False
    reason: FailReason = FailReason.HOOK_FAILED

    @property
    def called(self) -> str:
        """Return how messages call it."""
        return f"hook {self.name}" if self.reason is FailReason.HOOK_FAILED else self.name


@dataclass(frozen=True, slots=True)
class Place:
    """Whose Jobs they are: what goes into names, labels and placeholders."""

    upgrade: str
    run: str
    tenant: str
    version: str
    order: str = ""
    """Which order to go back this is: each has Jobs of its own, so a repeated Resolve runs OnRollback hooks again."""

    def labels(self) -> dict[str, str]:
        """Return the labels by which a Job is known as ours."""
        return {UPGRADE_LABEL: self.upgrade, RUN_LABEL: self.run, TENANT_LABEL: self.tenant}


def place_of(upgrade: str, tenant: str, version: str, status: TenantRunStatus) -> Place:
    """Return whose Jobs are run for a tenant that stands so."""
    order = status.take_back.time.isoformat() if status.take_back is not None else ""
    return Place(upgrade, status.run, tenant, version, order)


# Which


def hooks_at(spec: TenantUpgradeSpec, at: HookTime, component: Component | None = None, *, is_there: bool = True) -> tuple[Hook, ...]:
    """Return the hooks of one place in list order.

    Args: component: for PreApply and PostApply; is_there: the tenant has it. One that it may lack takes the hooks along that name it;
        those that name no component run all the same, where the first or the last one would be.
    """
    chosen = [hook for hook in spec.hooks if hook.at is at]
    if component is None or at is HookTime.ON_ROLLBACK:
        return tuple(chosen)
    stands_in = spec.components[_STANDS_IN[at]].name
    return tuple(
        hook
        for hook in chosen
        if (hook.component == component.name and is_there) or (hook.component is None and component.name == stands_in)
    )


def hook_job(hook: Hook, spec: TenantUpgradeSpec, place: Place) -> HookJob:
    """Return the Job of a hook."""
    stands_in = spec.components[_STANDS_IN[hook.at]].name if hook.at in _STANDS_IN else ""
    again = place.order if hook.at is HookTime.ON_ROLLBACK else ""
    return HookJob(
        name=hook.name,
        job=job_name(place.run, hook.name, again),
        at=hook.at,
        component=hook.component or stands_in,
        template=filled(hook.job_template, place.tenant, place.version),
        timeout=hook.timeout or DEFAULT_TIMEOUT,
        is_irreversible=bool(hook.irreversible) and hook.at is not HookTime.ON_ROLLBACK,  # the way back is what that is about
    )


def probe_job(component: Component, cron_job: str, template: Mapping[str, Any], timeout: timedelta, place: Place) -> HookJob:
    """Return the Job that proves a CronJob: its own template, run once. It belongs to the component's converging."""
    return HookJob(
        name=f"probe/{cron_job}",
        job=job_name(place.run, f"probe/{cron_job}"),
        at=HookTime.POST_APPLY,
        component=component.name,
        template=template,
        timeout=timeout,
        reason=FailReason.NOT_CONVERGED,
    )


def template_problems(spec: TenantUpgradeSpec) -> tuple[str, ...]:
    """Return a sentence for each hook whose template cannot be a Job's, so that no API server need be asked."""
    return tuple(
        f"spec.hooks[{hook.name}].jobTemplate has no spec.template.spec.containers; write it like the jobTemplate of a CronJob"
        for hook in spec.hooks
        if not isinstance(_at(hook.job_template, "spec", "template", "spec").get("containers"), list)
    )


# Names and bodies


def job_name(run: str, hook: str, again: str = "") -> str:
    """Return the Job's name, at most 63 characters: run and hook; with a digest where that is too long, no Job's name, or begun again."""
    plain = f"{run}-{hook}"
    name = plain.replace(".", "-").replace("/", "-").lower()
    if name == plain and not again and len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(f"{plain}/{again}".encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: MAX_NAME_LENGTH - DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def filled(value: Any, tenant: str, version: str) -> Any:
    """Return a template with `{tenant}` and `{version}` replaced in every text; names of fields stay."""
    match value:
        case str():
            return value.replace("{tenant}", tenant).replace("{version}", version)
        case Mapping():
            return {key: filled(item, tenant, version) for key, item in value.items()}
        case list() | tuple():
            return [filled(item, tenant, version) for item in value]
        case _:
            return value


def job_body(hook: HookJob, place: Place) -> dict[str, Any]:
    """Return the Job as it is created: suspended, until the journal knows of it (`let_run`). So one that is not in the journal never ran.

    Its deadline is in it, so a hook's timeout holds without us. It cleans itself up only once its result is recorded (`parting`): one that
    is gone has no result.
    """
    metadata, spec = dict(_at(hook.template, "metadata")), dict(_at(hook.template, "spec"))
    pods = dict(_at(spec, "template"))
    stated = spec.get("activeDeadlineSeconds")
    longest = math.ceil(hook.timeout.total_seconds())
    spec.pop("ttlSecondsAfterFinished", None)
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": hook.job,
            "namespace": place.tenant,
            "labels": _labelled(metadata, place),
            "annotations": {key: value for key, value in _at(metadata, "annotations").items() if key != LET_RUN_ANNOTATION},
        },
        "spec": {"backoffLimit": BACKOFF_LIMIT}
        | spec
        | {
            "suspend": True,
            "activeDeadlineSeconds": min(stated, longest) if isinstance(stated, int) and stated > 0 else longest,
            "template": pods
            | {
                "metadata": dict(_at(pods, "metadata")) | {"labels": _labelled(_at(pods, "metadata"), place)},
                "spec": {"restartPolicy": "Never"} | dict(_at(pods, "spec")),
            },
        },
    }


def let_run(now: datetime) -> dict[str, Any]:
    """Return the change that lets a Job run. Its clock begins with it, however long ago the Job was created."""
    return {"metadata": {"annotations": {LET_RUN_ANNOTATION: now.isoformat()}}, "spec": {"suspend": False}}


def parting() -> dict[str, Any]:
    """Return the change that lets a Job go: it may clean itself up from now on."""
    return {"spec": {"ttlSecondsAfterFinished": int(KEPT.total_seconds())}}


def is_of(raw: Mapping[str, Any], place: Place) -> bool:
    """Tell whether a Job has our labels of this very run."""
    labels = (raw.get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in place.labels().items())


def is_stray(raw: Mapping[str, Any], place: Place) -> bool:
    """Tell whether a Job is ours, of another run, and was never let run. Asked under the tenant's lock, its run is over: nobody will."""
    labels, annotations = _at(raw, "metadata", "labels"), _at(raw, "metadata", "annotations")
    is_ours = INTENT_ANNOTATION in annotations and labels.get(TENANT_LABEL) == place.tenant
    is_idle = _at(raw, "spec").get("suspend") is True and LET_RUN_ANNOTATION not in annotations
    return is_ours and is_idle and labels.get(RUN_LABEL) != place.run


def _labelled(metadata: Mapping[str, Any], place: Place) -> dict[str, str]:
    return dict(_at(metadata, "labels")) | place.labels()


def _at(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path of a free-form object, {} where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


# What became of it


def view_of(raw: Mapping[str, Any]) -> HookJobView:
    """Return what a Job says of itself. Only Complete and Failed are ends: their forerunners (`FailureTarget`) may still be followed by pods."""
    metadata = raw["metadata"]
    conditions = (raw.get("status") or {}).get("conditions") or ()
    held = {str(one["type"]): one for one in conditions if one.get("status") == "True"}
    if "Complete" in held:
        state, message = HookState.SUCCEEDED, ""
    elif "Failed" in held:
        said = held["Failed"]
        state, message = HookState.FAILED, f"{said.get('reason') or 'Failed'}: {said.get('message') or 'no message'}"
        if said.get("reason") == "DeadlineExceeded" and not _had_pods(raw):
            message = f"{message[:200]}; it never had a pod: `{_describe(metadata)}` says why"
    else:
        state, message = HookState.RUNNING, ""
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    return HookJobView(
        tenant=str(metadata.get("namespace", "")),
        name=str(metadata["name"]),
        upgrade=str(labels.get(UPGRADE_LABEL, "")),
        state=state,
        message=message[:512],
        is_let_run=LET_RUN_ANNOTATION in annotations,
        running_since=_instant(_at(raw, "status").get("startTime")) or _instant(annotations.get(LET_RUN_ANNOTATION)),
    )


def overdue_message(raw: Mapping[str, Any]) -> str:
    """Say of a Job that is about to be deleted for its timeout what it did instead of ending."""
    metadata = raw["metadata"]
    if _at(raw, "spec").get("suspend") is True:
        return "it ran into its timeout while somebody else had it suspended, and was deleted"
    if not _had_pods(raw):
        events = f"kubectl get events -n {metadata.get('namespace', '')} --field-selector involvedObject.name={metadata['name']}"
        return f"it ran into its timeout without ever having a pod, and was deleted; `{events}` may say why"
    return "it ran into its timeout without a result, and was deleted"


def _describe(metadata: Mapping[str, Any]) -> str:
    return f"kubectl describe job -n {metadata.get('namespace', '')} {metadata['name']}"


def _had_pods(raw: Mapping[str, Any]) -> bool:
    """Tell whether a Job has, or had, pods. Where a policy or a quota refuses each of them, none is ever counted."""
    status = _at(raw, "status")
    return any(status.get(count) for count in ("active", "succeeded", "failed", "terminating"))


def _instant(value: object) -> datetime | None:
    """Return an instant that stands in a Job, None for anything else: whoever may edit Jobs of the tenant may have written it."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def record_of(status: TenantRunStatus, hook: HookJob) -> HookRecord | None:
    """Return what the journal says of this very Job; what it says of one of an earlier order is not about it."""
    return next((one for one in status.hooks if one.name == hook.name and one.job == hook.job), None)


def with_record(records: Iterable[HookRecord], record: HookRecord) -> tuple[HookRecord, ...]:
    """Return the journal with a record in its place, or appended in the order of starts."""
    kept = list(records)
    place = next((number for number, one in enumerate(kept) if one.name == record.name), None)
    if place is not None and kept[place].job == record.job:
        kept[place] = record
        return tuple(kept)
    return (*(one for one in kept if one.name != record.name), record)


def started(hook: HookJob, now: datetime) -> HookRecord:
    """Return the record of a Job that has just been created."""
    return HookRecord(name=hook.name, at=hook.at, component=hook.component, job=hook.job, irreversible=hook.is_irreversible, start_time=now)


def ended(record: HookRecord, state: HookState, message: str, now: datetime) -> HookRecord:
    """Return the record with its result."""
    return record.model_copy(update={"state": state, "message": message[:512], "completion_time": now})


def running(status: TenantRunStatus, at: HookTime) -> HookRecord | None:
    """Return the hook of one place that has begun and has no result yet."""
    return next((one for one in status.hooks if one.at is at and one.state is HookState.RUNNING), None)


def due_time(spec: TenantUpgradeSpec, record: HookRecord, seen: HookJobView, seen_since: datetime | None, now: datetime) -> datetime | None:
    """Return when a running Job is overdue, whatever it says of itself. Its clock begins when it may run, and stands while nobody looks.

    Args: seen_since: since when we see the cluster without a break.
    """
    timeout = next((hook.timeout or DEFAULT_TIMEOUT for hook in spec.hooks if hook.name == record.name), spec.health.timeout)
    return _due(timeout, seen, record.start_time, seen_since, now)


def is_overdue(raw: Mapping[str, Any], seen_since: datetime | None, now: datetime) -> bool:
    """Tell whether a Job of which the journal no longer tells has outlived its own deadline."""
    created, deadline = _instant(_at(raw, "metadata").get("creationTimestamp")), _at(raw, "spec").get("activeDeadlineSeconds")
    due = _due(timedelta(seconds=int(str(deadline))), view_of(raw), created, seen_since, now) if created and deadline else None
    return due is not None and now >= due


def _due(timeout: timedelta, seen: HookJobView, made: datetime | None, seen_since: datetime | None, now: datetime) -> datetime | None:
    """Return when time is up for a Job that was `made` then. That it runs only since a time to come is not believed: the tenant may say so."""
    running = seen.running_since if seen.running_since is not None and seen.running_since <= now + LATE else None
    since = max((time for time in (made, running, seen_since) if time is not None), default=None)
    return since + timeout + LATE if since is not None else None


def converging_since(status: TenantRunStatus) -> datetime | None:
    """Return since when the component at work has had its time to converge. Its own Jobs take none of it."""
    times = [status.applied_time]
    if status.applied_time is not None:
        times += [time for one in status.hooks if one.at is HookTime.POST_APPLY for time in (one.start_time, one.completion_time)]
    return max((time for time in times if time is not None), default=None)
