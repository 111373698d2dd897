"""What ends a piece of work in a tenant before its end."""

from __future__ import annotations

from tenantwave.api.conditions import FailReason
from tenantwave.faults import Fault, Forbidden, Invalid, SnapshotCorrupt


class Failed(Exception):  # noqa: N818 - an outcome of the work, not an error of the program
    """This tenant fails, or is held: the state machine says which (`core.tenant_run.failed`)."""

    def __init__(self, reason: FailReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


_ONLY_RESOLVE = (
    ("Retry goes on from what is there, Resolve settles it", "Resolve settles it"),
    ("delete it and Retry if nothing was written yet", "Resolve with AcceptLive, which writes nothing"),
    ("then Retry or Resolve", "then Resolve"),
    ("then Retry", "then Resolve"),
)


def in_a_rollback(failure: Failed) -> Failed:
    """Return a failure in the words that hold in a rollback: there is nothing to retry, a person orders by Resolve."""
    message = failure.message
    for words, instead in _ONLY_RESOLVE:
        message = message.replace(words, instead)
    return Failed(failure.reason, message)


class ImmutableChange(Failed):
    """An immutable ConfigMap would have to change under its own name: a conflict of the whole object, with the mend in the message."""

    def __init__(self, config_map: str, message: str) -> None:
        super().__init__(FailReason.CONFIG_CONFLICT, message)
        self.config_map = config_map


class Busy(Exception):  # noqa: N818 - an outcome of the work, not an error of the program
    """Another run has the tenant."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NamespaceGone(Exception):  # noqa: N818 - an outcome of the work, not an error of the program
    """The tenant's namespace is gone, going, or another one of the same name. Nothing more is written there."""

    def __init__(self, reason: FailReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def lasting(fault: Fault, namespace: str) -> Exception:
    """Return what a fault means for the tenant: the fault itself where another look helps, else why the tenant fails."""
    match fault:
        case Forbidden(terminating=True):
            return NamespaceGone(FailReason.DELETED, f"namespace {namespace} is being deleted")
        case Forbidden(quota=True):
            return Failed(FailReason.QUOTA_EXCEEDED, f"{fault.message}; raise the quota, then it goes on")
        case Forbidden():
            return Failed(
                FailReason.PREFLIGHT_FAILED, f"{fault.message}; grant the operator this right, or mend the policy that refuses, then Retry"
            )
        case Invalid():
            return Failed(FailReason.PREFLIGHT_FAILED, f"{fault.message}; mend the object or the policy that refuses, then Retry")
        case SnapshotCorrupt():
            return Failed(FailReason.SNAPSHOT_CORRUPT, fault.message)
        case _:
            return fault
