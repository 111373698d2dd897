"""A policy whose own calendar cannot work is found before any tenant is looked at."""

import pytest

from tenantwave.core.calendar import policy_problems
from unit.core.calendar.manifests import Block, maintenance, once, utc, weekly, yearly

TUESDAYS = [weekly("Tue Wed Thu", "02:00", "3h", "nightly")]
ROME = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "08:00", "duration": "9h"}]}


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        pytest.param({}, None, id="open-without-windows"),
        pytest.param({"whenNoWindow": "Closed"}, None, id="closed-without-windows-waits-for-the-tenants-own"),
        pytest.param({"defaultWindows": TUESDAYS}, None, id="nightly"),
        pytest.param(
            {"defaultWindows": TUESDAYS, "staffedHours": ROME, "defaultTimeZone": "America/New_York"}, None, id="staff-meets-new-york"
        ),
        pytest.param(
            {"defaultTimeZone": "europe/berlin"},
            '"europe/berlin" is no IANA time zone; correct maintenance.defaultTimeZone, for example Europe/Berlin',
            id="zones-are-exact",
        ),
        pytest.param(
            {"staffedHours": ROME | {"timeZone": "Rome"}},
            '"Rome" is no IANA time zone; correct maintenance.staffedHours.timeZone, for example Europe/Rome',
            id="zone-of-the-staff",
        ),
        pytest.param(
            {"defaultWindows": TUESDAYS, "staffedHours": ROME, "defaultTimeZone": "Europe/Berlin"},
            'default window "nightly" and the platform\'s staffedHours never meet in 400 days, in Europe/Berlin; correct maintenance',
            id="staff-never-meets-berlin",
        ),
        pytest.param(
            {"freezes": [yearly("03-01", "02-29")]},
            "the policy's open time and the platform's freezes leave no time to start in 400 days, in UTC; correct maintenance",
            id="frozen-all-year",
        ),
        pytest.param(
            {"whenNoWindow": "Closed", "freezes": [yearly("03-01", "02-29")]},
            "the policy's open time and the platform's freezes leave no time to start in 400 days, in UTC; correct maintenance",
            id="frozen-all-year-for-the-tenants-own",
        ),
        pytest.param(
            {"defaultWindows": TUESDAYS, "minRemaining": "4h"},
            'default window "nightly" never stays open for the 4h that a start needs, in UTC; correct maintenance',
            id="too-short-for-what-is-needed",
        ),
        pytest.param(
            {"defaultWindows": [once("2026-12-06T03:00:00Z", "2h", "both") | TUESDAYS[0] | {"name": "both"}]},
            'the platform\'s default window "both" cannot be used: exactly one of weekly, monthly and once must be set; correct it',
            id="two-kinds-in-one-entry",
        ),
    ],
)
def test_what_is_wrong_with_a_policy(blocks: Block, problem: str | None) -> None:
    """A sentence with the mend, or nothing."""
    assert policy_problems(maintenance(**blocks), utc("2026-06-01T00:00Z")) == (() if problem is None else (problem,))
