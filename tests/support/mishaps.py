"""What may go wrong at any write of a tenant's turn, whatever the turn is about."""

from __future__ import annotations

from fakes import CrashNow, FakeCluster, Late
from tenantwave.faults import Conflict, OutcomeUnknown, Unavailable

FAULTS = {"conflict": Conflict, "unavailable": Unavailable, "lost": OutcomeUnknown}
MISHAPS = ("die before", "die after", "late", "deliver", *FAULTS)
"""`late`: the process dies, and the request arrives when somebody delivers it."""


def befall(what: str, cluster: FakeCluster) -> None:
    """Let it happen before a write. Another name, or `die after`, is no matter of ours. Raises CrashNow, Late, or a fault of the API."""
    match what:
        case "die before":
            raise CrashNow
        case "late":
            raise Late(CrashNow())
        case "deliver":
            cluster.deliver()
        case _ if what in FAULTS:
            raise FAULTS[what](what)
