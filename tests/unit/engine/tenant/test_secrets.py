"""Secrets of a tenant in a run: recorded, compared, put back where they are gone, and never shown."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from fakes import CrashNow, FakeCluster, Request
from support.tenant_story import ACME, OWN, Story, a_spec
from tenantwave.api.action import Resolution
from tenantwave.api.kinds import DEPLOYMENT, INTENT_ANNOTATION, SECRET, TENANT_RUN, Kind
from tenantwave.api.run_records import MAX_SECRET_RECORDS, SecretRecord, SecretState
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.blobs import secret_name
from tenantwave.core.plan import Deed
from tenantwave.engine.tenant.seals import KEY_NAME, Seals
from tenantwave.faults import Conflict, Fault, Forbidden, Invalid, Unavailable

S = TenantState
PASSWORD, OTHER = "hunter2-of-acme", "changed-by-acme"
REFERRED = ("database", "tls", "pull", "token", "projected")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def a_secret(name: str, value: str = PASSWORD, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": ACME} | more.pop("metadata", {})
    return {"metadata": metadata, "type": "Opaque", "data": {"password": encoded(value)}} | more


async def begun(mode: str, cluster: FakeCluster | None = None, secrets: tuple[dict[str, Any], ...] = (a_secret("database"),)) -> Story:
    """A tenant in preflight whose Deployment api refers to Secrets in every way."""
    story = await Story(spec=a_spec(preservation={"secrets": mode}), cluster=cluster or FakeCluster()).begin()
    for body in secrets:
        story.cluster.put(SECRET, body)
    container = {
        "name": "api",
        "env": [{"name": "DB", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}}],
        "envFrom": [{"secretRef": {"name": "token"}}],
    }
    volumes = [
        {"name": "tls", "secret": {"secretName": "tls"}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
    ]
    spec = {"containers": [container], "volumes": volumes, "imagePullSecrets": [{"name": "pull"}]}
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"template": {"spec": spec}}})
    story.cluster.writes.clear()
    return story


def states(story: Story) -> dict[str, SecretState]:
    return {one.name: one.state for one in story.status.secrets}


def the(story: Story, name: str = "database") -> SecretRecord:
    return next(one for one in story.status.secrets if one.name == name)


def value(story: Story, name: str = "database") -> str:
    return base64.b64decode(story.cluster.see(SECRET, ACME, name)["data"]["password"]).decode()


async def taken_back(story: Story, **order: Any) -> None:
    story.order_back()
    await story.run(S.ROLLED_BACK, **order)


@pytest.mark.parametrize("mode", ["DigestOnly", "Snapshot"])
async def test_every_way_of_referring_is_recorded(mode: str) -> None:
    """Volumes, projected ones, envFrom, env and imagePullSecrets; others are none of our business."""
    story = await begun(mode, secrets=tuple(a_secret(name) for name in (*REFERRED, "nobodys")))
    await story.run(S.SUCCEEDED)
    assert states(story) == dict.fromkeys(REFERRED, SecretState.SAME)
    assert {bool(one.snapshot) for one in story.status.secrets} == {mode == "Snapshot"}
    assert len({one.digest for one in story.status.secrets}) == len(REFERRED), "equal values do not show"


async def test_by_default_no_secret_of_a_tenant_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    story = await begun("Ignore")
    inner, asked = story.cluster.get, []

    async def get(kind: Any, namespace: str, name: str) -> Any:
        asked.append((kind.name, namespace))
        return await inner(kind, namespace, name)

    monkeypatch.setattr(story.cluster, "get", get)
    await story.run(S.SUCCEEDED)
    assert ("ConfigMap", OWN) in asked, "what is asked for is seen here"
    assert ("Secret", ACME) not in asked
    assert story.status.secrets == ()
    assert not story.cluster.has(SECRET, OWN, KEY_NAME)


@pytest.mark.parametrize("mode", ["DigestOnly", "Snapshot"])
async def test_a_change_and_a_deletion_are_told_at_the_end(mode: str) -> None:
    story = await begun(mode, secrets=(a_secret("database"), a_secret("tls")))
    await story.run(S.SOAKING)
    story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER)}})
    story.cluster.remove(SECRET, ACME, "tls")
    await story.run(S.SUCCEEDED)
    assert states(story) == {"database": SecretState.CHANGED, "tls": SecretState.DELETED}
    assert value(story) == OTHER
    assert not story.cluster.has(SECRET, ACME, "tls"), "a run that succeeds puts nothing back"


async def test_a_rollback_puts_back_what_was_deleted_and_leaves_what_was_changed() -> None:
    story = await begun("Snapshot", secrets=(a_secret("database"), a_secret("tls", immutable=True)))
    await story.run(S.SOAKING)
    story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER)}})
    story.cluster.remove(SECRET, ACME, "tls")
    await taken_back(story)
    assert states(story) == {"database": SecretState.CHANGED, "tls": SecretState.RESTORED}
    assert (value(story), value(story, "tls")) == (OTHER, PASSWORD)
    assert story.cluster.see(SECRET, ACME, "tls")["immutable"] is True
    assert story.leftovers() == []


async def test_digests_alone_put_nothing_back() -> None:
    story = await begun("DigestOnly")
    await story.run(S.SOAKING)
    story.cluster.remove(SECRET, ACME, "database")
    await taken_back(story)
    assert states(story) == {"database": SecretState.DELETED}
    assert not story.cluster.has(SECRET, ACME, "database")


async def test_what_is_put_back_has_no_dead_owner_and_keeps_its_marks() -> None:
    """A finalizer would wait for ever, a dead owner would take it along; Helm and Argo CD must know it again."""
    story = await begun("Snapshot", secrets=())
    api = story.cluster.see(DEPLOYMENT, ACME, "api")["metadata"]["uid"]
    owners = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": api},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker", "uid": "of-another-one"},
        {"apiVersion": "example.com/v1", "kind": "Thing", "name": "unknown", "uid": "unknown"},
    ]
    marks = {"meta.helm.sh/release-name": "shop", "argocd.argoproj.io/tracking-id": "shop:/Secret:acme/database"}
    metadata = {"annotations": marks, "labels": {"app.kubernetes.io/managed-by": "Helm"}, "ownerReferences": owners, "finalizers": ["a/b"]}
    story.cluster.put(SECRET, a_secret("database", metadata=metadata))
    await story.run(S.SOAKING)
    story.cluster.remove(SECRET, ACME, "database")
    await taken_back(story)
    made = story.cluster.see(SECRET, ACME, "database")["metadata"]
    assert [owner["name"] for owner in made["ownerReferences"]] == ["api"]
    assert made["annotations"] == marks
    assert made["labels"] == {"app.kubernetes.io/managed-by": "Helm"}
    assert "finalizers" not in made


@pytest.mark.parametrize(
    "more",
    [
        {"type": "kubernetes.io/service-account-token"},
        {"type": "helm.sh/release.v1"},
        {"metadata": {"ownerReferences": [{"kind": "Anything", "name": "x", "uid": "1", "controller": True}]}},
        {"metadata": {"ownerReferences": [{"kind": "ExternalSecret", "name": "x", "uid": "1"}]}},
        {"metadata": {"annotations": {"cert-manager.io/certificate-name": "shop"}}},
        {"metadata": {"labels": {"reconcile.external-secrets.io/created-by": "x"}}},
        {"metadata": {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}},
    ],
    ids=["token", "helm", "controller", "external", "cert-manager", "external label", "sealed"],
)
@pytest.mark.parametrize("how", ["deleted", "changed and forced"])
async def test_what_a_controller_writes_is_neither_saved_nor_put_back(more: dict[str, Any], how: str) -> None:
    """Expired credentials would return."""
    story = await begun("Snapshot", secrets=(a_secret("database", **more),))
    await story.run(S.SOAKING)
    assert the(story).snapshot == ""
    assert "never restored" in the(story).note
    if how == "deleted":
        story.cluster.remove(SECRET, ACME, "database")
        await taken_back(story)
        assert not story.cluster.has(SECRET, ACME, "database")
    else:
        story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER)}})
        await taken_back(story, overwrite_later_edits=True)
        assert value(story) == OTHER
        assert "never restored" in the(story).note


async def test_force_pre_image_puts_the_saved_value_over_a_change() -> None:
    """The later value stays in the snapshot."""
    story = await begun("Snapshot")
    await story.run(S.SOAKING)
    story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER), "new": encoded("key")}})
    await taken_back(story, overwrite_later_edits=True)
    assert (value(story), states(story)) == (PASSWORD, {"database": SecretState.RESTORED})
    assert "new" not in story.cluster.see(SECRET, ACME, "database")["data"]
    [intent] = [one for one in story.status.intents if one.target.kind == "Secret"]
    assert intent.before
    assert story.leftovers() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"metadata": {"ownerReferences": [{"kind": "SealedSecret", "name": "db", "uid": "1", "controller": True}]}},
            "SealedSecret db writes it",
        ),
        ({"immutable": True}, "immutable now"),
    ],
    ids=["a controller took it over", "immutable"],
)
async def test_force_pre_image_names_what_it_leaves(change: dict[str, Any], said: str) -> None:
    story = await begun("Snapshot")
    await story.run(S.SOAKING)
    story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER)}})
    story.cluster.edit(SECRET, ACME, "database", change)
    await taken_back(story, overwrite_later_edits=True)
    assert (value(story), the(story).state) == (OTHER, SecretState.CHANGED)
    assert said in the(story).note


@pytest.mark.parametrize(
    ("mode", "denied", "needs"),
    [
        ("DigestOnly", "get", "rbac.tenantSecrets=Read,"),
        ("Snapshot", "get", "rbac.tenantSecrets=ReadWrite,"),
        ("Snapshot", "create", "rbac.tenantSecrets=ReadWrite,"),
    ],
)
async def test_a_missing_right_is_found_before_any_write(mode: str, denied: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exact value to set."""
    story = await begun(mode)
    inner = getattr(story.cluster, denied)

    async def refusing(kind: Any, *arguments: Any, **more: Any) -> Any:
        where = arguments[0] if isinstance(arguments[0], str) else arguments[0]["metadata"]["namespace"]
        if kind == SECRET and where == ACME:
            raise Forbidden('secrets is forbidden: User "tenantwave" cannot do that')
        return await inner(kind, *arguments, **more)

    monkeypatch.setattr(story.cluster, denied, refusing)
    await story.run(S.HELD)
    assert story.status.reason == "PreflightFailed"
    assert needs in story.status.message
    assert not story.status.written
    seen = []
    await story.step(Deed.PREVIEW)
    seen.append(story.status.state)
    monkeypatch.undo()
    await story.step(Deed.PREVIEW)
    seen.append(story.status.state)
    assert seen == [S.HELD, S.QUEUED], "it is queued again when the right is there, and not before"


async def test_a_right_that_is_taken_away_later_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    story = await begun("DigestOnly")
    await story.run(S.SOAKING)
    inner = story.cluster.get

    async def refusing(kind: Any, namespace: str, name: str) -> Any:
        if kind == SECRET and namespace == ACME:
            raise Forbidden("no")
        return await inner(kind, namespace, name)

    monkeypatch.setattr(story.cluster, "get", refusing)
    await story.run(S.SUCCEEDED)
    assert states(story) == {"database": SecretState.UNKNOWN}


async def test_digests_of_another_key_do_not_compare() -> None:
    """Nobody is accused of a change that he did not make."""
    story = await begun("DigestOnly")
    await story.run(S.SOAKING)
    story.cluster.remove(SECRET, OWN, KEY_NAME)
    story.restart()
    await story.run(S.SUCCEEDED)
    assert states(story) == {"database": SecretState.UNKNOWN}
    assert "key" in the(story).note


async def test_two_operators_that_make_the_key_at_once_share_one() -> None:
    cluster = FakeCluster()
    first, second = Seals(cluster, OWN), Seals(cluster, OWN)

    def faster(number: int, request: Request) -> None:
        cluster.before = lambda number, request: None
        body = request.body | {"data": {"key": base64.b64encode(b"k" * 32).decode()}}
        cluster.put(SECRET, body)

    cluster.before = faster
    assert (await first.seal()).name == (await second.seal()).name
    assert "k" * 32 not in repr(await first.seal())


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("forced", [False, True], ids=["deleted", "changed and forced"])
async def test_a_process_that_dies_at_any_write_of_a_rollback_is_continued(place: str, forced: bool) -> None:
    """The Secret is as it was, without a marker, and said to be restored."""
    for fatal in range(1, 40):
        story = await begun("Snapshot")
        await story.run(S.SOAKING)
        if forced:
            story.cluster.edit(SECRET, ACME, "database", {"data": {"password": encoded(OTHER)}})
        else:
            story.cluster.remove(SECRET, ACME, "database")
        story.order_back()
        first = len(story.cluster.writes)
        died: list[int] = []

        def die(number: int, request: Request, at: int = first + fatal, died: list[int] = died) -> None:
            if number == at:
                died.append(number)
                raise CrashNow

        setattr(story.cluster, place, die)
        await story.run(S.ROLLED_BACK, overwrite_later_edits=forced)
        assert (value(story), states(story)) == (PASSWORD, {"database": SecretState.RESTORED}), fatal
        assert story.leftovers() == [], fatal
        if not died:
            assert fatal > 8, "the rollback has fewer writes than it should"
            return
    raise AssertionError("the rollback never came through undisturbed")


async def test_no_value_leaves_secrets(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Not the value, not its base64, not a plain digest of value, content or object; also where the API server repeats it in a refusal."""
    caplog.set_level("DEBUG")
    story = await begun("Snapshot", secrets=(a_secret("database"), a_secret("tls", OTHER)))
    await story.run(S.SOAKING)
    saved = {name: story.cluster.see(SECRET, ACME, name) for name in ("database", "tls")}
    story.cluster.edit(SECRET, ACME, "tls", {"data": {"password": encoded("third")}})
    story.cluster.remove(SECRET, ACME, "database")

    def refuse(number: int, request: Request) -> None:
        if request.kind == "Secret" and request.namespace == ACME:
            raise Invalid(f"Secret is invalid: data: {request.body}")

    story.cluster.before = refuse
    story.order_back()
    await story.run(S.ROLLBACK_FAILED)
    assert "putting back Secret database was refused" in story.status.message
    assert story.image("api") == "shop/api:2.3.1", "the workloads are back all the same"
    shown = json.dumps(story.cluster.see(TENANT_RUN, OWN, f"shop.{ACME}")) + caplog.text + "".join(capsys.readouterr())
    shown += json.dumps([body for key, body in story.cluster.objects.items() if key[0] != SECRET.plural])
    shown += " ".join(name for _, _, name in story.cluster.objects)
    for text in (PASSWORD, OTHER, "third"):
        content = {"type": "Opaque", "data": {"password": encoded(text)}}
        forbidden = [text, encoded(text), *(hashlib.sha256(one).hexdigest() for one in plain(text, content, saved))]
        assert [one for one in forbidden if one in shown] == []


def plain(text: str, content: dict[str, Any], saved: dict[str, Any]) -> list[bytes]:
    """Return what somebody would guess that a digest is of."""
    values: list[Any] = [content, content["data"], {"values": content}, *saved.values()]
    return [text.encode(), encoded(text).encode(), *(json.dumps(one, sort_keys=True, separators=(",", ":")).encode() for one in values)]


async def test_more_secrets_than_can_be_recorded_are_refused_and_never_left_out() -> None:
    story = await begun("DigestOnly")
    many = [{"secretRef": {"name": f"secret-{number}"}} for number in range(MAX_SECRET_RECORDS)]
    story.cluster.edit(DEPLOYMENT, ACME, "worker", {"spec": {"template": {"spec": {"containers": [{"name": "worker", "envFrom": many}]}}}})
    await story.run(S.HELD)
    assert story.status.reason == "PreflightFailed"
    assert "set spec.preservation.secrets to Ignore" in story.status.message


async def test_nothing_was_written_so_nothing_is_put_back() -> None:
    """A Secret that is deleted before the first write is the tenant's own business."""
    story = await begun("Snapshot")
    await story.step()
    story.cluster.remove(SECRET, ACME, "database")
    await taken_back(story)
    assert not story.cluster.has(SECRET, ACME, "database")
    assert states(story) == {"database": SecretState.DELETED}


async def test_the_marker_stands_on_a_secret_only_while_the_run_is_open() -> None:
    story = await begun("Snapshot")
    await story.run(S.SOAKING)
    story.cluster.remove(SECRET, ACME, "database")
    seen: list[str] = []
    story.cluster.after = lambda number, request: seen.extend(
        [str(request.body["metadata"]["annotations"].get(INTENT_ANNOTATION))]
        if (request.kind, request.verb) == ("Secret", "create") and request.namespace == ACME
        else []
    )
    story.set_status(story.status.model_copy(update={"resolution": Resolution.ROLLBACK}))
    await taken_back(story)
    uid = story.cluster.see(TENANT_RUN, OWN, f"shop.{ACME}")["metadata"]["uid"]
    assert [marker.rpartition("/")[0] for marker in seen] == [uid]
    assert story.leftovers() == []


@pytest.mark.parametrize("deleted", [False, True], ids=["still-there", "deleted"])
async def test_a_lost_copy_stops_no_workload(deleted: bool) -> None:
    """It is not even asked for where the Secret is there; where it is gone, all else goes back, and the Secret is named."""
    story = await begun("Snapshot")
    await story.run(S.SOAKING)
    story.cluster.remove(SECRET, OWN, secret_name(the(story).snapshot, 0))
    if deleted:
        story.cluster.remove(SECRET, ACME, "database")
    story.restart()
    story.order_back()
    await story.run(S.ROLLBACK_FAILED if deleted else S.ROLLED_BACK)
    assert (story.image("api"), story.image("worker")) == ("shop/api:2.3.1", "shop/worker:2.3.1")
    if deleted:
        assert story.status.reason == "SnapshotCorrupt"
        assert "Secret database is to be put back, and its saved copy is lost" in story.status.message


@pytest.mark.parametrize("fault", [Unavailable, Conflict])
async def test_what_a_webhook_says_of_a_secret_is_heard_by_nobody(fault: type[Fault], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may deny a dry-run with any code, and repeat the content in its message."""
    story = await begun("Snapshot")
    ask = story.cluster.merge_patch

    async def denied(kind: Kind, *where: Any, **more: Any) -> dict[str, Any]:
        if kind is SECRET and more.get("dry_run"):
            raise fault(f"patch secrets/database: the webhook denied the request: {PASSWORD} is on a list")
        return await ask(kind, *where, **more)

    monkeypatch.setattr(story.cluster, "merge_patch", denied)
    with pytest.raises(fault) as told:
        await story.step()
    assert PASSWORD not in str(told.value) + told.value.message
