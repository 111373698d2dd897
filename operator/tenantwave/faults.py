"""What can go wrong at the API server, in the few families that tell a caller what to do next.

Adapters translate at their door and raise these alone; what was raised stays as `__cause__`. A message is the server's own sentence, with
the verb and the object in front of it, so that it can stand in a status or an event as it is.
"""

from __future__ import annotations

from datetime import timedelta


class Fault(Exception):  # noqa: N818 - the field's word; most of these are ordinary outcomes
    """Something outside did not do what was asked. `retry_after` is the server's own wish, if it named one."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Invalid(Fault):
    """400, 413, 422: this input is refused for good. Do not repeat it; it is a problem of that object or tenant alone."""


class Forbidden(Fault):
    """403: the rights are missing, unless a flag says otherwise.

    `quota`: the namespace's ResourceQuota is used up, so hold until somebody raises it. `terminating`: the namespace is being deleted, so
    the tenant is orphaned and nothing more can be done in it.
    """

    def __init__(self, message: str, *, quota: bool = False, terminating: bool = False) -> None:
        super().__init__(message)
        self.quota = quota
        self.terminating = terminating


class NotFound(Fault):
    """404: an ordinary outcome. The object, its namespace, or its kind is not there."""


class AlreadyExists(Fault):
    """409 of a create: somebody was faster. Read it, and accept it if it is ours."""


class Conflict(Fault):
    """409 of a precondition: the object is not what we looked at. Observe it and plan again; never repeat the same body."""


class ApplyConflict(Fault):
    """409 of a server-side apply without force: somebody else owns the field. `owners` pairs each field path with its manager."""

    def __init__(self, message: str, *, owners: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.owners = owners


class Expired(Fault):
    """410: the resourceVersion or the continue token is too old. List again from the start."""


class Unavailable(Fault):
    """The server could not be asked, or did not take the request: nothing was done, all retries are used up. Come back later."""


class OutcomeUnknown(Fault):
    """A write went out and its answer was lost. It may have landed: observe before anything else is written to that object."""


class NotLeading(Fault):
    """This process does not hold the leader's Lease (any more), so it writes nothing. Nothing was sent."""


class SnapshotCorrupt(Fault):
    """A saved object is missing in part, or has another digest. Nothing may be built on it; the message names the Secret and the mend."""
