"""Any mishaps at any writes of a turn with hooks: each Job is let run once, has its time, and nobody goes back past the point of no return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fakes import CrashNow, Request
from support.mishaps import MISHAPS, befall
from support.tenant_story import ACME, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import JOB
from tenantwave.api.run_records import HookState
from tenantwave.core import tenant_run
from tenantwave.core.hooks import DEFAULT_TIMEOUT
from tenantwave.faults import Conflict, OutcomeUnknown, Unavailable

ON_THE_WAY = (S.PREFLIGHT, S.APPLYING, S.CONVERGING, S.SOAKING, S.ROLLING_BACK)


@dataclass(frozen=True)
class Mishap:
    """What happens at one write."""

    at: int
    what: str


ANY_MISHAP = st.builds(Mishap, st.integers(1, 40), st.sampled_from([*MISHAPS, "strip", "vanish"]))
AN_OUTAGE = st.sampled_from([timedelta(minutes=10), timedelta(hours=1)])
"""How long nobody is there when a Job is to be let run: no shorter than it may take."""


def a_hook(name: str, at: str, tag: str, *, irreversible: bool) -> dict[str, Any]:
    """A hook of one container."""
    template = {"spec": {"template": {"spec": {"containers": [{"name": "run", "image": f"shop/tools:{tag}"}]}}}}
    return {"name": name, "at": at, "irreversible": irreversible, "jobTemplate": template}


@st.composite
def hooks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw up to four hooks; some fail, some run until they are stopped."""
    drawn = []
    for number in range(draw(st.integers(1, 4))):
        at = draw(st.sampled_from(("PreApply", "PostApply", "OnRollback")))
        tag = draw(st.sampled_from(("2.4.0", "2.4.0", "2.4.0", "1-bad", "slow")))
        if tag == "slow" and at == "OnRollback":
            tag = "2.4.0"
        about = {"component": draw(st.sampled_from(("api", "worker")))} if draw(st.booleans()) else {}
        drawn.append(a_hook(f"h{number}", at, tag, irreversible=draw(st.booleans())) | about)
    return drawn


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(given_hooks=[a_hook("migrate", "PreApply", "slow", irreversible=True)], mishaps=[], outages=[timedelta(hours=1)], back_after=None)
@given(
    given_hooks=hooks(),
    mishaps=st.lists(ANY_MISHAP, max_size=3),
    outages=st.lists(AN_OUTAGE, max_size=2),
    back_after=st.one_of(st.none(), st.integers(1, 12)),
)
async def test_whatever_happens_hooks_run_once_and_in_order(
    given_hooks: list[dict[str, Any]], mishaps: list[Mishap], outages: list[timedelta], back_after: int | None
) -> None:
    """Also with an order to go back at any moment; a hook that runs for ever is ended by that order."""
    story = await Story(spec=a_spec(hooks=given_hooks), old={}, new={}).begin()
    story.broken = lambda image: image.endswith("-bad")
    live: dict[str, int] = {}
    cut_off: list[str] = []
    install(story, mishaps, list(outages), live, cut_off)
    await play(story, back_after)
    assert max(live.values(), default=0) <= 1, "a Job was let run again"
    assert cut_off == [], "deleted before its time was up"
    status = story.status
    records = {hook.name: hook for hook in status.hooks}
    match status.state:
        case S.SUCCEEDED:
            forward = {one["name"] for one in given_hooks if one["at"] != "OnRollback"}
            assert records.keys() == forward
            assert {hook.state for hook in records.values()} <= {HookState.SUCCEEDED}
            assert story.leftovers() == []
        case S.ROLLED_BACK:
            assert not status.forward_only
            assert not status.written
            assert all(hook.state is not HookState.RUNNING for hook in records.values())
            assert story.leftovers() == []
        case S.HELD:
            assert status.reason in (FailReason.FORWARD_ONLY, FailReason.AMBIGUOUS)
            assert status.reason != FailReason.FORWARD_ONLY or status.forward_only
        case S.ROLLBACK_FAILED:
            assert status.reason in (FailReason.HOOK_FAILED, FailReason.AMBIGUOUS)
        case _:
            slow = [one for one in given_hooks if one["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"].endswith("slow")]
            assert slow, f"rests {status.state}: {status.message}"


async def play(story: Story, back_after: int | None) -> None:
    """Play until the tenant rests. Its order to go back comes after so many steps, as the planner would give it."""
    for number in range(70):
        if story.status.state not in ON_THE_WAY:
            return
        if number == back_after and story.status.written and story.status.state is not S.ROLLING_BACK:
            story.set_status(tenant_run.going_back(story.status, FailReason.GATE_FAILED, "errors: 36 of 903", story.clock.now()))
            continue
        try:
            await story.step()
        except CrashNow:
            story.restart()
        except (Conflict, Unavailable, OutcomeUnknown):
            continue
        if story.status.state is S.ROLLING_BACK:
            order = story.status.take_back
            assert order is not None
            assert not story.status.forward_only, "goes back past the point of no return"


def lets_run(request: Request) -> bool:
    """Tell whether a request lets a Job run."""
    return (request.verb, request.kind) == ("merge", "Job") and (request.body.get("spec") or {}).get("suspend") is False


def install(story: Story, mishaps: list[Mishap], outages: list[timedelta], live: dict[str, int], cut_off: list[str]) -> None:
    """Let mishaps happen, count how often each Job was let run, and note those that are deleted on the way forward before their time is up."""
    times: dict[str, datetime] = {}

    def before(number: int, request: Request) -> None:
        is_forward = story.status.state in (S.APPLYING, S.CONVERGING)
        its_end = times[request.name] + DEFAULT_TIMEOUT if request.name in times else story.clock.now()
        if (request.verb, request.kind) == ("delete", "Job") and is_forward and story.clock.now() < its_end:
            cut_off.append(request.name)
        if outages and lets_run(request):
            story.clock.forward(outages.pop())
            raise CrashNow
        for mishap in mishaps:
            if mishap.at != number:
                continue
            match mishap.what:
                case "strip":
                    for plural, namespace, name in list(story.cluster.objects):
                        if (plural, namespace) == ("jobs", ACME):
                            story.cluster.edit(JOB, ACME, name, {"metadata": {"annotations": None}})
                case "vanish":
                    for plural, namespace, name in list(story.cluster.objects):
                        if (plural, namespace) == ("jobs", ACME):
                            story.cluster.remove(JOB, ACME, name)
                case what:
                    befall(what, story.cluster)

    def after(number: int, request: Request) -> None:
        if lets_run(request):
            live[request.name] = live.get(request.name, 0) + 1
            times[request.name] = story.clock.now()
        if any(mishap.at == number and mishap.what == "die after" for mishap in mishaps):
            raise CrashNow

    story.cluster.before, story.cluster.after = before, after
