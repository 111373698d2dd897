"""Immutable ConfigMaps: a new object for each content, pod templates pointed at it, and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, NEW, OLD, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, JOB, POD, REPLICA_SET, TARGET_ANNOTATION, Kind
from tenantwave.core.config_versions import version_name
from tenantwave.core.preservation import content_of
from tenantwave.faults import Fault, Forbidden, Invalid, Unavailable

APP = version_name("app-config", content_of({"data": NEW["app-config"]}))

EVERYWHERE: dict[str, Any] = {
    "volumes": [
        {"name": "config", "configMap": {"name": "app-config", "optional": True, "items": [{"key": "app.yaml", "path": "a"}]}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "app-config"}}]}},
        {"name": "other", "configMap": {"name": "app-config-extra"}},
    ],
    "initContainers": [{"name": "init", "image": "i:1", "envFrom": [{"configMapRef": {"name": "app-config"}}]}],
    "containers": [
        {
            "name": "api",
            "image": "shop/api:2.3.1",
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "subPath": "a"}],
            "envFrom": [
                {"prefix": "X_", "configMapRef": {"name": "app-config", "optional": True}},
                {"configMapRef": {"name": "app-config-extra"}},
            ],
            "env": [
                {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app-config", "key": "log.level"}}},
                {"name": "PLAIN", "value": "1"},
            ],
        }
    ],
}


async def begun(**more: Any) -> Story:
    """A tenant whose `app-config` is immutable and labelled, and whose pod template names it in all ways there are."""
    story = await Story(**more).begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True, "metadata": {"labels": {"team": "red"}}})
    api = story.cluster.see(DEPLOYMENT, ACME, "api")
    api["spec"]["template"]["spec"] = copy.deepcopy(EVERYWHERE)
    story.cluster.play()
    story.cluster.writes.clear()
    return story


def template(story: Story, name: str = "api") -> dict[str, Any]:
    """Return a pod template's spec."""
    spec: dict[str, Any] = story.cluster.see(DEPLOYMENT, ACME, name)["spec"]["template"]["spec"]
    return spec


def names(story: Story) -> set[str]:
    """Return the tenant's ConfigMaps."""
    return {name for plural, namespace, name in story.cluster.objects if (plural, namespace) == ("configmaps", ACME)}


async def test_a_new_content_gets_a_new_object_and_every_reference_follows() -> None:
    """In the patch that sets the image; the old object stays as it was."""
    story = await begun()
    old = story.cluster.see(CONFIG_MAP, ACME, "app-config")
    await story.run(S.SUCCEEDED)
    made = story.cluster.see(CONFIG_MAP, ACME, APP)
    assert (made["data"], made["immutable"], made["metadata"]["labels"]) == (NEW["app-config"], True, {"team": "red"})
    assert made["metadata"]["annotations"] == {TARGET_ANNOTATION: "app-config"}
    assert story.cluster.see(CONFIG_MAP, ACME, "app-config") == old
    expected = copy.deepcopy(EVERYWHERE)
    expected["containers"][0]["image"] = "shop/api:2.4.0"
    text = str(expected).replace("'name': 'app-config'", f"'name': '{APP}'")
    assert str(template(story)) == text
    (patch,) = [one for one in story.cluster.writes if (one.kind, one.name) == ("Deployment", "api") and "spec" in one.body]
    assert patch.body["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/api:2.4.0"
    assert story.leftovers() == []
    plan = story.status.plan
    assert plan is not None
    assert [(one.name, one.target, one.action) for one in plan.objects if one.target] == [(APP, "app-config", "Create")]
    assert {one.config_map for one in story.status.preserved} == set(NEW)


@pytest.mark.parametrize("state", [S.CONVERGING, S.SOAKING, S.SUCCEEDED])
async def test_a_rollback_repoints_and_then_deletes_what_it_made(state: Any) -> None:
    """Also that of a wave that had succeeded."""
    story = await begun()
    before = story.tenant_objects()
    await story.run(state)
    story.cluster.writes.clear()
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])
    order = [(one.verb, one.name) for one in story.cluster.writes if one.namespace == ACME and one.name in ("api", APP)]
    assert order.index(("strategic", "api")) < order.index(("delete", APP))


async def upgraded(story: Story, versions: tuple[str, ...]) -> list[str]:
    """Upgrade on and on, each time to another content; return the names of the versions."""
    made = []
    for version in versions:
        await story.release(version, OLD | {"app-config": OLD["app-config"] | {"db.pool": version}})
        await story.run(S.SUCCEEDED)
        made.append(next(one for one in story.references("api") if one.startswith("app-config-") and one != "app-config-extra"))
    return made


async def test_the_next_upgrade_starts_from_the_version_in_force_and_old_ones_go() -> None:
    """The tenant's own object stays for ever; of ours the last two."""
    story = await begun()
    made = await upgraded(story, ("2.4.0", "2.5.0", "2.6.0", "2.7.0"))
    assert len(set(made)) == 4
    assert names(story) == {"app-config", "worker-config", *made[2:]}
    assert story.data(made[3])["db.pool"] == "2.7.0"
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert names(story) == {"app-config", "worker-config", made[2]}
    assert made[2] in story.references("api")


@pytest.mark.parametrize("kind", [POD, REPLICA_SET], ids=["pod", "old ReplicaSet"])
async def test_a_version_that_somebody_needs_stays(kind: Kind) -> None:
    """A pod of an old Job still reads it, or somebody may roll the Deployment back by hand."""
    story = await begun()
    first, *_ = await upgraded(story, ("2.4.0",))
    spec: dict[str, Any] = {"volumes": [{"name": "v", "configMap": {"name": first}}]}
    body = {"metadata": {"name": "old", "namespace": ACME}, "spec": spec if kind is POD else {"template": {"spec": spec}}}
    story.cluster.put(kind, body)
    made = await upgraded(story, ("2.5.0", "2.6.0", "2.7.0"))
    assert names(story) == {"app-config", "worker-config", first, *made[1:]}


REFUSALS: dict[str, tuple[str, Kind, Fault]] = {
    "deletes need a ticket": ("delete", CONFIG_MAP, Forbidden("admission webhook denied: deletes need a ticket")),
    "a policy against deletes": ("delete", CONFIG_MAP, Invalid("ValidatingAdmissionPolicy 'keep' denied request")),
    "a webhook that is down": ("delete", CONFIG_MAP, Unavailable("failed calling webhook")),
    "ReplicaSets not to be read": ("list", REPLICA_SET, Forbidden("replicasets.apps is forbidden")),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_old_versions_that_cannot_be_removed_hold_nobody_up(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant that is proven has succeeded; the next upgrade tidies up what this one could not."""
    verb, refused, fault = REFUSALS[case]
    story = await begun()
    made = await upgraded(story, ("2.4.0", "2.5.0"))
    real = getattr(story.cluster, verb)

    async def refuses(kind: Kind, namespace: str, *args: Any, **more: Any) -> Any:
        if kind == refused and namespace == ACME:
            raise fault
        return await real(kind, namespace, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(story.cluster, verb, refuses)
        made += await upgraded(story, ("2.6.0", "2.7.0"))
    assert names(story) == {"app-config", "worker-config", *made}
    assert (story.image("api"), story.leftovers()) == ("shop/api:2.7.0", [])
    made += await upgraded(story, ("2.8.0",))
    assert names(story) == {"app-config", "worker-config", *made[3:]}


async def test_two_components_share_one_object() -> None:
    """It is made once, before the first of them; each is pointed at it in its turn."""
    story = await begun()
    worker = story.cluster.see(DEPLOYMENT, ACME, "worker")
    worker["spec"]["template"]["spec"]["volumes"].append({"name": "shared", "configMap": {"name": "app-config"}})
    before = story.tenant_objects()
    await story.run(S.SUCCEEDED)
    assert APP in story.references("worker") & story.references("api")
    assert len([one for one in story.cluster.writes if one.verb == "create" and one.name == APP]) == 1
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.tenant_objects() == before


USERS: dict[str, dict[str, Any]] = {
    "Deployment/extra": {"spec": {"selector": {}, "template": {"metadata": {"labels": {"app": "extra"}}, "spec": EVERYWHERE}}},
    "Job/report": {"spec": {"template": {"spec": EVERYWHERE | {"containers": [{"name": "report", "image": "report:slow"}]}}}},
}


@pytest.mark.parametrize("user", USERS)
async def test_a_name_that_somebody_else_needs_must_stay(user: str) -> None:
    """An ImmutableChange: held with nothing written, and it goes on when that user is gone."""
    story = await begun()
    kind = {"Deployment": DEPLOYMENT, "Job": JOB}[user.partition("/")[0]]
    name = user.partition("/")[2]
    story.cluster.put(kind, USERS[user] | {"metadata": {"name": name, "namespace": ACME}})
    before = story.tenant_objects()
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.CONFIG_CONFLICT)
    assert f"app-config is immutable, its content changes, and {user} needs its name" in story.status.message
    assert story.tenant_objects() == before


async def test_a_finished_job_needs_nothing() -> None:
    """Nor does one that its CronJob controls."""
    story = await begun()
    over = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    story.cluster.put(JOB, USERS["Job/report"] | over | {"metadata": {"name": "over", "namespace": ACME}})
    owner = {"kind": "CronJob", "name": "c", "uid": "c", "controller": True}
    story.cluster.put(JOB, USERS["Job/report"] | {"metadata": {"name": "own", "namespace": ACME, "ownerReferences": [owner]}})
    await story.run(S.SUCCEEDED)
    assert APP in names(story)


async def test_an_immutable_config_map_that_no_component_names_must_stay() -> None:
    """There is nothing that could be pointed at a new one."""
    story = await Story(spec=a_spec(preservation={"configMaps": {"matchLabels": {"team": "red"}}})).begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True, "metadata": {"labels": {"team": "red"}}})
    for volume in template(story)["volumes"]:
        volume["configMap"]["name"] = "something-else"
    await story.step()
    assert "no component refers to it" in story.status.message


async def test_what_changes_no_value_is_written_in_place() -> None:
    """Labels of an immutable ConfigMap may change."""
    story = await begun(new={name: OLD[name] for name in OLD})
    await story.run(S.SUCCEEDED)
    assert names(story) == set(OLD)


@pytest.mark.parametrize("side", ["tenant", "release"])
async def test_the_field_immutable_merges_like_a_key(side: str) -> None:
    """Made immutable by the release, it is made anew, for the way back; the tenant's switch is kept."""
    story = await Story(new={"app-config": NEW["app-config"], "worker-config": OLD["worker-config"]}).begin()
    if side == "tenant":
        story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True})
    else:
        await story.release("2.4.0", {"app-config": NEW["app-config"], "worker-config": OLD["worker-config"]}, immutable=True)
    before = story.tenant_objects()
    await story.run(S.SUCCEEDED)
    assert story.cluster.see(CONFIG_MAP, ACME, APP)["immutable"] is True
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.tenant_objects() == before


async def test_a_name_that_is_taken_is_never_taken_over() -> None:
    """Somebody else's object may be called like our version."""
    story = await begun()
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": APP, "namespace": ACME}, "data": {"their": "own"}})
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.CONFIG_CONFLICT)
    assert f"{APP} is there already" in story.status.message


async def test_a_reference_that_the_tenant_changed_later_stays() -> None:
    """A rollback takes back the image, and leaves the pods on the ConfigMap that the tenant has chosen."""
    story = await begun()
    await story.run(S.SOAKING)
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": "mine", "namespace": ACME}, "data": {}})
    text = copy.deepcopy(template(story))
    for volume in text["volumes"]:
        if "configMap" in volume and volume["configMap"]["name"] == APP:
            volume["configMap"]["name"] = "mine"
    story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]["template"]["spec"] = text
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert template(story)["volumes"][0]["configMap"]["name"] == "mine"
    assert story.image("api") == "shop/api:2.3.1"
    assert APP not in story.references("api")


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.ROLLED_BACK])
async def test_a_name_that_only_looks_like_a_version_is_the_tenants(state: Any) -> None:
    """A date or a hash behind the name makes no version of ours: what refers to it stays, there and back."""
    own = "app-config-0123456789"
    story = await begun()
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": own, "namespace": ACME}, "data": {"their": "own"}})
    for name in ("api", "worker"):
        template(story, name)["volumes"].append({"name": "own", "configMap": {"name": own}})
    story.cluster.play()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    assert template(story)["volumes"][-1] == {"name": "own", "configMap": {"name": own}}
    assert story.references("api") >= {own, APP}
    if state is S.ROLLED_BACK:
        story.order_back()
    await story.run(state)
    assert own in story.references("api") & story.references("worker")
    if state is S.ROLLED_BACK:
        assert story.tenant_objects() == before


async def test_a_version_that_somebody_has_begun_to_use_stays_and_the_rollback_ends() -> None:
    """The tenant has copied its Deployment while it soaked."""
    story = await begun()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    volumes = [{"name": "v", "configMap": {"name": APP}}]
    copied = {"containers": [{"name": "x", "image": "x:1"}], "volumes": volumes}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": copied}}
    story.cluster.put(DEPLOYMENT, {"metadata": {"name": "copy", "namespace": ACME}, "spec": spec})
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert names(story) == {"app-config", "worker-config", APP}
    assert f"{APP} stays" in story.status.message
    assert story.tenant_objects()["deployments/api"] == before["deployments/api"]
    assert story.leftovers() == []


@pytest.mark.parametrize("other", ["app-config", "mine"])
async def test_of_several_references_each_that_is_ours_goes_back(other: str) -> None:
    """The tenant has changed one place while it soaked, to the old name or to one of its own; the others are still ours."""
    story = await begun()
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": "mine", "namespace": ACME}, "data": {}})
    await story.run(S.SOAKING)
    spec = copy.deepcopy(template(story))
    spec["volumes"][0]["configMap"]["name"] = other
    story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]["template"]["spec"] = spec
    story.order_back()
    await story.run(S.ROLLED_BACK)
    expected = copy.deepcopy(EVERYWHERE)
    expected["volumes"][0]["configMap"]["name"] = other
    assert template(story) == expected
    assert APP not in names(story)
    assert story.leftovers() == []


async def test_force_pre_image_goes_over_what_can_be_told() -> None:
    """References that were moved away altogether stay where the tenant has put them: nobody knows any more where they were."""
    story = await begun()
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": "mine", "namespace": ACME}, "data": {}})
    await story.run(S.SOAKING)
    moved = json.loads(json.dumps(template(story)).replace(f'"{APP}"', '"mine"'))
    story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]["template"]["spec"] = moved
    story.order_back()
    await story.run(S.ROLLED_BACK, overwrite_later_edits=True)
    assert "mine" in story.references("api")
    assert (story.image("api"), APP in names(story), story.leftovers()) == ("shop/api:2.3.1", False, [])


async def test_components_that_refer_to_several_versions_are_not_guessed_about() -> None:
    """A person says which of them is in force."""
    story = await begun()
    (made,) = await upgraded(story, ("2.4.0",))
    worker = story.cluster.see(DEPLOYMENT, ACME, "worker")
    worker["spec"]["template"]["spec"]["volumes"].append({"name": "old", "configMap": {"name": "app-config"}})
    await story.release("2.5.0", OLD | {"app-config": OLD["app-config"] | {"db.pool": "2.5.0"}})
    await story.step()
    assert story.status.state is S.HELD
    assert f"several names, app-config and {made}" in story.status.message


async def test_a_full_quota_holds_and_goes_on_when_it_is_raised() -> None:
    """The dry-run of the create is refused; nothing is written."""
    story = await begun()
    real, is_full = story.cluster.create, [True]

    async def create(kind: Any, body: Any, *, dry_run: bool = False) -> dict[str, Any]:
        if is_full[0] and kind is CONFIG_MAP and body["metadata"]["namespace"] == ACME:
            raise Forbidden("exceeded quota: few, requested: count/configmaps=1, used: 3, limited: 3", quota=True)
        return await real(kind, body, dry_run=dry_run)

    story.cluster.create = create  # type: ignore[method-assign]
    before = story.tenant_objects()
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.QUOTA_EXCEEDED, False)
    assert "raise the quota" in story.status.message
    assert (story.tenant_objects(), story.leftovers()) == (before, [])
    await story.preview()
    assert story.status.reason == FailReason.QUOTA_EXCEEDED
    is_full[0] = False
    await story.preview()
    assert story.status.state is S.QUEUED


Hook = Callable[[int, Request], None]


def dies_at(number: int) -> Hook:
    """Let the process die at this write."""
    met: list[int] = []

    def hook(now: int, request: Request) -> None:
        if now == number and not met:
            met.append(now)
            raise CrashNow

    return hook


async def there(story: Story) -> None:
    """Upgrade."""
    await story.run(S.SUCCEEDED, turns=60)


async def there_and_back(story: Story) -> None:
    """Upgrade, and take it back."""
    for state in (S.SOAKING, S.ROLLED_BACK):
        if story.status.state not in (S.ROLLING_BACK, S.ROLLED_BACK):
            await story.run(S.SOAKING, turns=60)
            story.order_back()
        if state is S.ROLLED_BACK:
            await story.run(S.ROLLED_BACK, turns=60)


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("way", [there, there_and_back])
async def test_dying_at_any_write_changes_nothing_about_the_end(way: Any, is_before: bool) -> None:
    """No version too many, none too few, no marker, no lock."""
    undisturbed = await begun()
    await way(undisturbed)
    count, end = len(undisturbed.cluster.writes), undisturbed.tenant_objects()
    for number in range(1, count + 1):
        story = await begun()
        hook = dies_at(number)
        if is_before:
            story.cluster.before = hook
        else:
            story.cluster.after = hook
        await way(story)
        assert (story.tenant_objects(), story.leftovers()) == (end, []), f"died at write {number}"
