"""What tenants are told about an upgrade: which words, how they are named by a digest, and which of them a TenantProfile shows.

    a notice = (upgrade, version, digest of the words)

It is given once, and keeps its time for ever: the lead counts from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from tenantwave.api.profile import MAX_NOTICES, GivenNotice
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.api.upgrade import Notice, TenantUpgradeSpec
from tenantwave.core import blobs, tenant_run

Key = tuple[str, str, str]


def words_of(text: Notice | None, product: str, version: str) -> Notice:
    """Return what tenants are told. Who writes no headline says product and version."""
    text = text or Notice()
    return text if text.title else text.model_copy(update={"title": f"{product} {version}"})


@lru_cache(maxsize=64)
def notice_digest(text: Notice | None, product: str, version: str) -> str:
    """Return `sha256:...` of what tenants are told: other words, or the same about another version, are another notice.

    Remembered, for it is asked for each tenant.
    """
    words = words_of(text, product, version)
    parts = {"title": words.title, "changes": words.changes, "benefits": words.benefits, "risks": words.risks, "url": words.url}
    return blobs.digest_of(blobs.canonical({"product": product, "version": version} | parts))


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice that a live upgrade wants its tenant to have.

    words: as `words_of` returns them. recorded_time: when the TenantRun says that it was given; None: not yet. waits: the tenant has not
    been started, so the notice still decides when it may.
    """

    upgrade: str
    version: str
    digest: str
    words: Notice
    recorded_time: datetime | None = None
    waits: bool = True

    @property
    def key(self) -> Key:
        """Return what makes it this notice."""
        return self.upgrade, self.version, self.digest

    def given(self, now: datetime) -> GivenNotice:
        """Return what the profile shows. What was given once is not given anew: a profile that lost it gets it back with its time."""
        return GivenNotice(
            upgrade=self.upgrade,
            version=self.version,
            digest=self.digest,
            time=self.recorded_time or now.replace(microsecond=0),
            title=self.words.title,
            changes=self.words.changes,
            benefits=self.words.benefits,
            risks=self.words.risks,
            url=self.words.url,
        )


def due_notice(upgrade: str, spec: TenantUpgradeSpec, status: TenantRunStatus) -> DueNotice | None:
    """Return the notice that a tenant of a live upgrade is to have; None where nothing is to be told, or not yet.

    The TenantRun has the digest of the words; the words are those of the live spec. Where the two differ the spec is newer than the
    decision behind the TenantRun, which follows. A tenant that the upgrade is through with is told nothing new.
    """
    release = spec.release
    if not status.notice_digest or (status.state in tenant_run.ENDED and status.notice_time is None):
        return None
    if (status.to_version, status.notice_digest) != (release.version, notice_digest(spec.notice, release.product, release.version)):
        return None
    return DueNotice(
        upgrade=upgrade,
        version=release.version,
        digest=status.notice_digest,
        words=words_of(spec.notice, release.product, release.version),
        recorded_time=status.notice_time,
        waits=status.start_time is None and status.state not in tenant_run.ENDED,
    )


def notices_shown(known: Sequence[GivenNotice], due: Iterable[DueNotice], now: datetime) -> tuple[GivenNotice, ...]:
    """Return the notices of one tenant, newest first: all that it was told, and what it is to be told now.

    The oldest give way, but none by which the tenant still waits: where those take all places, a new notice waits undelivered.
    Giving is idempotent: from the result, with the same notices due, the same result follows at any later time.
    """
    shown = {key_of(notice): notice for notice in reversed(known)}
    wanted = {notice.key: notice for notice in due}
    kept = {key for key, notice in wanted.items() if key in shown and _must_stay(notice)}
    for key, notice in wanted.items():
        if key in shown:
            continue
        if _must_stay(notice):
            if len(kept) == MAX_NOTICES:
                continue
            kept.add(key)
        shown[key] = notice.given(now)
    others = _newest_first(notice for key, notice in shown.items() if key not in kept)[: MAX_NOTICES - len(kept)]
    return tuple(_newest_first([*(shown[key] for key in kept), *others]))


def key_of(notice: GivenNotice) -> Key:
    """Return what makes it this notice."""
    return notice.upgrade, notice.version, notice.digest


def _must_stay(notice: DueNotice) -> bool:
    """Tell whether it must not give way: the tenant waits by it, or no TenantRun has its time yet, so that it would get another one."""
    return notice.waits or notice.recorded_time is None


def _newest_first(notices: Iterable[GivenNotice]) -> list[GivenNotice]:
    return sorted(sorted(notices, key=key_of), key=lambda notice: notice.time, reverse=True)
