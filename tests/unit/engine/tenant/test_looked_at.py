"""Which ConfigMaps a run looks at, and from where the next one goes on with those that it did not."""

from __future__ import annotations

from typing import Any

import pytest

from support.tenant_story import ACME, NEW, OLD, S, Story, a_deployment, a_spec
from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, PRODUCT_LABEL, TARGET_ANNOTATION, VERSION_LABEL
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.plan import Deed
from tenantwave.core.tenant_run import succeeded
from tenantwave.engine.views import pristine

SELECTOR = {"configMaps": {"matchLabels": {"app": "shop"}}}
EXPRESSION = {"configMaps": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}
NEXT = {**NEW, "worker-config": {"threads": "6"}, "extra-config": {"added": "more"}}


def a_spec_of_api(**changes: Any) -> Any:
    """A TenantUpgrade that knows of the Deployment api alone."""
    document = a_spec().document()
    return a_spec(components=[one for one in document["components"] if one["name"] == "api"], **changes)


def label(story: Story, *names: str) -> None:
    """Give ConfigMaps of the tenant the label that the selector asks for."""
    for name in names:
        story.cluster.edit(CONFIG_MAP, ACME, name, {"metadata": {"labels": {"app": "shop"}}})


def preserved(story: Story) -> dict[str, int]:
    """ConfigMap -> edits of the tenant that were kept."""
    return {one.config_map: one.kept for one in story.status.preserved}


async def test_by_default_it_looks_at_what_any_workload_of_the_tenant_refers_to() -> None:
    """The Deployment worker is no component, and mounts a ConfigMap of the release all the same."""
    story = await Story(spec=a_spec_of_api()).begin()
    await story.run(S.SUCCEEDED)
    assert story.data("worker-config") == NEW["worker-config"]
    assert "worker-config" in preserved(story)
    await story.release("2.5.0", NEXT)
    await story.run(S.SUCCEEDED)
    assert story.data("worker-config") == NEXT["worker-config"]
    assert preserved(story)["worker-config"] == 0


async def test_what_nobody_refers_to_stays_as_it_is_and_goes_on_from_there() -> None:
    """Once a workload refers to it, it is brought from the version that it has, without a conflict that the tenant never made."""
    story = await Story(spec=a_spec_of_api()).begin()
    del story.cluster.objects[DEPLOYMENT.plural, ACME, "worker"]
    await story.run(S.SUCCEEDED)
    assert story.status.notes == ("worker-config: changed in 2.4.0, but no workload refers to it, so it stays as it is",)
    assert story.data("worker-config") == OLD["worker-config"]
    assert "worker-config" not in preserved(story)
    story.cluster.put(DEPLOYMENT, a_deployment("worker", "worker-config"))
    await story.release("2.5.0", NEXT)
    await story.run(S.SUCCEEDED)
    assert story.data("worker-config") == NEXT["worker-config"]
    assert preserved(story)["worker-config"] == 0


@pytest.mark.parametrize("selector", [{}, SELECTOR, EXPRESSION], ids=["default", "labels", "expression"])
async def test_what_the_release_brought_is_upgraded_and_dropped_like_all_else(selector: dict[str, Any]) -> None:
    """Whatever its labels, and whether a workload refers to it or reads it from the API."""
    story = await Story(spec=a_spec(preservation=selector)).begin()
    label(story, *OLD)
    await story.run(S.SUCCEEDED)
    assert story.data("extra-config") == NEW["extra-config"]
    await story.release("2.5.0", NEXT)
    await story.run(S.SUCCEEDED)
    assert story.data("extra-config") == NEXT["extra-config"]
    await story.release("2.6.0", {name: data for name, data in NEXT.items() if name != "extra-config"})
    await story.run(S.SUCCEEDED)
    assert not story.cluster.has(CONFIG_MAP, ACME, "extra-config")


async def test_the_base_stays_where_the_selector_passes_a_config_map_by() -> None:
    """It has not been merged: the next run that looks at it starts from what it holds. Found at the release, it is no further either."""
    story = await Story(spec=a_spec(preservation=SELECTOR)).begin()
    label(story, "app-config")
    await story.run(S.SUCCEEDED)
    assert story.status.notes == ("worker-config: changed in 2.4.0, but preservation.configMaps does not select it, so it stays as it is",)
    assert story.data("worker-config") == OLD["worker-config"]
    status = story.status.model_copy(update={"state": S.QUEUED, "plan": None})
    story.set_status(status)
    outcome = succeeded(status, RunReason.ALREADY_AT_RELEASE, "runs 2.4.0 already", story.clock.now())
    await story.step(Deed.LET_GO, outcome=outcome)
    label(story, "worker-config")
    await story.release("2.5.0", NEXT)
    await story.run(S.SUCCEEDED)
    assert story.data("worker-config") == NEXT["worker-config"]
    assert preserved(story)["worker-config"] == 0


@pytest.mark.parametrize("state", [S.SOAKING, S.SUCCEEDED])
async def test_a_rollback_puts_the_base_back_to_that_of_the_version_before(state: TenantState) -> None:
    """The TenantRun of an upgrade that is edited has moved it once before."""
    story = await Story().begin()
    await story.run(S.SUCCEEDED)
    before = story.record()
    await story.release("2.5.0", NEXT)
    await story.run(state)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    after = story.record()
    assert before is not None
    assert after is not None
    assert (after.version, after.base) == ("2.4.0", before.base)


async def test_one_of_the_tenants_own_that_was_passed_by_has_no_base() -> None:
    """What 2.4.0 ships under its name was never merged into it, so that an upgrade from 2.4.0 must not take that for its base."""
    story = await Story(spec=a_spec(preservation=SELECTOR), live={**OLD, "extra-config": {"added": "mine"}}).begin()
    label(story, *OLD)
    await story.run(S.SUCCEEDED)
    label(story, "extra-config")
    await story.release("2.5.0", NEXT)
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.UNKNOWN_BASE)
    assert story.data("extra-config") == {"added": "mine"}


async def test_one_that_only_the_new_version_knows_and_the_tenant_has_has_an_unknown_base() -> None:
    """Also where no workload refers to it."""
    story = await Story(live={**OLD, "extra-config": {"added": "mine"}}).begin()
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.UNKNOWN_BASE)
    assert story.data("extra-config") == {"added": "mine"}


NEVER_TOUCHED: dict[str, dict[str, Any]] = {
    "certificates": {"annotations": {"service.beta.openshift.io/inject-cabundle": "true"}},
    "leader election": {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}},
    "controller": {"ownerReferences": [{"kind": "Kafka", "name": "main", "uid": "k", "controller": True}]},
}


@pytest.mark.parametrize("metadata", NEVER_TOUCHED.values(), ids=NEVER_TOUCHED)
async def test_what_the_cluster_or_a_controller_writes_is_left_alone(metadata: dict[str, Any]) -> None:
    """A catalogue entry of that name changes nothing."""
    story = await Story().begin()
    story.cluster.edit(CONFIG_MAP, ACME, "worker-config", {"metadata": metadata})
    await story.run(S.SUCCEEDED)
    assert story.data("worker-config") == OLD["worker-config"]
    assert story.data("app-config") == NEW["app-config"]
    assert len(story.status.notes) == 1
    assert "worker-config" not in preserved(story)


async def test_kept_counts_edits_and_no_labels() -> None:
    """Real ConfigMaps have labels and annotations, and nobody edited them."""
    story = await Story(live={**OLD, "worker-config": {"threads": "2", "mine": "1"}}).begin()
    marks = {"labels": {"app": "shop", "app.kubernetes.io/part-of": "shop"}, "annotations": {"reloader.stakater.com/match": "true"}}
    for name in OLD:
        story.cluster.edit(CONFIG_MAP, ACME, name, {"metadata": marks})
    await story.run(S.SUCCEEDED)
    assert preserved(story) == {"app-config": 0, "extra-config": 0, "worker-config": 1}


async def test_labels_of_the_release_come_with_a_new_object_and_are_the_tenants_from_then_on() -> None:
    """The objects that the tenant has keep theirs, whatever labels the catalogue gives its entries."""
    story = await Story().begin()
    await story.release("2.4.0", NEW, labels={"app": "shop", "tier": "web"})
    await story.run(S.SUCCEEDED)
    brought = story.cluster.see(CONFIG_MAP, ACME, "extra-config")["metadata"]
    assert brought["labels"] == {"app": "shop", "tier": "web"}
    assert "labels" not in story.cluster.see(CONFIG_MAP, ACME, "app-config")["metadata"]
    story.cluster.edit(CONFIG_MAP, ACME, "extra-config", {"metadata": {"labels": {"app": "mine", "tier": None}}})
    await story.release("2.5.0", NEXT, labels={"app": "store", "tier": "db"})
    await story.run(S.SUCCEEDED)
    assert story.cluster.see(CONFIG_MAP, ACME, "extra-config")["metadata"]["labels"] == {"app": "mine"}
    assert story.data("extra-config") == NEXT["extra-config"]


async def test_what_was_brought_and_is_deleted_by_the_tenant_stays_deleted() -> None:
    """Its labels in the catalogue are no change of the release."""
    story = await Story().begin()
    await story.release("2.4.0", NEW, labels={"app": "shop"})
    await story.run(S.SUCCEEDED)
    story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]["template"]["spec"]["volumes"].append(
        {"name": "extra", "configMap": {"name": "extra-config", "optional": True}}
    )
    del story.cluster.objects[CONFIG_MAP.plural, ACME, "extra-config"]
    await story.release("2.5.0", {**NEXT, "extra-config": NEW["extra-config"]}, labels={"app": "store"})
    await story.run(S.SUCCEEDED)
    assert not story.cluster.has(CONFIG_MAP, ACME, "extra-config")


def test_labels_of_an_entry_that_are_about_itself_are_not_delivered() -> None:
    """Ours, and those by which a tool would find the tenant's object and delete it; nor any annotation."""
    labels = {
        PRODUCT_LABEL: "shop",
        VERSION_LABEL: "2.4.0",
        "kustomize.toolkit.fluxcd.io/name": "catalogue",
        "app.kubernetes.io/instance": "catalogue",
        "app.kubernetes.io/managed-by": "Helm",
    }
    metadata = {"name": "e", "labels": labels | {"app": "shop"}, "annotations": {TARGET_ANNOTATION: "app-config", "team": "red"}}
    content = pristine({"metadata": metadata, "data": {"a": "1"}})
    assert (content.labels, content.annotations, content.data) == ({"app": "shop"}, {}, {"a": "1"})
