"""A status is never refused for its length."""

from datetime import UTC, datetime

from tenantwave.api.bounds import bounded_document
from tenantwave.api.conditions import Condition, ConditionStatus
from tenantwave.api.upgrade_status import TenantException, TenantUpgradeStatus

NOON = datetime(2026, 12, 6, 12, tzinfo=UTC)


def condition(message: str) -> Condition:
    """Return a condition as code makes it: without a look at its bounds."""
    plain = Condition(type="Ready", status=ConditionStatus.FALSE, last_transition_time=NOON, reason="Held")
    return plain.model_copy(update={"message": message})


def test_what_fits_is_written_as_it_is() -> None:
    """Up to the last character."""
    status = TenantUpgradeStatus(observed_generation=1, conditions=(condition("x" * 2048),))
    assert bounded_document(status) == status.document()


def test_a_text_that_is_too_long_is_cut_and_shows_it() -> None:
    """One character over: the end is an ellipsis."""
    status = TenantUpgradeStatus().model_copy(update={"conditions": (condition("x" * 2049),)})
    [written] = bounded_document(status)["conditions"]
    assert written["message"] == "x" * 2047 + "…"


def test_a_list_that_is_too_long_keeps_its_head() -> None:
    """The worst come first, so the tail is what may go."""
    many = tuple(TenantException(tenant=f"t{number}", state="Held") for number in range(25))
    status = TenantUpgradeStatus().model_copy(update={"exceptions": many})
    assert [each["tenant"] for each in bounded_document(status)["exceptions"]] == [f"t{number}" for number in range(20)]
