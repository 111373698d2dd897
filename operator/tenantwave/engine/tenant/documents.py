"""What we write in a tenant, seen alike: how an object is read, compared, stored, changed and taken back.

A `Document` knows one object by name. Its *part* is what of the object a run is about: the content of a ConfigMap, or the version fields
of a workload. None as a part means that the object does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, INTENT_ANNOTATION, TARGET_ANNOTATION, Kind
from tenantwave.api.meta import ObjectRef
from tenantwave.core import blobs
from tenantwave.core.preservation import (
    ConfigMapContent,
    MergeResult,
    Rules,
    Subject,
    body_of,
    changes,
    content_of,
    is_never_merged,
    matching_fields,
    merge_back,
    rebase_goal,
    touched_fields,
)
from tenantwave.engine.tenant.failure import Failed
from tenantwave.ports import Body, Driver

Part = TypeVar("Part")

Values = Mapping[str, str]


class Document(Protocol[Part]):
    """One object of the tenant, and the part of it that a run is about."""

    @property
    def kind(self) -> Kind:
        """Which kind of object it is."""

    @property
    def ref(self) -> ObjectRef:
        """Its name in the journal."""

    def read(self, raw: Body | None) -> Part | None:
        """Return the part as it stands in the object."""

    def pack(self, part: Part | None) -> bytes:
        """Return the part as a blob."""

    def unpack(self, blob: bytes) -> Part | None:
        """Return the part in a blob."""

    def fields(self, before: Part | None, after: Part | None) -> tuple[str, ...]:
        """Return the paths that a write from `before` to `after` sets."""

    def matching(self, part: Part | None, after: Part | None, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of `fields` in which `part` equals `after`."""

    def patch(self, raw: Body, before: Part, after: Part) -> tuple[dict[str, Any], bool]:
        """Return the patch from `before` to `after`, and whether it is a strategic one."""

    def body(self, part: Part, saved: Body | None) -> dict[str, Any]:
        """Return a new object with this part; `saved` is what stood there once."""

    def rebased(self, goal: Part | None, previous_after: Part | None, this_before: Part | None) -> Part | None:
        """Return a rollback's goal after one more landed write."""

    def back(self, after: Part | None, live: Part | None, goal: Part | None) -> Part | None:
        """Return what a rollback leaves: what is still ours goes back, later edits stay. Raises Failed where that cannot be."""


AnyDocument = Document[Any]
"""One object of the journal, whatever its part."""


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """A ConfigMap of the tenant: everything that preservation sees of it."""

    tenant: str
    name: str
    rules: Rules
    subject: Subject
    target: str = ""
    """What the catalogue calls it, where it is one of the versions of an immutable ConfigMap."""

    @property
    def kind(self) -> Kind:
        """Which kind of object it is."""
        return CONFIG_MAP

    @property
    def ref(self) -> ObjectRef:
        """Its name in the journal."""
        return ObjectRef(api_version="v1", kind="ConfigMap", namespace=self.tenant, name=self.name)

    def read(self, raw: Body | None) -> ConfigMapContent | None:
        """Return the content, without labels and annotations that belong to tools."""
        return None if raw is None else content_of(raw)

    def pack(self, part: ConfigMapContent | None) -> bytes:
        """Return the content as a blob."""
        return blobs.content_blob(part)

    def unpack(self, blob: bytes) -> ConfigMapContent | None:
        """Return the content in a blob."""
        return blobs.content_from(blob)

    def fields(self, before: ConfigMapContent | None, after: ConfigMapContent | None) -> tuple[str, ...]:
        """Return the changed keys, labels and annotations as JSON Pointers."""
        return touched_fields(before, after)

    def matching(self, part: ConfigMapContent | None, after: ConfigMapContent | None, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of `fields` in which the content equals `after`."""
        return matching_fields(part or ConfigMapContent(), after or ConfigMapContent(), fields)

    def patch(self, raw: Body, before: ConfigMapContent, after: ConfigMapContent) -> tuple[dict[str, Any], bool]:
        """Return a JSON merge patch of the changed keys alone."""
        return changes(before, after), False

    def body(self, part: ConfigMapContent, saved: Body | None) -> dict[str, Any]:
        """Return a new ConfigMap. Labels and annotations of tools on the saved one are kept; its finalizers and owners are not.

        Where there is no saved one the release brings it, and the object says so: later releases go on with it.
        """
        body = body_of(part)
        metadata: dict[str, Any] = dict(body.pop("metadata", {}))  # type: ignore[call-overload]
        for section in ("labels", "annotations"):
            marks = ((saved or {}).get("metadata") or {}).get(section) or {}
            kept = {key: value for key, value in marks.items() if is_never_merged(key) and key != INTENT_ANNOTATION}
            if combined := kept | dict(metadata.get(section) or {}):
                metadata[section] = combined
        if self.target or saved is None:
            metadata["annotations"] = {**metadata.get("annotations", {}), TARGET_ANNOTATION: self.subject.config_map}
        identity = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"name": self.name, "namespace": self.tenant}}
        return identity | body

    def rebased(
        self, goal: ConfigMapContent | None, previous_after: ConfigMapContent | None, this_before: ConfigMapContent | None
    ) -> ConfigMapContent | None:
        """Return a rollback's goal after one more landed write: the old goal with what was edited between our two writes."""
        return rebase_goal(goal, previous_after, this_before, self.rules, self.subject)

    def back(self, after: ConfigMapContent | None, live: ConfigMapContent | None, goal: ConfigMapContent | None) -> ConfigMapContent | None:
        """Return what a rollback leaves. Later edits always stay."""
        return self.merged_back(after, live, goal).content

    def merged_back(self, after: ConfigMapContent | None, live: ConfigMapContent | None, goal: ConfigMapContent | None) -> MergeResult:
        """Return what a rollback leaves, with the later edits on paths of ours, which stay, as `settled`."""
        return merge_back(after, live, goal, self.rules, self.subject)


@dataclass(frozen=True, slots=True)
class WorkloadDocument:
    """The version fields of a workload-like object, as its driver reads and writes them."""

    tenant: str
    name: str
    kind: Kind
    driver: Driver
    paths: tuple[str, ...]
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Reference path -> all names that stand for its ConfigMap: what of the pod template is meant is never told by how a name looks."""

    @property
    def ref(self) -> ObjectRef:
        """Its name in the journal."""
        return ObjectRef(api_version=self.kind.api_version, kind=self.kind.name, namespace=self.tenant, name=self.name)

    def read(self, raw: Body | None) -> Values | None:
        """Return the values of the version fields."""
        if raw is None:
            return None
        referred = self.driver.references(raw) if self.names else frozenset()
        references = {path: ",".join(sorted(referred & names)) for path, names in self.names.items()}
        return {**self.driver.current(raw, [path for path in self.paths if path not in self.names]), **references}

    def pack(self, part: Values | None) -> bytes:
        """Return the values as a blob."""
        return blobs.ABSENT if part is None else blobs.values_blob(part)

    def unpack(self, blob: bytes) -> Values | None:
        """Return the values in a blob."""
        return None if blob == blobs.ABSENT else blobs.values_from(blob)

    def fields(self, before: Values | None, after: Values | None) -> tuple[str, ...]:
        """Return the paths whose value changes. A reference that is not there cannot be put back: nobody knows any more where it was."""
        old, new = before or {}, after or {}
        changed = {path for path in old.keys() | new.keys() if old.get(path, "") != new.get(path, "")}
        return tuple(sorted(path for path in changed if path not in self.names or (old.get(path) and new.get(path))))

    def matching(self, part: Values | None, after: Values | None, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of `fields` in which the values are equal."""
        return tuple(path for path in fields if (part or {}).get(path, "") == (after or {}).get(path, ""))

    def patch(self, raw: Body, before: Values, after: Values) -> tuple[dict[str, Any], bool]:
        """Return the driver's patch of the changed fields. Of a reference, every place changes that has a name which is not to be there."""
        changed = {path: after.get(path, "") for path in self.fields(before, after)}
        others: dict[str, str] = {}
        for path in self.names.keys() & changed.keys():
            aim, found = set(changed[path].split(",")), set(before[path].split(","))
            others |= dict.fromkeys(self.names[path] - aim, min(aim - found or aim))
        change = self.driver.change(raw, {path: value for path, value in changed.items() if path not in self.names}, others)
        return dict(change.patch), change.strategic

    def body(self, part: Values, saved: Body | None) -> dict[str, Any]:
        """Refuse: a workload is never created by us."""
        raise Failed(FailReason.DELETED, f"{self.kind.name} {self.name} is gone; create it again, then Retry or Resolve")

    def rebased(self, goal: Values | None, previous_after: Values | None, this_before: Values | None) -> Values | None:
        """Return a rollback's goal after one more landed write: a field that somebody changed between our two writes is his."""
        found, left, aims = this_before or {}, previous_after or {}, goal or {}
        untouched = {path for path in aims if found.get(path, "") == left.get(path, "")}
        return {path: aims[path] if path in untouched else found.get(path, "") for path in found.keys() | aims.keys()}

    def back(self, after: Values | None, live: Values | None, goal: Values | None) -> Values | None:
        """Return the goal. A reference to a ConfigMap that somebody has changed since stays.

        Raises: Failed where somebody else has changed the version since: then nobody knows what should run.
        """
        if live is None:
            raise Failed(FailReason.DELETED, f"{self.kind.name} {self.name} is gone; create it again, then Retry or Resolve")
        for path in self.fields(after, goal):
            if path.endswith("/image") and live.get(path, "") not in ((after or {}).get(path, ""), (goal or {}).get(path, "")):
                where = f"{path.split('/')[-2]} of {self.kind.name} {self.name}"
                raise Failed(
                    FailReason.FOREIGN_VERSION_CHANGE,
                    f"{where} was set to {live.get(path) or 'nothing'} by somebody else; agree on the version, then Resolve",
                )
        references = {
            path: _names_back(live.get(path, ""), (after or {}).get(path, ""), value)
            for path, value in (goal or {}).items()
            if path in self.names
        }
        return dict(live) | dict(goal or {}) | references


def _names_back(live: str, after: str, goal: str) -> str:
    """Return which names a pod template's references to one ConfigMap go back to, place by place: ours to the goal, all others stay."""
    return ",".join(sorted({goal if name == after else name for name in live.split(",")} - {""}))
