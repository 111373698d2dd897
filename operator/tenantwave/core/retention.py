"""What the operator keeps in its own namespace, and what may go: rules without I/O, so that they can be tried on anything.

Kept is whatever an upgrade that exists, a tenant that is not settled, or the way back to the last good version refers to. Everything else goes
in two steps: it is marked, and deleted when the mark has stood for a grace and still nothing refers to it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

MARK_ANNOTATION = "tenantwave.io/unneeded-since"
"""Stands on an object of ours that nothing needs, with the time at which that was first seen."""
BYTES_ANNOTATION = "tenantwave.io/bytes"
"""How much of etcd a snapshot takes, so that it can be added up without reading it."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digests_in(text: str) -> frozenset[str]:
    """Return every digest in a text. So what refers to a blob is found whatever field it stands in, also in a document of a later build."""
    return frozenset(_DIGEST.findall(text))


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A TenantRun as the rule sees it."""

    name: str
    uid: str
    upgrade_uid: str
    tenant: str
    product: str
    is_open: bool
    """It has the tenant, or may have: in flight, soaking, going back, or held or failed after a write. One that cannot be read is open, too."""
    time: datetime
    """When it ended, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much is kept of upgrades that are gone: so many runs of each tenant and product, and all that are younger."""

    run_count: int = 3
    age: timedelta = timedelta(days=30)


def runs_to_delete(runs: Iterable[KeptRun], upgrades: Set[str], writers: Set[str], keeping: Keeping, now: datetime) -> frozenset[str]:
    """Return the UIDs of the TenantRuns that may go.

    Args: upgrades: UIDs of the TenantUpgrades that exist; writers: UIDs of the TenantRuns that moved a version record last, which hold the way
        back from the last good version.
    Never deleted is an open run, one of an upgrade that exists, a writer, one of the last `run_count` of its tenant and product, and one that
    is younger than `age`. Of equal age the later name counts as the younger.
    """
    gone: dict[tuple[str, str], list[KeptRun]] = defaultdict(list)
    for run in runs:
        if not run.is_open and run.upgrade_uid not in upgrades:
            gone[run.tenant, run.product].append(run)
    deleted: set[str] = set()
    for of_tenant in gone.values():
        newest_first = sorted(of_tenant, key=lambda run: (run.time, run.name), reverse=True)
        deleted |= {run.uid for run in newest_first[keeping.run_count :] if run.uid not in writers and run.time <= now - keeping.age}
    return frozenset(deleted)


class Verdict(Enum):
    """What is to be done with an object that goes in two steps."""

    LEAVE = "left"
    MARK = "marked"
    UNMARK = "unmarked"
    DELETE = "deleted"


def verdict(*, is_needed: bool, marked_time: datetime | None, grace: timedelta, now: datetime) -> Verdict:
    """Return what is to be done with it. A mark from the future is one of a clock that was wrong: it is set anew."""
    if is_needed:
        return Verdict.LEAVE if marked_time is None else Verdict.UNMARK
    if marked_time is None or marked_time > now:
        return Verdict.MARK
    return Verdict.DELETE if now - marked_time >= grace else Verdict.LEAVE


def marked_time(annotations: dict[str, str] | None) -> datetime | None:
    """Return since when an object is marked; None where it is not. A mark that nobody can read counts as set in the far future."""
    text = (annotations or {}).get(MARK_ANNOTATION)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return _NEVER
    return time if time.tzinfo is not None else _NEVER


_NEVER = datetime.fromisoformat("9999-12-31T00:00:00+00:00")
