"""S12: what the API server takes and refuses, sample by sample; and S13's first moment: a fresh object is not yet observed."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from localcluster.access import Cluster
from localcluster.client import ApiError, KubeClient

from support.samples import Sample, samples

Unique = Callable[[str], str]
KINDS = ("RolloutPolicy", "TenantUpgrade", "TenantProfile", "TenantDecision", "UpgradeAction", "TenantRun")


@pytest.fixture(scope="module")
def tenant(cluster: Cluster) -> str:
    """A namespace for what is tried here."""
    name = f"manifests-{secrets.token_hex(3)}"
    cluster.apply_namespace(name)
    return name


async def send(kube: KubeClient, document: dict[str, Any], tenant: str, *, method: str = "POST", dry_run: bool = True) -> dict[str, Any]:
    """Send one manifest as `kubectl apply --dry-run=server` does: unknown fields are refused. Cluster-scoped kinds have no namespace."""
    body = copy.deepcopy(document)
    if body["kind"] in ("TenantProfile", "TenantDecision", "TenantRun"):
        body["metadata"]["namespace"] = tenant
    query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    path = await kube.path_of(body, named=method == "PUT")
    answer: dict[str, Any] = await kube.request(method, path, body=body, query=query)
    return answer


@pytest.mark.parametrize("sample", samples("valid"), ids=lambda sample: sample.name)
async def test_a_valid_manifest_is_taken_as_it_is(kube: KubeClient, tenant: str, sample: Sample) -> None:
    """Nothing that git says is changed; defaults are only added."""
    for document in sample.documents:
        taken = await send(kube, document, tenant)
        assert_holds(document["spec"], taken["spec"])


@pytest.mark.parametrize("sample", samples("invalid"), ids=lambda sample: sample.name)
async def test_a_bad_manifest_gets_its_sentence(kube: KubeClient, tenant: str, unique: Unique, sample: Sample) -> None:
    """The last document is refused, with the words that the sample promises."""
    *before, refused = copy.deepcopy(sample.documents)
    method = "POST"
    if before:  # a rule about changes: the object is there, and the last document changes it
        for document in (*before, refused):
            document["metadata"]["name"] = unique(document["metadata"]["name"])
        created = [await send(kube, document, tenant, dry_run=False) for document in before]
        refused["metadata"]["resourceVersion"] = created[-1]["metadata"]["resourceVersion"]
        method = "PUT"
    with pytest.raises(ApiError) as refusal:
        await send(kube, refused, tenant, method=method)
    assert refusal.value.status in (400, 422)
    assert sample.expected in refusal.value.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fresh_object_is_not_yet_observed(kube: KubeClient, tenant: str, unique: Unique, kind: str) -> None:
    """kstatus then says InProgress before the operator has looked, or even runs."""
    document = copy.deepcopy(next(sample.documents[0] for sample in samples("valid") if sample.documents[0]["kind"] == kind))
    if kind != "TenantProfile":
        document["metadata"]["name"] = unique("fresh")
    created = await send(kube, document, tenant, dry_run=False)
    namespace = created["metadata"].get("namespace")
    try:
        seen = await kube.get(kind, created["metadata"]["name"], namespace)
        assert seen["status"] == {"observedGeneration": -1}
    finally:
        await kube.delete(kind, created["metadata"]["name"], namespace)


async def test_all_kinds_are_in_the_category_and_have_their_short_names(kube: KubeClient) -> None:
    """`kubectl get tenantwave` lists them all."""
    resources = (await kube.request("GET", "/apis/tenantwave.io/v1alpha1"))["resources"]
    kinds = {each["kind"]: each for each in resources if "/" not in each["name"]}
    assert {kind: each["shortNames"] for kind, each in kinds.items()} == {
        "RolloutPolicy": ["rpol"],
        "TenantUpgrade": ["tupg"],
        "TenantProfile": ["tprof"],
        "TenantDecision": ["tdec"],
        "UpgradeAction": ["uact"],
        "TenantRun": ["trun"],
    }
    assert all(each["categories"] == ["tenantwave"] for each in kinds.values())
    assert {kind for kind, each in kinds.items() if each["namespaced"]} == {"TenantProfile", "TenantDecision", "TenantRun"}


async def test_no_definition_has_a_fault_that_the_api_server_only_reports(kube: KubeClient) -> None:
    """A schema that is not structural is stored and then ignored in part; the conditions say so."""
    for definition in await kube.list("CustomResourceDefinition"):
        if definition["spec"]["group"] == "tenantwave.io":
            conditions = {each["type"]: each["status"] for each in definition["status"]["conditions"]}
            assert conditions.get("NonStructuralSchema", "False") == "False", definition["metadata"]["name"]
            assert conditions["Established"] == "True"


def assert_holds(wanted: object, there: object, path: str = "spec") -> None:
    """Check that `there` has everything that is `wanted`, lists in the same order; more may be in objects."""
    match wanted, there:
        case dict(), dict():
            for key, value in wanted.items():
                assert key in there, f"{path}.{key} is gone"
                assert_holds(value, there[key], f"{path}.{key}")
        case list(), list():
            assert len(wanted) == len(there), path
            for index, (left, right) in enumerate(zip(wanted, there, strict=True)):
                assert_holds(left, right, f"{path}[{index}]")
        case _:
            assert wanted == there, path
