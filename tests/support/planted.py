"""Losses, planted on purpose into what the checker has seen: it must report every one of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from support.cases import COMPONENTS, FIXED, Case
from support.checker import MARKER, Expected, Named, Seen, template_of

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Planted:
    """One loss: `change` puts it there, and the checker must say `words`."""

    name: str
    change: Callable[[Scene], object]
    words: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checker saw of two tenants, one upgraded and one taken back; all of it may be changed."""

    seen: Seen
    through: Case
    back: Case
    expected: Mapping[str, Expected]

    def object(self, case: Case, name: str) -> Object:
        """Return an object of a tenant, such as `Deployment/api`."""
        return dict_of(self.seen.objects[case.name])[name]

    def data(self, case: Case, name: str) -> Object:
        """Return the data of a ConfigMap or Secret."""
        found: Object = self.object(case, name)["data"]
        return found

    def template(self, case: Case, name: str) -> Object:
        """Return a pod template."""
        return template_of(self.object(case, name))

    def container(self, case: Case, name: str) -> Object:
        """Return the container of a workload."""
        found: Object = self.template(case, name)["spec"]["containers"][0]
        return found

    def job(self, hook: str) -> str:
        """Return which Job of the upgraded tenant is a hook's."""
        objects = self.seen.objects[self.through.name]
        jobs = (name for name in objects if name.startswith("Job/"))
        return next(name for name in jobs if template_of(objects[name])["spec"]["containers"][0]["name"] == hook)

    def version(self) -> str:
        """Return what was made of the immutable ConfigMap."""
        return next(name for name in self.seen.objects[self.through.name] if name.startswith(f"ConfigMap/{FIXED}-"))

    def forget_version(self) -> None:
        """Take it away."""
        _forget(self, self.version())

    def leave_version(self) -> None:
        """Let the tenant that was taken back still have it."""
        dict_of(self.seen.objects[self.back.name])[self.version()] = self.object(self.through, self.version())

    def forget_job(self, hook: str) -> None:
        """Take a hook's Job away."""
        _forget(self, self.job(hook))

    def repeat_job(self, hook: str) -> None:
        """Let a hook have run twice."""
        dict_of(self.seen.objects[self.through.name])["Job/again"] = self.object(self.through, self.job(hook))

    def status(self, case: Case) -> Object:
        """Return the journal of a tenant."""
        found: Object = next(run for run in self.seen.runs if run["spec"]["tenant"] == case.name)["status"]
        return found

    def intent(self, case: Case, number: int) -> Object:
        """Return an intent by its number."""
        found: Object = next(one for one in self.status(case)["intents"] if one["seq"] == number)
        return found

    def record(self, case: Case) -> Object:
        """Return the data of its version record."""
        uid = self.seen.namespaces[case.name]["metadata"]["uid"]
        found: Object = next(one for one in self.seen.records if one["metadata"]["name"].endswith(uid))["data"]
        return found

    def saved(self, case: Case) -> Object:
        """Return the Secret of something that a tenant's journal refers to."""
        digest = self.status(case)["snapshots"][0]["digest"].removeprefix("sha256:")
        return dict_of(self.seen.saved)[f"snapshot-{digest}-0"]

    def lock(self, case: Case) -> Object:
        """Return a lock of the tenant."""
        uid = self.seen.namespaces[case.name]["metadata"]["uid"]
        return {"metadata": {"name": f"tenant-{uid}"}, "spec": {"holderIdentity": "somebody"}}


def dict_of(mapping: Mapping[str, Object]) -> dict[str, Object]:
    """Return the mapping as what it is, so that a loss may be planted in it."""
    assert isinstance(mapping, dict)
    return mapping


def list_of(found: Sequence[Object]) -> list[Object]:
    """Return the sequence as what it is, so that a loss may be planted in it."""
    assert isinstance(found, list)
    return found


def _forget(scene: Scene, name: str) -> None:
    del dict_of(scene.seen.objects[scene.through.name])[name]


def _mark(body: Object) -> None:
    body["metadata"].setdefault("annotations", {})[MARKER] = "somebody/1"


def _damage(secret: Object) -> None:
    secret["data"]["chunk"] = base64.b64encode(b"something else").decode()


def _other_image(name: str) -> Callable[[Scene], object]:
    return lambda scene: scene.container(scene.back, name).update(image="x:2.4.0")


WORKLOADS = tuple(f"{kind}/{component}" for component, (kind, _) in COMPONENTS.items())

PLANTED: tuple[Planted, ...] = (
    Planted("an own key is gone", lambda s: s.data(s.through, "ConfigMap/app-config").pop("own"), "app-config/own is None"),
    Planted(
        "an edit was overwritten", lambda s: s.data(s.through, "ConfigMap/app-config").update(mode="fast"), "app-config/mode is 'fast'"
    ),
    Planted(
        "an edit in a file is gone",
        lambda s: s.data(s.through, "ConfigMap/agent-config").update({"agent.yaml": "every: 30\n"}),
        "agent.yaml is",
    ),
    Planted("an edit in the soak is gone", lambda s: s.data(s.back, "ConfigMap/app-config").pop("late"), "app-config/late is None"),
    Planted(
        "the release's value is missing", lambda s: s.data(s.through, "ConfigMap/app-config").update(pool="10"), "app-config/pool is '10'"
    ),
    Planted("a dropped key is back", lambda s: s.data(s.through, "ConfigMap/app-config").update(gone="soon"), "app-config/gone is 'soon'"),
    Planted("a field was not taken back", lambda s: s.data(s.back, "ConfigMap/app-config").update(pool="20"), "app-config/pool is '20'"),
    Planted("a ConfigMap is gone", lambda s: _forget(s, "ConfigMap/agent-config"), "ConfigMap agent-config is gone"),
    Planted("a Secret changed", lambda s: s.data(s.through, "Secret/login").update(password="eA=="), "Secret login is changed"),
    Planted("a Secret is gone", lambda s: _forget(s, "Secret/login"), "Secret login is gone"),
    *(Planted(f"the wrong version in {name}", _other_image(name), "runs x:2.4.0") for name in WORKLOADS),
    Planted("a version is gone", lambda s: s.forget_version(), "there are 0 versions of fixed-config"),
    Planted("a version is left", lambda s: s.leave_version(), "should not be there"),
    Planted("a version lost an edit", lambda s: s.data(s.through, s.version()).pop("own"), "is {'size': '2'}"),
    Planted("a hook's Job is gone", lambda s: s.forget_job("migrate"), "hook migrate has 0 Jobs"),
    Planted("a hook ran twice", lambda s: s.repeat_job("smoke"), "hook smoke has 2 Jobs"),
    Planted("a workload is gone", lambda s: _forget(s, "Deployment/api"), "Deployment/api is gone"),
    Planted(
        "an annotation of ours stays in a pod template",
        lambda s: s.template(s.back, "Deployment/api")["metadata"].update(annotations={"tenantwave.io/config-digest": "x"}),
        "the pod template of Deployment/api is",
    ),
    Planted(
        "a marker is left on a ConfigMap", lambda s: _mark(s.object(s.through, "ConfigMap/app-config")), "the marker somebody/1 is left on"
    ),
    Planted(
        "a marker is left on a StatefulSet", lambda s: _mark(s.object(s.back, "StatefulSet/store")), "the marker somebody/1 is left on"
    ),
    Planted("a lock is left", lambda s: list_of(s.seen.leases).append(s.lock(s.back)), "the lock is left, held by somebody"),
    Planted(
        "the record is wrong",
        lambda s: s.record(s.through).update(record=s.record(s.through)["record"].replace("2.4.0", "2.3.1")),
        "is recorded to run",
    ),
    Planted("the record is gone", lambda s: list_of(s.seen.records).clear(), "is recorded to run nothing"),
    Planted("a TenantRun is in the wrong state", lambda s: s.status(s.through).update(state="Soaking"), "is Soaking in"),
    Planted(
        "a journal knows of no outcome", lambda s: s.intent(s.through, 1).update(state="Issued"), "nobody knows what became of intent 1"
    ),
    Planted(
        "a journal claims what never landed",
        lambda s: s.intent(s.through, 1).update(seq=99),
        "intent 99 is called Landed, and never landed",
    ),
    Planted(
        "a journal denies what landed",
        lambda s: s.intent(s.through, 2).update(state="Superseded"),
        "intent 2 is called Superseded, and landed",
    ),
    Planted("a journal took something not back", lambda s: s.intent(s.back, 2).update(state="Landed"), "intent 2 is not taken back"),
    Planted("numbers of intents repeat", lambda s: s.intent(s.through, 2).update(seq=1), "the numbers of its intents are"),
    Planted("a snapshot is gone", lambda s: dict_of(s.seen.saved).pop(s.saved(s.back)["metadata"]["name"]), "is lost or damaged"),
    Planted("a snapshot is damaged", lambda s: _damage(s.saved(s.back)), "is lost or damaged"),
    Planted("a snapshot can be changed", lambda s: s.saved(s.back).update(immutable=False), "can be changed"),
    Planted("a snapshot has an owner", lambda s: s.saved(s.back)["metadata"].update(ownerReferences=[{"uid": "x"}]), "has an owner"),
)


def conflicts_planted() -> Iterator[tuple[str, Object, str]]:
    """Yield a name, what a TenantRun shows, and what the checker must say, for a conflict that must name `60` and `30` at `app-config/every`."""
    whole = {"configMap": "app-config", "key": "every", "live": "60", "new": "30"}
    yield "a conflict is not named", {}, "no conflict names app-config/every"
    yield "a conflict lost the tenant's value", whole | {"live": ""}, "has '' as its live value, not '60'"
    yield "a conflict lost the release's value", whole | {"new": ""}, "has '' as its new value, not '30'"


NAMED = Named("app-config", "every", "60", "30")
