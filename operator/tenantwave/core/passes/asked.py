"""Since when is asked what is asked: the version, and the two times. Consent, and times that had passed, are judged by it."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.core.journal import TimeSeen, VersionSeen
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Upgrade

GIT_ORDER = timedelta(minutes=10)
"""Git applies in any order: consent may be there somewhat earlier than the upgrade that it is about."""


def first_version(upgrade: Upgrade) -> VersionSeen | None:
    """Return the version that the upgrade asked for when it was made; None where its spec cannot be read."""
    if upgrade.spec is None:
        return None
    return VersionSeen(version=upgrade.spec.release.version, since=upgrade.creation_time - GIT_ORDER)


def remember(draft: Draft) -> None:
    """Note in the journal since when the upgrade asks for its version, and when each of its times was first seen."""
    live = draft.world.upgrade.spec
    if live is None or draft.deleted or draft.superseded:
        return
    known = draft.journal.version
    if known is None:
        draft.set_journal(version=first_version(draft.world.upgrade))
    elif known.version != live.release.version:
        draft.set_journal(version=VersionSeen(version=live.release.version, since=draft.now))
    before = {(seen.field, seen.value): seen for seen in draft.journal.times}
    stated = (("deadlineTime", live.deadline_time), ("forceTime", live.force_time))
    times = tuple(
        before.get((field, value)) or TimeSeen(field=field, value=value, first_seen=draft.now)
        for field, value in stated
        if value is not None
    )
    if times != draft.journal.times:
        draft.set_journal(times=times)
