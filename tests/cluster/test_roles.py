"""Who may do what by the chart's roles: every deed is really done, with a token of each role, against the real API server."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from localcluster.access import Cluster
from localcluster.binaries import resolve
from localcluster.client import ApiError, KubeClient, Object, eventually

from support.roles import (
    BUILT_IN_ROLES,
    DEEDS,
    EVERYWHERE,
    HOME,
    NEXT_DOOR,
    PLATFORM,
    PLATFORM_ROLES,
    STRANGER,
    TENANT_ROLES,
    Cast,
    a_binding,
)
from support.samples import samples

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "tenant-controls.md"

NOBODY: frozenset[str] = frozenset()
ALL_READERS = PLATFORM_ROLES | TENANT_ROLES | BUILT_IN_ROLES
TENANT_WRITERS = {"tenant-admin", "edit", "admin"}
OPERATORS = {"platform-operator"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(cluster: Cluster) -> AsyncIterator[Cast]:
    """The chart, two tenants and a person for each role, for all tests of this file."""
    suffix = secrets.token_hex(3)
    async with (
        KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="test-admin") as kube,
        Cast(cluster, kube, resolve("helm"), f"roles-{suffix}", f"acme-{suffix}", f"beta-{suffix}") as cast,
    ):
        yield cast


# --- the table ---


class Row(NamedTuple):
    """Who may do these deeds to objects of these kinds in that place. Everybody else is refused."""

    verbs: str
    kinds: str
    where: str
    who: set[str] | frozenset[str]


READS, WRITES, STATUS = "get list watch", "create apply patch update delete", "write the status of"
TABLE = (
    Row(READS, "TenantProfile TenantDecision", HOME, ALL_READERS),
    Row(WRITES, "TenantProfile", HOME, TENANT_WRITERS),
    Row("create apply patch delete", "TenantDecision", HOME, TENANT_WRITERS),
    Row("update", "TenantDecision", HOME, NOBODY),
    Row(READS, "TenantProfile TenantDecision", NEXT_DOOR, PLATFORM_ROLES),
    Row("list watch", "TenantProfile TenantDecision TenantRun", EVERYWHERE, PLATFORM_ROLES),
    Row(WRITES, "TenantProfile TenantDecision", NEXT_DOOR, NOBODY),
    Row(READS, "TenantRun", PLATFORM, PLATFORM_ROLES),
    Row(READS, "TenantRun", HOME, PLATFORM_ROLES),
    Row(WRITES, "TenantRun", PLATFORM, NOBODY),
    Row(WRITES, "TenantRun", HOME, NOBODY),
    Row(READS, "RolloutPolicy TenantUpgrade UpgradeAction", HOME, PLATFORM_ROLES),
    Row(WRITES, "RolloutPolicy TenantUpgrade", HOME, OPERATORS),
    Row("create", "UpgradeAction", HOME, OPERATORS | {"approver"}),
    Row("apply patch delete", "UpgradeAction", HOME, OPERATORS),
    Row("update", "UpgradeAction", HOME, NOBODY),
    Row(STATUS, "TenantProfile TenantDecision RolloutPolicy TenantUpgrade UpgradeAction", HOME, NOBODY),
    Row(STATUS, "TenantRun", PLATFORM, NOBODY),
    Row("patch", "Namespace", HOME, NOBODY),
    Row("patch", "Namespace", NEXT_DOOR, NOBODY),
)


def verbs_of(row: Row) -> list[str]:
    return [row.verbs] if row.verbs in DEEDS else row.verbs.split()


DEED_ROWS = [
    pytest.param(verb, kind, row.where, row.who, id=f"{verb} {kind} {row.where}")
    for row in TABLE
    for kind in row.kinds.split()
    for verb in verbs_of(row)
]


@pytest.mark.parametrize(("verb", "kind", "where", "who"), DEED_ROWS)
async def test_a_deed_is_allowed_to_these_roles_and_to_no_other(cast: Cast, verb: str, kind: str, where: str, who: set[str]) -> None:
    assert await cast.who_may(verb, kind, where) == who


async def test_the_table_leaves_no_deed_out_at_home() -> None:
    """Each verb of each kind of ours is in exactly one row, wherever its objects live."""
    own = [(verb, kind) for row in TABLE for kind in row.kinds.split() for verb in verbs_of(row) if row.where in (HOME, PLATFORM)]
    kinds = {"RolloutPolicy", "TenantUpgrade", "TenantProfile", "TenantDecision", "UpgradeAction", "TenantRun"}
    assert {(verb, kind) for verb, kind in own if kind in kinds} == {(verb, kind) for verb in DEEDS for kind in kinds}


# --- a status is the operator's ---


async def test_a_status_that_a_tenant_writes_beside_its_spec_is_dropped(cast: Cast) -> None:
    """It need not be refused: the API server takes a status through its subresource alone."""
    client, body = cast.people["tenant-admin"].client, cast.manifest("TenantProfile")
    forged = {"status": {"products": [{"name": "shop", "version": "9.9.9"}]}}
    await cast.kube.delete("TenantProfile", "tenant", cast.home)
    created = await client.create(body | forged)
    patched = await client.patch("TenantProfile", "tenant", cast.home, forged)
    assert created["status"] == patched["status"] == {"observedGeneration": -1}


# --- orders: a verb for each type of UpgradeAction ---

ORDERS = {sample.documents[0]["spec"]["type"]: sample.name for sample in samples("valid") if sample.name.startswith("action-")}
MAY_ORDER = {"platform-operator": set(ORDERS), "approver": {"Approve", "Reject"}}


@pytest.mark.parametrize("order", ORDERS)
async def test_each_order_is_taken_from_those_who_have_its_verb(cast: Cast, order: str) -> None:
    """OverrideWindow among them: a tenant cannot lift a freeze of the platform, and neither can who may only approve."""
    taken = set()
    for role, person in cast.people.items():
        body = cast.manifest("UpgradeAction", sample=ORDERS[order])
        body["metadata"]["name"] = f"{cast.chart}-{order.lower()}"
        try:
            await person.client.create(body)
        except ApiError as error:
            if error.status != 403:
                raise
            continue
        taken.add(role)
        await cast.kube.delete("UpgradeAction", body["metadata"]["name"])
    assert taken == {role for role, orders in MAY_ORDER.items() if order in orders}


async def test_a_role_of_your_own_may_name_single_verbs_and_upgrades(cast: Cast) -> None:
    """The right to create UpgradeActions alone orders nothing."""
    role = f"{cast.chart}-pausers"
    rules = [
        {"apiGroups": ["tenantwave.io"], "resources": ["upgradeactions"], "verbs": ["create"]},
        {"apiGroups": ["tenantwave.io"], "resources": ["tenantupgrades"], "verbs": ["pause"], "resourceNames": ["shop-2-4-0"]},
    ]
    await cast.kube.create(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules}
    )
    try:
        pauser = (await cast.hire("pausers", cast.chart, role, in_all=True)).client

        async def what_it_gets(order: str, upgrade: str) -> str:
            body = cast.manifest("UpgradeAction", sample=ORDERS[order])
            body["metadata"]["name"], body["spec"]["upgrade"] = "tried", upgrade
            try:
                await pauser.create(body, dry_run=True)
            except ApiError as error:
                return error.message
            return "taken"

        async def is_bound() -> bool:
            return await what_it_gets("Pause", "shop-2-4-0") == "taken"

        await eventually(is_bound, saying="the role is bound")
        assert "you need verb retry on tenantupgrades/shop-2-4-0" in await what_it_gets("Retry", "shop-2-4-0")
        assert "you need verb pause on tenantupgrades/crm" in await what_it_gets("Pause", "crm")
    finally:
        cast.people.pop("pausers", None)
        await cast.kube.delete("ClusterRole", role)


# --- in nobody's name but one's own ---


@pytest.mark.parametrize("way", ["create", "apply"])
@pytest.mark.parametrize(("role", "kind"), [("tenant-admin", "TenantDecision"), ("approver", "UpgradeAction"), ("edit", "TenantDecision")])
async def test_whoever_asks_is_named_truly_or_not_at_all(cast: Cast, role: str, kind: str, way: str) -> None:
    if (role, way) == ("approver", "apply"):
        role = "platform-operator"  # who only approves may create, not apply
    person, body = cast.people[role], cast.manifest(kind)
    for name, is_taken in ((cast.people[STRANGER].user, False), (person.user, True), (None, True)):
        asked = {**body, "spec": {**body["spec"], **({"requestedBy": name} if name else {})}}
        await cast.kube.delete(kind, body["metadata"]["name"], body["metadata"].get("namespace"))
        if is_taken:
            await DEEDS[way](person.client, asked)
        else:
            with pytest.raises(ApiError, match="must have `requestedBy` equal to the user who creates it") as refusal:
                await DEEDS[way](person.client, asked)
            assert refusal.value.status == 403


@pytest.mark.parametrize("change", [{"requestedBy": "bea@acme.example.com"}, {"type": "OptIn"}], ids=lambda change: next(iter(change)))
async def test_a_decision_that_was_made_is_not_changed(cast: Cast, change: Object) -> None:
    """`patch` is granted for server-side apply, which creates with it."""
    body = await cast.kube.apply(cast.manifest("TenantDecision"))
    with pytest.raises(ApiError, match="a decision is immutable") as refusal:
        await cast.people["tenant-admin"].client.patch("TenantDecision", body["metadata"]["name"], cast.home, {"spec": change})
    assert refusal.value.status == 422


# --- nobody helps himself to more ---


@pytest.mark.parametrize(
    ("suffix", "is_taken"),
    [
        ("-tenant-viewer", True),
        ("-tenant-admin", True),
        ("-platform-viewer", False),
        ("-platform-operator", False),
        ("-approver", False),
        ("", False),
    ],
    ids=["tenant-viewer", "tenant-admin", "platform-viewer", "platform-operator", "approver", "the operator's own"],
)
async def test_an_admin_of_a_namespace_hands_on_what_is_the_tenants_and_no_more(cast: Cast, suffix: str, is_taken: bool) -> None:
    """Built-in `admin` may bind roles in its namespace, but only to rights that it has itself."""
    binding = a_binding(f"to-itself{suffix}", cast.chart + suffix, "admin", cast.home)
    if is_taken:
        await cast.people["admin"].client.create(binding)
        await cast.kube.delete("RoleBinding", binding["metadata"]["name"], cast.home)
    else:
        with pytest.raises(ApiError, match="attempting to grant RBAC permissions not currently held"):
            await cast.people["admin"].client.create(binding)
    with pytest.raises(ApiError, match='cannot create resource "rolebindings"'):
        await cast.people["tenant-admin"].client.create(binding)


# --- the guide ---

UNTIL_THE_BINDING_IS_SEEN = """
as_the_account="--namespace acme --as=system:serviceaccount:acme:upgrades"
timeout 30 bash -c "until kubectl auth can-i create tenantdecisions $as_the_account; do sleep 0.1; done"
"""
"""The authorizer hears of a new binding a moment later: sooner than a person types the next command, but not sooner than a script."""


async def test_every_command_of_the_guide_does_what_it_says(cast: Cast, tmp_path: Path) -> None:
    """In the order of the page, as one script; only the names are this test's. The profile is there, as the operator would have made it."""
    await cast.kube.apply({**cast.manifest("TenantProfile"), "spec": {}})
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    bound, *then = blocks
    blocks = [bound, UNTIL_THE_BINDING_IS_SEEN, *then]
    script = "\n".join(blocks).replace("acme", cast.home).replace("tenantwave-tenant", f"{cast.chart}-tenant")
    environment = {
        "PATH": f"{resolve('kubectl').parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(cast.cluster.kubeconfig),
    }
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euxo", "pipefail", "-c", script),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    assert re.search(rf"Username +system:serviceaccount:{cast.home}:upgrades", printed), printed
    spec = (await cast.kube.get("TenantProfile", "tenant", cast.home))["spec"]
    assert (spec["timeZone"], spec["windows"][0]["name"]) == ("America/New_York", "weekend")
    made = {body["metadata"]["name"]: body["spec"] for body in await cast.kube.list("TenantDecision", cast.home)}
    made.pop(cast.manifest("TenantDecision")["metadata"]["name"], None)  # of the tests above
    assert len(made) == 2, "one by hand, one from git, and the third was taken back"
    assert made.pop("in-git-defer-to-december") == next(iter(made.values()))
    assert next(iter(made)).startswith("defer-")
    await cast.kube.delete("RoleBinding", "upgrades", cast.home)  # "take it back": its token is still valid, and worth nothing
    async with KubeClient.from_kubeconfig(tmp_path / f"{cast.home}.kubeconfig") as tenant:
        await eventually(lambda: is_refused(tenant, cast.home), saying="the binding is gone")


async def is_refused(client: KubeClient, namespace: str) -> bool:
    try:
        await client.list("TenantDecision", namespace)
    except ApiError as error:
        return error.status == 403
    return False
