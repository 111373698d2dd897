"""The planner: `decide(world, now) -> Plan`. Start reading here.

Each pass answers one question and adds to the draft what follows. Their order is the order of precedence. No pass asks what changed: the same
world at the same instant gives the same plan, so nothing is lost with a lost event, a crash or a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tenantwave.core.passes import (
    afterwards,
    asked,
    choices,
    dates,
    endings,
    evidence,
    failures,
    flight,
    notices,
    orders,
    planning,
    previews,
    problems,
    runs,
    starts,
    verdicts,
)
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.summary import summarise
from tenantwave.core.plan import Plan
from tenantwave.core.world import World

PASSES: tuple[Callable[[Draft], None], ...] = (
    runs.supersede,  # does the spec mean something else than the run?
    runs.take_back_to_the_old,  # who soaks on what is no longer wanted
    asked.remember,  # since when is asked what is asked
    problems.check_spec,  # what only the operator can judge
    problems.check_policy,
    problems.check_catalogue,
    problems.forgive,
    orders.obey,  # what people ordered
    runs.keep_settled,  # who does not begin again in the next attempt
    planning.plan_run,  # who goes in which wave
    planning.ensure_runs,
    planning.skip_unselected,
    previews.preview_suspended,  # what would be done, while the upgrade is suspended
    choices.hear_tenants,  # what the tenants decided
    problems.check_first_wave,
    problems.check_owners,
    flight.mourn_tenants,  # whose namespace is gone
    planning.record_already_there,
    notices.give_notice,  # who has to be told
    flight.watch_tenants,  # what those that have begun need next
    evidence.describe_evidence,  # what is to be measured
    evidence.remember_evidence,
    afterwards.remember_afterwards,
    verdicts.judge_tenants,  # who failed its gate, who has soaked
    verdicts.pause_when_blind,
    failures.pause_for_failures,
    failures.fail_waves,  # which wave has failed, and who is taken back
    failures.take_back,
    failures.return_unstarted,
    endings.settle_deletion,
    starts.yield_to_younger,
    starts.hold_starts,  # why nobody starts
    endings.pass_wave,
    endings.pass_waves_with_nobody,  # who already runs the release needs no wave
    starts.open_next_wave,
    starts.start_tenants,  # who starts now
    dates.tell_dates,  # when the others will
    endings.end_run,
    endings.keep_finalizer,
)


def decide(world: World, now: datetime) -> Plan:
    """Say what to do next about one upgrade. Pure: the same world at the same `now` gives the same plan.

    Args: now: aware, UTC.  Cost: O(tenants of the upgrade), 15 to 30 microseconds each: 15 ms at 1,000 tenants. A calendar is asked again
    only when its last answer has run out, 0.1 ms for each different one.
    """
    draft = Draft(world, now, runs.journal_of(world, now))
    if world.upgrade.spec is None and world.planned_spec is None:
        problems.check_spec(draft)
        return draft.plan(summarise(draft))
    for extend in PASSES:
        extend(draft)
    return draft.plan(summarise(draft))
