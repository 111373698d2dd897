"""What the intents of a TenantRun still say, and how much room they leave: each write that stands keeps a place for the one that takes it back.

A TenantRun holds so many intents and no more. Whatever is written in a tenant must be possible to take back; so a forward write is announced
only where the way back of all that would then stand has its places, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from itertools import accumulate

from tenantwave.api.kinds import JOB
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import MAX_FIELDS, MAX_INTENTS, MAX_OBJECTS, Direction, Intent, IntentState

SPARE = 20
"""Places that no forward write takes: OnRollback hooks have Jobs, and a write that arrives late is taken back once more."""

CREATES_OPEN = 10
"""So many creates of one object are remembered that were announced and never heard of: a try takes longer each time, and an API server gives a
request up after a minute. All other writes have a precondition, and are sent again under their own number."""

FIELDS_LENGTH = 512
"""So many characters of the paths that it writes an intent shows, all together."""

FEWER = "upgrade fewer objects at once: narrow the selectors of the components, or split them among several TenantUpgrades"

Name = tuple[str, str]
"""Kind and name of an object in the tenant."""


def name_of(ref: ObjectRef) -> Name:
    """Return by what an object is counted."""
    return ref.kind, ref.name


def places_taken(intents: Iterable[Intent], objects: Set[Name], job_count: int, secret_count: int) -> int:
    """Return how many places are taken when these objects are written and so many Jobs created, with all that the way back then needs.

    A Job is not taken back. Each saved Secret may have to be put back, though nothing of it was written.
    """
    known = tuple(intents)
    standing = {name_of(one.target) for one in known if _may_stand(one)}
    return len(known) + len(objects) + job_count + len(standing | objects) + secret_count + SPARE


def has_room(intents: Sequence[Intent], ref: ObjectRef, direction: Direction, secret_count: int) -> bool:
    """Tell whether one more write may be announced. The way back takes what was kept for it, to the last place."""
    if direction is Direction.ROLLBACK:
        return len(intents) < MAX_INTENTS
    is_job = ref.kind == JOB.name
    objects: Set[Name] = frozenset() if is_job else {name_of(ref)}
    return places_taken(intents, objects, int(is_job), secret_count) <= MAX_INTENTS


def why_no_room(intents: Sequence[Intent], objects: Set[Name], job_count: int, secret_count: int) -> str:
    """Return why so many writes must not be begun, with the mend; '' where there is room for them and for their way back."""
    taken = places_taken(intents, objects, job_count, secret_count)
    if taken <= MAX_INTENTS:
        return ""
    what = f"{len(objects)} objects and {job_count} Jobs are to be written"
    places = f"with the way back they take {taken - len(intents)} of the {MAX_INTENTS} places of the tenant's journal"
    if not intents:
        return f"{what}; {places}: {FEWER}"
    before = f"and what earlier attempts wrote has {len(intents)}"
    return f"{what}; {places}, {before}: take that back first (UpgradeAction Resolve with Rollback), then Retry, or {FEWER}"


def why_too_many(object_count: int) -> str:
    """Return why so many objects must not be planned at once, with the mend; '' where the TenantRun can name all of them."""
    if object_count <= MAX_OBJECTS:
        return ""
    return f"{object_count} objects are to be looked after, and a TenantRun names {MAX_OBJECTS} at most: {FEWER}"


def is_lost(intent: Intent, live_version: str, marked: int = 0) -> bool:
    """Tell whether a write was given up and can never land: it was made for a version that the object no longer has.

    Args: live_version: the object's resourceVersion, '' where there is none; marked: the intent whose marker stands on it.
    """
    made_for = intent.resource_version
    return intent.state is IntentState.SUPERSEDED and bool(made_for) and made_for != live_version and intent.seq != marked


def with_room_for(intents: Sequence[Intent], ref: ObjectRef, live_version: str) -> tuple[Intent, ...]:
    """Return the intents without those about one object that nothing can come of any more. Args: live_version: see `is_lost`."""
    creates = [one.seq for one in intents if one.target == ref and one.state in _UNHEARD_OF and not one.resource_version]
    too_old = frozenset(creates[: -CREATES_OPEN + 1])
    return tuple(one for one in intents if one.seq not in too_old and (one.target != ref or not is_lost(one, live_version)))


def shown_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """Return as many of the paths that a write sets as people are shown: a release may change hundreds, and all intents are in one object."""
    ends = accumulate(len(path) for path in fields)
    return tuple(path for path, end in zip(fields, ends, strict=True) if end <= FIELDS_LENGTH)[:MAX_FIELDS]


def needed_later(of_object: Sequence[Intent], live_version: str, marked: int) -> tuple[Intent, ...]:
    """Return those intents of one object that a new attempt needs, oldest first.

    Not needed are pairs whose object is back, writes that can never land, and of a chain that stands what is between the first, which knows what
    was there before us, and the last, which has the goal. A marker of ours must be found by one of them, so that it comes off in the end.

    Args: live_version: see `is_lost`; marked: the intent whose marker stands on the object, 0 for none of ours, -1 for a fence.
    """
    kept = [one for one in of_object if one.state is not IntentState.REVERTED and not is_lost(one, live_version, marked)]
    chain = [one for one in kept if one.state is IntentState.LANDED and one.direction is Direction.FORWARD]
    between = {one.seq for one in chain[1:-1]} if chain and chain[-1].goal else frozenset[int]()
    kept = [one for one in kept if one.seq not in between]
    return tuple(kept) if kept or not marked else tuple(of_object[-1:])


_UNHEARD_OF = frozenset({IntentState.ISSUED, IntentState.SUPERSEDED})


def _may_stand(intent: Intent) -> bool:
    """Tell whether something of this write may have to be taken back; also of one that was given up and arrives all the same."""
    return intent.direction is Direction.FORWARD and intent.state is not IntentState.REVERTED and intent.target.kind != JOB.name
