"""What the caches keep of a TenantProfile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tenantwave.api.profile import TenantProfileStatus
from tenantwave.core.calendar import NoticeRecord
from tenantwave.engine.tenant_views import ProfileView, profile_view

NOON = datetime(2026, 12, 6, 12, tzinfo=UTC)


def a_notice(upgrade: str, version: str, time: datetime = NOON) -> dict[str, Any]:
    return {"upgrade": upgrade, "version": version, "digest": "sha256:a", "time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "title": "t", "risks": "r"}


def a_profile(tenant: str, status: dict[str, Any]) -> ProfileView:
    metadata = {"name": "tenant", "namespace": tenant, "uid": f"uid-{tenant}", "generation": 1, "resourceVersion": "1"}
    return profile_view({"metadata": metadata, "spec": {}, "status": status})


def test_what_a_tenant_was_told_is_found_by_upgrade() -> None:
    status = {"notices": [a_notice("shop-3", "3.0.0"), a_notice("mail-1", "1.0.0"), a_notice("shop-3", "3.0.1")]}
    assert a_profile("acme", status).told == {
        "shop-3": (NoticeRecord("3.0.0", "sha256:a", NOON), NoticeRecord("3.0.1", "sha256:a", NOON)),
        "mail-1": (NoticeRecord("1.0.0", "sha256:a", NOON),),
    }
    assert a_profile("acme", {}).told == {}
    assert a_profile("acme", {"notices": "none"}).told == {}, "what cannot be read says nothing, and is replaced as a whole"


def test_equal_notices_of_many_tenants_are_kept_once() -> None:
    change = {"time": "2026-12-06T12:00:00Z", "actor": "tenantwave", "object": "product shop", "action": "Upgraded", "to": "3.0.0"}
    status = {"notices": [a_notice("shop-3", "3.0.0")], "recentChanges": [change], "versions": "shop 3.0.0"}
    acme, beta = a_profile("acme", status).status, a_profile("beta", status).status
    assert acme is not None
    assert beta is not None
    assert acme == beta == TenantProfileStatus.model_validate(status)
    assert acme.notices[0] is beta.notices[0]
    assert acme.recent_changes[0] is beta.recent_changes[0]
    other = a_profile("beta", {"notices": [a_notice("shop-3", "3.0.0", NOON.replace(hour=13))]}).status
    assert other is not None
    assert other.notices[0].time == NOON.replace(hour=13)
