"""The chart's rights against the table of reasons in RBAC.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from support.chart import CHART
from tenantwave.api.action import ActionType
from tenantwave.api.kinds import WORKLOAD_KINDS
from tenantwave.shell.rights import Right as Needed
from tenantwave.shell.rights import needed

Render = Callable[..., list[dict[str, Any]]]
TENANT_SECRETS = ", only with `rbac.tenantSecrets: "


@dataclass(frozen=True, slots=True)
class Right:
    """One rule of one role."""

    role: str
    group: str
    resources: frozenset[str]
    verbs: frozenset[str]


def rendered_rights(objects: list[dict[str, Any]]) -> Iterator[Right]:
    for role in objects:
        if role["kind"] not in {"Role", "ClusterRole"}:
            continue
        for rule in role["rules"]:
            (group,) = rule["apiGroups"]
            name = role["metadata"]["name"].replace("tenantwave", "<name>", 1)
            yield Right(f"{role['kind']} `{name}`", group or "core", frozenset(rule["resources"]), frozenset(rule["verbs"]))


def explained_rights() -> Iterator[tuple[Right, str]]:
    for line in (CHART / "RBAC.md").read_text().splitlines():
        if line.startswith(("| ClusterRole", "| Role `")):
            role, group, resources, verbs, why = (cell.strip() for cell in line.strip("|").split("|"))
            yield Right(role, group, frozenset(resources.split(", ")), frozenset(verbs.split(", "))), why


@pytest.mark.parametrize(
    ("rbac", "left_out"),
    [
        ({}, {TENANT_SECRETS}),
        ({"tenantAccess": "RoleBindings", "tenantNamespaces": ["acme"]}, {TENANT_SECRETS}),
        ({"tenantSecrets": "None"}, {TENANT_SECRETS}),
        ({"tenantSecrets": False}, {TENANT_SECRETS}),
        ({"tenantSecrets": "Read"}, {"ReadWrite"}),
        ({"tenantSecrets": "ReadWrite"}, {"Read`"}),
        ({"tenantSecrets": True}, {"Read`"}),
        ({"createApproverRole": False}, {TENANT_SECRETS, "-approver"}),
    ],
    ids=["default", "RoleBindings", "no Secrets", "false", "Secrets read", "Secrets put back", "true", "no approver"],
)
def test_every_right_has_its_reason_and_every_reason_its_right(rendered: Render, rbac: dict[str, Any], left_out: set[str]) -> None:
    explained = Counter(
        Right(right.role.partition(TENANT_SECRETS)[0], right.group, right.resources, right.verbs)
        for right, why in explained_rights()
        if why and not any(mark in right.role for mark in left_out)
    )
    assert Counter(rendered_rights(rendered(rbac=rbac))) == explained


def test_nothing_is_granted_by_wildcard_or_leads_to_more_rights(rendered: Render) -> None:
    for right in rendered_rights(rendered(rbac={"tenantSecrets": "ReadWrite"})):
        assert not {"*", "escalate", "bind", "impersonate", "deletecollection"} & right.verbs, right
        assert not {"*", "pods/exec", "pods/attach", "serviceaccounts/token", "nodes/proxy"} & right.resources, right
        assert right.group not in {"*", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"}, right


def test_without_rbac_no_role_is_rendered(rendered: Render) -> None:
    kinds = {body["kind"] for body in rendered(rbac={"create": False})}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def bound_to_tenants(objects: list[dict[str, Any]]) -> set[tuple[str, str | None]]:
    return {
        (body["kind"], body["metadata"].get("namespace"))
        for body in objects
        if body["kind"].endswith("RoleBinding") and body["roleRef"]["name"] == "tenantwave-tenant"
    }


def test_tenants_are_bound_cluster_wide_by_default_and_by_name_otherwise(rendered: Render) -> None:
    named = {"tenantAccess": "RoleBindings", "tenantNamespaces": ["acme", "beta"]}
    assert bound_to_tenants(rendered()) == {("ClusterRoleBinding", None)}
    assert bound_to_tenants(rendered(rbac=named)) == {("RoleBinding", "acme"), ("RoleBinding", "beta")}
    assert bound_to_tenants(rendered(rbac={"tenantAccess": "RoleBindings"})) == set()


def roles_for_people(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return them by what follows the release's name."""
    roles = {body["metadata"]["name"].removeprefix("tenantwave-"): body for body in objects if body["kind"] == "ClusterRole"}
    return {name: body for name, body in roles.items() if name not in {"tenantwave", "tenant"}}


@pytest.mark.parametrize(
    ("rbac", "names"),
    [
        ({}, {"tenant-viewer", "tenant-admin", "platform-viewer", "platform-operator", "approver"}),
        ({"createApproverRole": False}, {"tenant-viewer", "tenant-admin", "platform-viewer", "platform-operator"}),
    ],
    ids=["default", "no approver"],
)
def test_roles_for_people_are_there_and_bound_to_nobody(rendered: Render, rbac: dict[str, Any], names: set[str]) -> None:
    objects = rendered(rbac=rbac)
    assert set(roles_for_people(objects)) == names
    bound = {body["roleRef"]["name"] for body in objects if body["kind"].endswith("RoleBinding")}
    assert bound == {"tenantwave", "tenantwave-tenant"}


def aggregated(objects: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the built-in roles that each role of ours reaches."""
    mark = "rbac.authorization.k8s.io/aggregate-to-"
    labels = {name: body["metadata"]["labels"] for name, body in roles_for_people(objects).items()}
    return {name: reached for name, of in labels.items() if (reached := {key.removeprefix(mark) for key in of if key.startswith(mark)})}


def test_only_the_tenants_roles_reach_the_built_in_ones_and_only_if_wanted(rendered: Render) -> None:
    assert aggregated(rendered()) == {"tenant-viewer": {"view"}, "tenant-admin": {"edit", "admin"}}
    assert aggregated(rendered(rbac={"aggregate": False})) == {}


def test_a_tenants_roles_name_what_lives_in_its_namespace_and_no_status(rendered: Render) -> None:
    roles = roles_for_people(rendered())
    named = {resource for name in ("tenant-viewer", "tenant-admin") for rule in roles[name]["rules"] for resource in rule["resources"]}
    assert named == {"tenantprofiles", "tenantdecisions"}


def test_no_two_roles_for_people_say_the_same(rendered: Render) -> None:
    said = [frozenset(rights_of(body)) for body in roles_for_people(rendered()).values()]
    assert len(set(said)) == len(said)


def rights_of(role: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in role["rules"]:
        yield from product(rule["resources"], rule["verbs"])


def test_the_chart_grants_all_that_the_operator_asks_for_at_its_start(rendered: Render) -> None:
    """Else it would never become ready."""
    granted = [right for right in rendered_rights(rendered(rbac={"tenantAccess": "RoleBindings"})) if right.role.endswith("`<name>`")]

    def is_granted(right: Needed) -> bool:
        resource = f"{right.kind.plural}/{right.subresource}" if right.subresource else right.kind.plural
        roles = {"ClusterRole `<name>`", *(("Role `<name>`",) if right.namespace == "tenantwave-system" else ())}
        return any(
            rule.role in roles and rule.group == (right.kind.group or "core") and resource in rule.resources and right.verb in rule.verbs
            for rule in granted
        )

    watched = [(kind, "") for kind in WORKLOAD_KINDS.values()]
    assert [str(right) for right in needed("tenantwave-system", watched) if not is_granted(right)] == []


@pytest.mark.parametrize(
    ("role", "verbs"),
    [("platform-operator", {str(action.value).lower() for action in ActionType}), ("approver", {"approve", "reject"})],
    ids=["platform-operator: all, or only cluster admins could use a new one", "approver: yes or no"],
)
def test_who_has_the_verb_of_which_action(rendered: Render, role: str, verbs: set[str]) -> None:
    given = {verb for resource, verb in rights_of(roles_for_people(rendered())[role]) if resource == "tenantupgrades"}
    assert given - {"get", "list", "watch", "create", "update", "patch", "delete"} == verbs
