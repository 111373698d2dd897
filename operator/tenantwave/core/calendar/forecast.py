"""What will happen when, before anything starts: each tenant's planned start, each wave's earliest end, and whether a deadline can be met.

A wave begins when the one before it ends, at the earliest; a tenant starts in its first opening after that, its notice and its choice,
as soon as one of the wave's slots is free; it ends after its turn and its soak. Nothing fails, notices are delivered and waves approved
at once, gates judge without delay: so every end is the earliest possible one, and no promise.

Cost: one search for each tenant, some 0.1 ms; with slots that are always taken up to eight.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

from tenantwave.api.policy import Stragglers
from tenantwave.core.calendar.compiled import Calendar
from tenantwave.core.calendar.intervals import FOREVER
from tenantwave.core.calendar.lookup import NO_SKEW
from tenantwave.core.calendar.planned import NO_TERMS, Start, Terms, first_start, planned_start
from tenantwave.core.calendar.sentences import plain, sentence
from tenantwave.core.calendar.zones import utc_text

MOST_SEARCHES = 8
"""So often a tenant that finds no slot in an opening tries the next one; after that the slots are left out of account."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One tenant as the forecast sees it. `start_time`: set if it has started; `end_time`: set if it has succeeded or is through."""

    name: str
    calendar: Calendar
    terms: Terms = NO_TERMS
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class WavePlan:
    """One wave as the forecast sees it, its tenants in the order in which they start.

    slots: how many may be in flight. turn: the least time from a start until the soak begins. slot_time: how long a tenant keeps its
    slot; both may be zero. start_time, end_time: set if it has begun, or passed.
    """

    name: str
    guests: tuple[Guest, ...]
    slots: int
    soak: timedelta
    turn: timedelta = timedelta()
    slot_time: timedelta = timedelta()
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class TenantForecast:
    """When a tenant starts and when it is through, at the earliest; None: not in sight, or its wave is not.

    is_fixed: its calendar, its notice or its own choice says when, and not the waves before it, a slot that becomes free, or a notice that
    is still on its way.
    """

    name: str
    wave: str
    start_time: datetime | None
    end_time: datetime | None
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class WaveForecast:
    """When a wave begins and ends at the earliest, stragglers left behind. `bottleneck`: the tenant that it waits for longest."""

    name: str
    start_time: datetime | None
    end_time: datetime | None
    bottleneck: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will happen when. `end_time`: when the last tenant is through, stragglers included; None: not in sight.

    `warning` is one sentence with the tenant that is to blame, or empty.
    """

    tenants: dict[str, TenantForecast]
    waves: tuple[WaveForecast, ...]
    end_time: datetime | None
    bottleneck: str
    warning: str


def forecast(
    waves: Sequence[WavePlan],
    now: datetime,
    deadline_time: datetime | None = None,
    stragglers: Stragglers | None = None,
    skew: timedelta = NO_SKEW,
) -> Forecast:
    """Return what will happen when, seen from `now`. Pure; compute it again when a start, an end or a rule has changed."""
    begin: datetime | None = now
    tenants: dict[str, TenantForecast] = {}
    seen: list[WaveForecast] = []
    for wave in waves:
        begin = wave.start_time or begin
        # What starts from now on starts from now on, also in a wave that began long ago.
        found = list(_tenants(wave, now, max(begin, now) if begin is not None else None, skew))
        tenants.update({one.name: one for one in found})
        end = wave.end_time or _end_of_wave(wave, found, begin, stragglers)
        seen.append(WaveForecast(wave.name, begin, end, _last_to_end(found)))
        begin = end
    ends = [one.end_time for one in tenants.values()]
    known = [end for end in ends if end is not None]
    end_time = max(known, default=now) if len(known) == len(ends) else None
    culprit = _culprit(seen, tenants)
    warning = _warning(waves, seen, tenants, culprit, end_time, deadline_time, now) if deadline_time is not None else ""
    return Forecast(tenants, tuple(seen), end_time, culprit, warning)


def _delivered(terms: Terms, now: datetime) -> Terms:
    """A notice that is still on its way counts as delivered now."""
    notice = terms.notice
    return replace(terms, notice=replace(notice, given_time=now)) if notice is not None and notice.given_time is None else terms


def _tenants(wave: WavePlan, now: datetime, begin: datetime | None, skew: timedelta) -> Iterator[TenantForecast]:
    """The tenants of a wave that begins then; None: nobody knows when, and so neither for them."""
    coming = []
    for guest in wave.guests:
        if guest.end_time is not None:
            yield TenantForecast(guest.name, wave.name, guest.start_time, guest.end_time)
        elif guest.start_time is not None:
            yield TenantForecast(guest.name, wave.name, guest.start_time, _through(wave, guest.start_time, begin))
        elif not guest.terms.choice.skip:
            coming.append(replace(guest, terms=_delivered(guest.terms, now)))
    if begin is None:
        yield from (TenantForecast(guest.name, wave.name, None, None) for guest in coming)
        return
    running = [guest.start_time + wave.slot_time for guest in wave.guests if guest.start_time is not None and guest.end_time is None]
    on_its_way = {guest.name for guest in wave.guests if guest.terms.notice is not None and guest.terms.notice.given_time is None}
    for guest, start, is_fixed in _placed(coming, wave, running, begin, skew):
        end = _through(wave, start, None) if start is not None else None
        yield TenantForecast(guest.name, wave.name, start, end, is_fixed and guest.name not in on_its_way)


def _through(wave: WavePlan, start: datetime, begin: datetime | None) -> datetime:
    """Return when a tenant that starts then is through; one that has started is not through before now."""
    end = start + wave.turn + wave.soak
    return max(end, begin) if begin is not None else end


def _placed(
    guests: Sequence[Guest], wave: WavePlan, running: Sequence[datetime], begin: datetime, skew: timedelta
) -> Iterator[tuple[Guest, datetime | None, bool]]:
    """Give each tenant a slot: whoever may start first goes first, in wave order where several may. Beside the start whether it is fixed."""
    slots = sorted([*running, *[begin] * max(0, wave.slots - len(running))])[-max(1, wave.slots) :]
    heapify(slots)
    queue: list[tuple[datetime, int, int, Start]] = []
    for order, guest in enumerate(guests):
        start = first_start(guest.calendar, guest.terms, begin, skew)
        if start is None:
            yield guest, None, True
        else:
            queue.append((start.time, order, 1, start))
    heapify(queue)
    while queue:
        ready, order, searches, start = heappop(queue)
        guest = guests[order]
        at = max(ready, slots[0]) if searches < MOST_SEARCHES else ready
        if at > ready and at >= start.chance.start_within.end:
            # All slots are taken until its opening is over: the next one, then.
            later = first_start(guest.calendar, guest.terms, at, skew)
            if later is None:
                yield guest, None, True
            else:
                heappush(queue, (later.time, order, searches + 1, later))
            continue
        heappop(slots)
        heappush(slots, at + wave.slot_time)
        yield guest, start.shown_time if at == ready else at, at == ready > begin


def _end_of_wave(
    wave: WavePlan, tenants: Sequence[TenantForecast], begin: datetime | None, stragglers: Stragglers | None
) -> datetime | None:
    """Return when a wave ends: with its last tenant, or where the policy has stragglers with those it waits for."""
    if begin is None:
        return None
    ends = sorted(one.end_time or FOREVER for one in tenants)
    last = max(ends, default=begin)
    if stragglers is not None and ends:
        needed = max(1, min(len(ends), stragglers.min_completed.of(len(ends), up=True)))
        patience_ends = begin + stragglers.max_wait
        # Whoever has started by then is waited for; the others are left behind.
        started = [one.end_time for one in tenants if one.end_time and one.start_time and one.start_time < patience_ends]
        last = min(last, max(ends[needed - 1], patience_ends, *started))
    return None if last == FOREVER else max(last, begin)


def _last_to_end(tenants: Sequence[TenantForecast]) -> str:
    """Return the tenant that ends last; one with no end in sight before all others."""
    return max(tenants, key=lambda one: (one.end_time or FOREVER, one.name)).name if tenants else ""


def _culprit(waves: Sequence[WaveForecast], tenants: dict[str, TenantForecast]) -> str:
    """Return the tenant that costs most time: of those that end last in their waves the one with the longest time in it."""
    candidates = [(_cost(wave, tenants[wave.bottleneck]), wave.bottleneck) for wave in waves if wave.start_time and wave.bottleneck]
    return max(candidates, key=lambda found: found[0])[1] if candidates else ""


def _cost(wave: WaveForecast, tenant: TenantForecast) -> timedelta:
    return (tenant.end_time or FOREVER) - (wave.start_time or FOREVER)


def _warning(
    plans: Sequence[WavePlan],
    waves: Sequence[WaveForecast],
    tenants: dict[str, TenantForecast],
    culprit: str,
    end_time: datetime | None,
    deadline_time: datetime,
    now: datetime,
) -> str:
    """Say that a deadline cannot be met, who is to blame, and what it waits for."""
    if not culprit or (end_time is not None and end_time <= deadline_time):
        return ""
    blamed = tenants[culprit]
    begin = next(wave.start_time for wave in waves if wave.name == blamed.wave)
    guest = next(guest for plan in plans if plan.name == blamed.wave for guest in plan.guests if guest.name == culprit)
    hold = planned_start(guest.calendar, _delivered(guest.terms, now), max(begin or now, now)).hold
    why = f" ({hold.reason})" if hold is not None else ""
    starts = f"starts {utc_text(blamed.start_time)}" if blamed.start_time is not None else "has no start in sight"
    ends = f"the earliest end is {utc_text(end_time)}" if end_time is not None else "no end is in sight"
    text = f"deadlineTime {utc_text(deadline_time)} cannot be met: {ends}; wave {blamed.wave} waits longest for {plain(culprit)}, which {starts}"
    return sentence(f"{text}{why}; move the deadline, or ask the tenant for time")


# A date that moves.


SMALL_MOVE = timedelta(minutes=5)
"""A planned start that moves by no more than this is the same date for people."""


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """A date that was told and no longer holds. `new_time` None: no start is in sight any more. `why`: a sentence."""

    tenant: str
    old_time: datetime
    new_time: datetime | None
    reason: str
    why: str


def rescheduled(tenant: str, told_time: datetime | None, now_planned: datetime | None, reason: str, why: str) -> Rescheduled | None:
    """Return that a told date has moved, with what holds the tenant now; None if none was told or it has hardly moved."""
    if told_time is None or (now_planned is not None and abs(now_planned - told_time) <= SMALL_MOVE):
        return None
    return Rescheduled(tenant, told_time, now_planned, reason, sentence(why))
