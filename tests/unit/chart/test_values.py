"""What the chart accepts, and what it makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from promql_parser import parse
from ruamel.yaml import YAML

from support.chart import CHART, HelmError, helm_output, render, render_text

Render = Callable[..., list[dict[str, Any]]]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [body for body in objects if body["kind"] == kind]


def test_helm_lint_finds_nothing(helm: Path) -> None:
    assert "0 chart(s) failed" in helm_output(helm, "lint", "--strict", str(CHART))


def test_two_renderings_are_byte_identical_so_that_gitops_sees_no_change(helm: Path) -> None:
    assert render_text(helm) == render_text(helm)


@pytest.mark.parametrize("word", ["helm.sh/hook", "caBundle", "WebhookConfiguration", "kind: Secret\n"])
def test_the_default_rendering_holds_nothing_that_has_a_life_of_its_own(helm: Path, word: str) -> None:
    """No hooks, webhooks, certificates or generated secrets: a GitOps tool applies the rendering and is done."""
    assert word not in render_text(helm)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"replicaCount": 2}, "replicaCount"),
        ({"rbac": {"tenantsecrets": True}}, "tenantsecrets"),
        ({"rbac": {"tenantSecrets": "Write"}}, "tenantSecrets"),
        ({"rbac": {"tenantAccess": "Namespaced"}}, "tenantAccess"),
        ({"retention": {"runs": 0}}, "runs"),
        ({"retention": {"days": "30d"}}, "days"),
        ({"metrics": {"renderMode": "never"}}, "renderMode"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"replicas": "two"}, "replicas"),
        ({"extraEnv": [{"name": "PYTHONTZPATH", "value": "/usr/share/zoneinfo"}]}, "extraEnv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_or_impossible_values_are_refused_by_name(helm: Path, values: dict[str, Any], name: str) -> None:
    with pytest.raises(HelmError, match=name):
        render(helm, values)


def test_tenant_namespaces_that_would_restrict_nothing_are_refused(helm: Path) -> None:
    with pytest.raises(HelmError, match=r"set rbac\.tenantAccess to RoleBindings"):
        render(helm, {"rbac": {"tenantNamespaces": ["acme"]}})


def test_a_missing_service_account_must_be_named(helm: Path) -> None:
    with pytest.raises(HelmError, match=r"serviceAccount\.name must name an existing ServiceAccount"):
        render(helm, {"serviceAccount": {"create": False}})


def test_the_schema_knows_every_value_and_no_other() -> None:
    """A value without schema could not be set; a schema without a value would do nothing."""
    defaults = YAML(typ="safe", pure=True).load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(paths(schema)) - {"global"} == set(keys(defaults, schema))


def paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        yield prefix + name
        yield from paths(part, f"{prefix}{name}.")


def keys(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths of all values, down to where the schema leaves the content to Kubernetes."""
    for name, value in values.items():
        yield prefix + name
        part = schema.get("properties", {}).get(name, {})
        if isinstance(value, dict) and "properties" in part:
            yield from keys(value, part, f"{prefix}{name}.")


def test_pods_meet_the_restricted_standard(rendered: Render) -> None:
    (deployment,) = of_kind(rendered(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"]
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_the_operator_is_called_as_the_contract_says(rendered: Render) -> None:
    (deployment,) = of_kind(rendered(log={"format": "text"}), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["--namespace=tenantwave-system", "--listen=:8080", "--log-format=text", "--log-level=INFO"]
    assert {"name": "PYTHONTZPATH", "value": ""} in container["env"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert pod["terminationGracePeriodSeconds"] == 30, "draining takes up to 20 s"
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (2, "RollingUpdate")


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "tenantwave/operator:0.1.0"),
        ({"repository": "registry.example.com/tw", "tag": "1.2"}, "registry.example.com/tw:1.2"),
        ({"tag": "1.2", "digest": "sha256:" + "a" * 64}, "tenantwave/operator@sha256:" + "a" * 64),
    ],
    ids=["the chart's version", "a tag", "a digest wins"],
)
def test_the_image(rendered: Render, image: dict[str, str], reference: str) -> None:
    (deployment,) = of_kind(rendered(image=image), "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == reference


@pytest.mark.parametrize(("replicas", "count"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_a_disruption_budget_needs_a_second_replica_or_it_blocks_every_drain(rendered: Render, replicas: int, count: int) -> None:
    assert len(of_kind(rendered(replicas=replicas), "PodDisruptionBudget")) == count


MONITORING = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}


@pytest.mark.parametrize(
    ("mode", "served", "kinds"),
    [
        ("skipIfMissing", (), set()),
        ("skipIfMissing", ("monitoring.coreos.com/v1",), {"ServiceMonitor", "PrometheusRule"}),
        ("failIfMissing", ("monitoring.coreos.com/v1",), {"ServiceMonitor", "PrometheusRule"}),
        ("alwaysRender", (), {"ServiceMonitor", "PrometheusRule"}),
    ],
)
def test_monitoring_objects_are_rendered_where_the_cluster_knows_them(
    helm: Path, mode: str, served: tuple[str, ...], kinds: set[str]
) -> None:
    objects = render(helm, {"crds": {"install": False}, "metrics": MONITORING | {"renderMode": mode}}, api_versions=served)
    assert {body["kind"] for body in objects} & {"ServiceMonitor", "PrometheusRule"} == kinds


def test_a_cluster_without_prometheus_operator_fails_where_that_is_asked_for(helm: Path) -> None:
    with pytest.raises(HelmError, match="install the Prometheus operator"):
        render(helm, {"metrics": MONITORING | {"renderMode": "failIfMissing"}})


def test_alerts_are_sound_and_link_to_their_runbooks(helm: Path) -> None:
    metrics = MONITORING | {"renderMode": "alwaysRender", "runbookBaseURL": "https://runbooks.example.com/"}
    (rule,) = of_kind(render(helm, {"crds": {"install": False}, "metrics": metrics}), "PrometheusRule")
    alerts = rule["spec"]["groups"][0]["rules"]
    names = [alert["alert"] for alert in alerts]
    assert len(set(names)) == len(names) > 0
    for alert in alerts:
        parse(alert["expr"])  # raises where it is no PromQL
        assert alert["alert"].startswith("Tenantwave")
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"] == f"https://runbooks.example.com/{alert['alert'].lower()}"


def test_alerts_ask_only_for_metrics_that_the_operator_exports() -> None:
    """An alert on a metric that is not there never fires, and nobody notices."""
    exported = {
        literal
        for file in (CHART.parents[1] / "operator" / "tenantwave" / "shell").glob("*.py")
        for literal in re.findall(r'"([a-z_]+)"', file.read_text())
    }
    asked = set(re.findall(r"\btenantwave_(\w+)", (CHART / "alerts.yaml").read_text()))
    assert {name for name in asked if name.removesuffix("_total") not in exported} == set()


def test_a_network_policy_lets_out_what_the_operator_needs(rendered: Render) -> None:
    (policy,) = of_kind(rendered(networkPolicy={"enabled": True, "egressPorts": [443, 9091]}), "NetworkPolicy")
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 9091}


def test_extra_objects_are_maps_or_templates(rendered: Render) -> None:
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-b'}"
    objects = rendered(extraObjects=[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, template])
    assert [body["metadata"]["name"] for body in of_kind(objects, "ConfigMap")] == ["a", "tenantwave-b"]


@pytest.mark.parametrize(
    ("policies", "names"),
    [
        ({}, {"requested-by", "action-verbs", "operator-limits", "system-namespaces"}),
        ({"actionVerbs": False}, {"requested-by", "operator-limits", "system-namespaces"}),
        ({"validatingAdmissionPolicy": False}, set()),
    ],
    ids=["all by default", "without the verbs", "none"],
)
def test_every_admission_policy_is_bound(rendered: Render, policies: dict[str, bool], names: set[str]) -> None:
    objects = rendered(policies=policies)
    policies_there = {body["metadata"]["name"] for body in of_kind(objects, "ValidatingAdmissionPolicy")}
    assert policies_there == {f"tenantwave-{name}" for name in names}
    bindings = of_kind(objects, "ValidatingAdmissionPolicyBinding")
    assert {body["spec"]["policyName"] for body in bindings} == policies_there
    assert all(body["spec"]["validationActions"] == ["Deny"] for body in bindings)


@pytest.mark.parametrize(
    ("crds", "count", "policies"),
    [({}, 6, {"keep"}), ({"keep": False}, 6, {None}), ({"install": False}, 0, set())],
    ids=["installed and kept by default", "going with the release", "applied by other means"],
)
def test_crds_are_part_of_the_release(rendered: Render, crds: dict[str, bool], count: int, policies: set[str | None]) -> None:
    objects = of_kind(rendered(crds=crds), "CustomResourceDefinition")
    assert len(objects) == count
    assert {body["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for body in objects} == policies


def test_the_crds_of_the_chart_are_those_of_the_repository(rendered: Render) -> None:
    yaml = YAML(typ="safe", pure=True)
    plain = {(body := yaml.load(file.read_text()))["metadata"]["name"]: body["spec"] for file in (CHART.parents[1] / "crds").glob("*.yaml")}
    assert {body["metadata"]["name"]: body["spec"] for body in of_kind(rendered(crds={}), "CustomResourceDefinition")} == plain


def test_no_object_of_the_release_is_named_twice(rendered: Render) -> None:
    names = [(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]) for body in rendered()]
    assert len(set(names)) == len(names)
