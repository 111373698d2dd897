"""What this build does not do yet is named, never ignored; and what only repeats a default is no use of it."""

from typing import Any

import pytest

from tenantwave.api.limits import unsupported_fields
from tenantwave.api.upgrade import TenantUpgradeSpec

COMPONENT = {"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": "api:2"}]}}
UPGRADE: dict[str, Any] = {
    "policyRef": {"name": "standard"},
    "tenantSelector": {"matchLabels": {"a": "b"}},
    "release": {"product": "shop", "version": "2.4.0"},
    "components": [COMPONENT],
}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("helmRelease", {"components": [COMPONENT, {"name": "chart", "helmRelease": {"name": "shop", "version": "2.4.0"}}]}),
        ("fluxKustomization", {"components": [{"name": "tree", "fluxKustomization": {"name": "shop"}}]}),
        ("argoApplication", {"components": [{"name": "app", "argoApplication": {"name": "shop"}}]}),
        (
            "customResource",
            {
                "components": [
                    {"name": "db", "customResource": {"apiVersion": "a/v1", "kind": "B", "name": "c", "versionPath": "/spec/v", "value": 1}}
                ]
            },
        ),
    ],
)
def test_a_field_of_an_upgrade_that_is_not_supported_yet_is_named(field: str, change: dict[str, Any]) -> None:
    """With what to do instead."""
    [sentence] = unsupported_fields(TenantUpgradeSpec.model_validate(UPGRADE | change))
    assert field in sentence
    assert "is not supported by this build; " in sentence


@pytest.mark.parametrize(
    "change",
    [
        {"urgency": "Security"},
        {"preservation": {"secrets": "Snapshot"}},
        {"preservation": {"rules": [{"configMap": "app", "key": "a.toml", "format": "Toml"}]}},
        {"hooks": [{"name": "smoke", "at": "PostApply", "jobTemplate": {"spec": {}}}]},
        {"notice": {"title": "Shop 2.4"}},
        {"deadlineTime": "2027-03-20T00:00:00Z"},
        {"forceTime": "2027-03-20T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_stood_in_the_table_of_upgrades_once_is_supported(change: dict[str, Any]) -> None:
    """Notice, and the two times."""
    assert unsupported_fields(TenantUpgradeSpec.model_validate(UPGRADE | change)) == []


def test_defaults_written_out_ask_for_nothing() -> None:
    """The API server writes them into every object."""
    upgrade = TenantUpgradeSpec.model_validate(UPGRADE | {"urgency": "Routine", "preservation": {"secrets": "Ignore"}, "hooks": []})
    assert unsupported_fields(upgrade) == []
