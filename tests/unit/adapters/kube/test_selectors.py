"""What our reflectors select, judged on our side for our own writes."""

from __future__ import annotations

import pytest

from tenantwave.adapters.kube.selectors import selects

BODY = {"metadata": {"name": "a", "namespace": "acme", "labels": {"app": "shop", "tier": ""}}}


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("", "", True),
        ("app=shop", "", True),
        ("app==shop", "", True),
        ("app=blog", "", False),
        ("app", "", True),
        ("tier", "", True),
        ("other", "", False),
        ("!other", "", True),
        ("!app", "", False),
        ("app=shop, !other", "", True),
        ("app=shop,tier=front", "", False),
        ("", "metadata.name=a", True),
        ("", "metadata.name=b", False),
        ("", "metadata.namespace=acme", True),
    ],
)
def test_each_form(labels: str, fields: str, expected: bool) -> None:
    assert selects(labels, fields, BODY) is expected


@pytest.mark.parametrize(("labels", "fields"), [("app in (shop)", ""), ("app!=shop", ""), ("", "status.phase=Active")])
def test_what_cannot_be_judged_is_refused(labels: str, fields: str) -> None:
    with pytest.raises(ValueError, match="can be judged here"):
        selects(labels, fields, BODY)
