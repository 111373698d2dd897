"""What a tenant decides: to wait, to stay out, to say yes, to go first. And what of it the platform's dates end."""

from __future__ import annotations

from typing import Any

from support.days import DECISION, NEW, OLD, SECOND, SURELY_OPEN, Days, counts, freeze, instant, utc, weekly
from support.story import IMAGE, Story, condition

NOTICE = {"title": "Shop 2.4.0", "changes": "A new basket.", "benefits": "It is faster.", "risks": "None known."}
TOLD = utc("2027-01-04 00:00")
"""When the notices are given, a Monday; they take some seconds."""


def one_wave(**spec: Any) -> dict[str, Any]:
    """Return a policy of one wave in which everybody may go at once, at any time."""
    return {"waves": [{"name": "all", "maxParallel": "100%", "soak": "1s"}], "maintenance": {"whenNoWindow": "Open"}} | spec


async def test_defer_and_opt_out(story: Story, days: Days) -> None:
    """Each decision is answered, holds its own tenant as long as it says or may, and nobody else; who is out is never counted as failed."""
    bystander, mind, short, long, month, out, back = [
        await story.tenant(name) for name in ("bystander", "mind", "short", "long", "month", "out", "back")
    ]
    await story.ready()
    limits = {"whenNoWindow": "Open", "tenantLimits": {"maxDeferral": "30d"}}
    await story.policy(**one_wave(maintenance=limits, notice={"lead": "7d", "required": True}))
    await days.operator(TOLD)
    upgrade = await story.upgrade(notice=NOTICE)
    notice = await days.waits(upgrade, bystander, "NoticePeriod", "nothing starts before 2027-01-11T00:00:")
    assert TOLD < instant(notice["noticeTime"]) < instant(notice["plannedStartTime"]) - (utc("2027-01-11 00:00") - TOLD) + SECOND

    asked_late = await days.decide(long, upgrade, "Defer", untilTime="2027-06-01T00:00:00Z")
    for_good = await days.decide(out, upgrade, "OptOut")
    for tenant, decision, said in (
        (short, await days.decide(short, upgrade, "Defer", untilTime="2027-01-20T00:00:00Z"), ("True", "Accepted")),
        (long, asked_late, ("True", "Shortened")),
        (month, await days.decide(month, upgrade, "OptOut", untilTime="2027-02-15T00:00:00Z"), ("True", "Accepted")),
        (out, for_good, ("True", "Accepted")),
        (mind, await days.decide(mind, upgrade, "OptOut", untilTime="2027-03-01T00:00:00Z"), ("True", "Accepted")),
    ):
        assert (await days.answer(tenant, decision))[:2] == said, tenant
    assert "maxDeferral" in (await days.answer(long, asked_late))[2]

    deferred = await days.waits(upgrade, short, "Deferred", "until 2027-01-20T00:00:00Z")
    assert deferred["plannedStartTime"] == "2027-01-20T00:00:00Z"
    await days.waits(upgrade, long, "Deferred", "limit: maxDeferral")
    await days.waits(upgrade, month, "OptedOut", "counts until 2027-02-15T00:00:00Z")
    skipped = await story.until_run(upgrade, out, lambda run: run.get("state") == "Skipped", "is passed by")
    assert (skipped["reason"], for_good in skipped["message"]) == ("OptedOut", True)
    body = await story.until_so(upgrade, lambda body: body["status"]["counts"].get("optedOut") == 3, "three are out")
    assert counts(body)["skipped"] == 1
    # A decision that is deleted no longer counts, not even one for good.
    gone = await days.decide(back, upgrade, "OptOut")
    await story.until_run(upgrade, back, lambda run: run.get("state") == "Skipped", "is passed by")
    await story.kube.delete(DECISION, gone, back)
    await days.waits(upgrade, back, "NoticePeriod")
    # Who changes its mind decides anew. The notice is not shortened by that.
    await days.waits(upgrade, mind, "OptedOut")
    await days.time.passes_a_second()  # of two decisions of the same second OptOut would count
    assert (await days.answer(mind, await days.decide(mind, upgrade, "OptIn")))[:2] == ("True", "Accepted")
    await days.waits(upgrade, mind, "NoticePeriod")

    await days.stays_shut(upgrade, bystander, instant(notice["plannedStartTime"]) - SECOND, "NoticePeriod")
    await days.waits(upgrade, mind, "NoticePeriod")
    await days.time.run_from(instant(notice["plannedStartTime"]) + SURELY_OPEN)
    for tenant in (bystander, mind, back):
        await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Succeeded", "starts after the notice")
    too_late = await days.decide(bystander, upgrade, "OptOut")
    assert (await days.answer(bystander, too_late))[:2] == ("False", "TooLate")

    await days.stays_shut(upgrade, short, utc("2027-01-20 00:00") - SECOND, "Deferred")
    await days.time.run_from(utc("2027-01-20 00:00") + SURELY_OPEN)
    done = await story.until_run(upgrade, short, lambda run: run.get("state") == "Succeeded", "starts when it wanted to")
    assert instant(done["startTime"]) >= utc("2027-01-20 00:00")

    # Thirty days from the end of the lead, which ended seconds after midnight.
    await days.stays_shut(upgrade, long, utc("2027-02-10 00:00") - SECOND, "Deferred")
    await days.time.run_from(utc("2027-02-10 00:02"))
    await story.until_run(upgrade, long, lambda run: run.get("state") == "Succeeded", "starts when the limit ends its Defer")

    await days.stays_shut(upgrade, month, utc("2027-02-15 00:00") - SECOND, "OptedOut")
    await days.time.run_from(utc("2027-02-15 00:00") + SURELY_OPEN)
    ended = await story.until(upgrade, "SucceededWithSkips")
    assert counts(ended) == {"total": 7, "succeeded": 6, "skipped": 1, "optedOut": 1}
    assert {tenant for tenant, image in (await story.images()).items() if image == OLD} == {out}


async def test_consent_and_a_place_in_an_earlier_wave(story: Story, days: Days) -> None:
    """With consent: OptIn silence is no consent, until deadlineTime. Who opts in early moves to the next wave that has not begun."""
    first = await story.tenant("first", labels={"example.com/wave": "first"})
    second = await story.tenant("second", labels={"example.com/wave": "second"})
    eager, quiet = await story.tenant("eager"), await story.tenant("quiet")
    await story.ready()
    waves: list[dict[str, Any]] = [
        {"name": name, "selector": {"matchLabels": {"example.com/wave": name}}, "soak": "1s"} for name in ("first", "second")
    ]
    await story.policy(**one_wave(waves=[*waves, {"name": "rest", "soak": "1s"}], consent="OptIn"))
    await days.operator(TOLD)
    upgrade = await story.upgrade(deadlineTime="2027-03-20T00:00:00Z")
    await days.waits(upgrade, first, "AwaitingConsent", "starts without it after 2027-03-20T00:00:00Z")
    await story.until(upgrade, "AwaitingConsent")
    before = (await story.kube.get("tenantwave.io/v1alpha1/TenantUpgrade", upgrade))["status"]["run"]["planDigest"]

    early = await days.decide(eager, upgrade, "OptInEarly")
    assert (await days.answer(eager, early))[:2] == ("True", "Accepted")
    moved = await story.until_run(upgrade, eager, lambda run: run.get("wave") == "second", "moves to the next wave")
    assert ("early" in moved["explain"], "from wave rest to second" in moved["explain"]) == (True, True)
    assert (moved["state"], await story.image(eager)) == ("Queued", OLD)
    body = await story.until_so(upgrade, lambda body: body["status"]["run"]["planDigest"] != before, "the plan is another one")
    assert [wave["total"] for wave in body["status"]["waves"]] == [1, 2, 1]
    # The first wave runs: there is none before the next for who is in it.
    refused = await days.decide(first, upgrade, "OptInEarly")
    assert (await days.answer(first, refused))[:2] == ("False", "NotAllowed")
    await days.waits(upgrade, first, "AwaitingConsent")

    agreed = await days.decide(first, upgrade, "OptIn")
    assert (await days.answer(first, agreed))[:2] == ("True", "Accepted")
    for tenant in (first, eager):
        await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Succeeded", "agreed, and starts")
    await days.stays_shut(upgrade, second, utc("2027-03-20 00:00") - SECOND, "AwaitingConsent")
    assert (await story.states(upgrade))[quiet] == "Queued"
    await days.time.run_from(utc("2027-03-20 00:00") + SURELY_OPEN)
    await story.until(upgrade, "Succeeded")
    assert set((await story.images()).values()) == {NEW}


async def test_another_version_needs_another_consent_and_notice(story: Story, days: Days) -> None:
    """Consent is to a version, a Defer to an upgrade: when git asks for another version in mid-run only the Defer still counts."""
    agrees, defers = await story.tenant("agrees"), await story.tenant("defers")
    await story.ready()
    await story.policy(**one_wave(notice={"lead": "7d"}, consent="OptIn"))
    await days.operator(TOLD)
    upgrade = await story.upgrade(notice=NOTICE)
    for tenant in (agrees, defers):
        await days.waits(upgrade, tenant, "AwaitingConsent")
    first = await days.decide(agrees, upgrade, "OptIn")
    assert (await days.answer(agrees, first))[:2] == ("True", "Accepted")
    later = await days.decide(defers, upgrade, "Defer", untilTime="2027-02-01T00:00:00Z")
    assert (await days.answer(defers, later))[:2] == ("True", "Accepted")
    await days.waits(upgrade, agrees, "NoticePeriod", "nothing starts before 2027-01-11T00:00:")

    await days.time.run_from(utc("2027-01-10 12:00"))
    await story.upgrade(version="2.4.1", notice=NOTICE)
    await days.waits(upgrade, agrees, "AwaitingConsent")
    await days.waits(upgrade, defers, "Deferred", "until 2027-02-01T00:00:00Z")
    await days.time.passes_a_second()  # of the second in which the version changed nobody knows which was first, so it is no consent
    again = await days.decide(agrees, upgrade, "OptIn")
    assert (await days.answer(agrees, again))[:2] == ("True", "Accepted")
    await days.waits(upgrade, agrees, "NoticePeriod", "nothing starts before 2027-01-17T12:00:")
    await days.stays_shut(upgrade, agrees, utc("2027-01-17 12:00") - SECOND, "NoticePeriod")
    await days.time.run_from(utc("2027-01-17 12:01"))
    await story.until_run(upgrade, agrees, lambda run: run.get("state") == "Succeeded", "agreed to what it gets")
    assert (await story.image(agrees), await story.image(defers)) == (f"{IMAGE}:2.4.1", OLD)
    await days.stays_shut(upgrade, defers, utc("2027-02-01 00:00") - SECOND, "Deferred")
    await days.time.run_from(utc("2027-02-01 00:00") + SURELY_OPEN)
    await story.until(upgrade, "Succeeded")
    assert await story.image(defers) == f"{IMAGE}:2.4.1"


async def test_dates_of_the_platform_end_all_waiting(story: Story, days: Days) -> None:
    """At deadlineTime decisions lapse, at forceTime windows and the tenant's own freezes; the platform's freeze holds beyond both."""
    defers, closed, lost = [await story.tenant(name) for name in ("defers", "closed", "lost")]
    sundays = weekly("Sun", start="02:00", duration="4h")
    await story.profile(defers, windows=[sundays])
    await story.profile(closed, windows=[sundays], freezes=[freeze("all-year", "2027-01-01", "2027-12-31")])
    await story.profile(lost, timeZone="Europa/Berlin", windows=[sundays])
    await story.ready()
    maintenance = {"whenNoWindow": "Open", "freezes": [freeze("audit", "2027-04-10", "2027-04-12")]}
    await story.policy(**one_wave(maintenance=maintenance, consent="Mandatory"))
    await days.operator(utc("2027-03-08 00:00"))
    upgrade = await story.upgrade(deadlineTime="2027-03-20T00:00:00Z", forceTime="2027-04-10T00:00:00Z")
    await days.waits(upgrade, closed, "TenantFreeze")
    out = await days.decide(defers, upgrade, "OptOut")
    assert (await days.answer(defers, out))[:2] == ("False", "NotAllowed")
    later = await days.decide(defers, upgrade, "Defer", untilTime="2027-09-01T00:00:00Z")
    status, reason, message = await days.answer(defers, later)
    assert (status, reason, "deadlineTime" in message) == ("True", "Shortened", True)
    deferred = await days.waits(upgrade, defers, "Deferred", "(asked: 2027-09-01; limit: deadlineTime)")
    assert deferred["plannedStartTime"] == "2027-03-21T02:00:00Z"

    await days.stays_shut(upgrade, defers, utc("2027-03-20 00:00") - SECOND, "Deferred")
    await days.starts_at(upgrade, defers, utc("2027-03-21 02:00"), ends=utc("2027-03-21 06:00"))

    await days.stays_shut(upgrade, closed, utc("2027-04-10 00:00") - SECOND, "TenantFreeze")
    await days.waits(upgrade, lost, "UnknownTimeZone", '"Europa/Berlin"')
    # From now on neither freeze nor window nor a zone that nobody knows counts; what is left is the platform's.
    shut = await days.stays_shut(upgrade, closed, utc("2027-04-10 00:00") + SURELY_OPEN, "PlatformFreeze", "audit")
    assert shut["plannedStartTime"] == "2027-04-13T00:00:00Z"
    await days.waits(upgrade, lost, "PlatformFreeze", "audit")
    await days.stays_shut(upgrade, closed, utc("2027-04-13 00:00") - SECOND, "PlatformFreeze")
    await days.time.run_from(utc("2027-04-13 00:00") + SURELY_OPEN)
    for tenant in (closed, lost):
        done = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Succeeded", "a Tuesday, whatever the tenant wants")
        assert instant(done["startTime"]) >= utc("2027-04-13 00:00")
    await story.until(upgrade, "Succeeded")

    # A date that has passed when it is first seen would end everybody's waiting at once: nothing starts.
    await story.pristine("2.5.0", {})
    past = await story.upgrade("past", "2.5.0", deadlineTime="2027-04-01T00:00:00Z")
    stalled = await story.until(past, "InvalidSpec")
    assert "deadlineTime" in condition(stalled, "Stalled")["message"]
    assert set((await story.images()).values()) == {NEW}
