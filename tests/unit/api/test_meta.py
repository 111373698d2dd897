"""Label selectors judge as the API server does; ids and names have the forms of the contract."""

from typing import Any

import pytest

from tenantwave.api.meta import LabelSelector, run_id, tenant_run_name

CANARY = {"ring": "canary", "tier": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        pytest.param({}, True, id="an empty one takes everything"),
        pytest.param({"matchLabels": {"ring": "canary"}}, True, id="exact value"),
        pytest.param({"matchLabels": {"ring": "rest"}}, False, id="another value"),
        pytest.param({"matchLabels": {"tier": ""}}, True, id="an empty value is a value"),
        pytest.param({"matchLabels": {"none": ""}}, False, id="an absent label has no value"),
        pytest.param({"matchExpressions": [{"key": "ring", "operator": "In", "values": ["a", "canary"]}]}, True, id="In"),
        pytest.param({"matchExpressions": [{"key": "none", "operator": "In", "values": ["a"]}]}, False, id="In, absent"),
        pytest.param({"matchExpressions": [{"key": "ring", "operator": "NotIn", "values": ["canary"]}]}, False, id="NotIn"),
        pytest.param({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["a"]}]}, True, id="NotIn, absent"),
        pytest.param({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True, id="Exists"),
        pytest.param({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False, id="DoesNotExist"),
        pytest.param(
            {"matchLabels": {"ring": "canary"}, "matchExpressions": [{"key": "none", "operator": "Exists"}]},
            False,
            id="all parts must hold",
        ),
    ],
)
def test_a_selector_takes_what_it_says(selector: dict[str, Any], matches: bool) -> None:
    """Row by row."""
    assert LabelSelector.model_validate(selector).matches(CANARY) is matches


def test_ids_and_names() -> None:
    """The forms that acceptance tests and people rely on."""
    assert run_id("shop-2-4-0", "x7f2k1aa-0000", 1, 2) == "shop-2-4-0-x7f2k-1-a2"
    assert tenant_run_name("shop-2-4-0", "acme") == "shop-2-4-0.acme"
