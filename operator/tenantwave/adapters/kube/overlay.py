"""Our own writes, until the watch has caught up with them. Pure bookkeeping; the reflector asks it about each event.

The reply of a write enters the cache at once, else we would plan on a cache that misses what we just did. The watch then still delivers
what came before that write, which must not take it back. resourceVersions are compared for equality only, so "before" is told by the
write's precondition: what comes until the watch has shown the version on which we wrote is old, what comes after it is our echo or newer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

Address = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

ECHO_SECONDS = 30.0
REMEMBERED_COUNT = 4096
"""How many delivered versions are kept, to know an echo that was faster than the reply of its write."""


@dataclass(slots=True)
class _Pending:
    uid: str
    version: str
    """What our write made; empty for a deletion."""
    base_version: str
    base_was_seen: bool
    since: float


class Overlay:
    """Which of our writes the watch has not yet shown."""

    def __init__(self) -> None:
        self._pending: dict[Address, _Pending] = {}
        self._delivered: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __contains__(self, address: Address) -> bool:
        return address in self._pending

    def addresses(self) -> tuple[Address, ...]:
        """Return where writes of ours wait for their echo."""
        return tuple(self._pending)

    def wrote(self, address: Address, uid: str, version: str, *, base_version: str, cached_version: str, now: float) -> bool:
        """Note a write that landed. Return whether its reply is news: False if the watch was faster and has shown it already.

        `version` is empty for a deletion, `base_version` is the write's precondition (empty if it had none), `cached_version` what the cache
        holds (empty if nothing).
        """
        if (version and version == cached_version) or (uid, version) in self._delivered:
            return False
        # What the cache holds came from the watch, unless an earlier write of ours put it there.
        base_was_seen = bool(version and base_version) and base_version == cached_version and address not in self._pending
        self._pending[address] = _Pending(uid, version, base_version, base_was_seen, now)
        return True

    def accepts(self, address: Address, uid: str, version: str, *, deleted: bool) -> bool:
        """Tell whether an event of the watch may enter the cache: not if it is older than a write of ours."""
        self._remember(uid, "" if deleted else version)
        pending = self._pending.get(address)
        if pending is None:
            return True
        if uid != pending.uid:  # an older object of that name; a newer one comes only after our echo
            return False
        is_echo = deleted if not pending.version else version == pending.version
        if is_echo or pending.base_was_seen:
            del self._pending[address]
            return True
        pending.base_was_seen = bool(pending.base_version) and version == pending.base_version
        return False

    def settle(self, begun: float, listed: Mapping[Address, str]) -> None:
        """A full list shows all writes that had landed when it began, and those whose version is in it; only others stay."""
        self._pending = {
            address: pending
            for address, pending in self._pending.items()
            if pending.since >= begun and listed.get(address, "") != pending.version
        }

    def expire(self, now: float) -> list[Address]:
        """Give up waiting for echoes after 30 s; return where."""
        late = [address for address, pending in self._pending.items() if now - pending.since > ECHO_SECONDS]
        for address in late:
            del self._pending[address]
        return late

    def _remember(self, uid: str, version: str) -> None:
        self._delivered[(uid, version)] = None
        if len(self._delivered) > REMEMBERED_COUNT:
            self._delivered.popitem(last=False)
