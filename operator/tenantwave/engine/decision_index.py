"""The TenantDecisions that were last seen, by the upgrade and the tenant that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from operator import itemgetter

from tenantwave.core.calendar import Answer, age_of
from tenantwave.core.world import SeenDecision
from tenantwave.engine.tenant_views import DecisionView

Key = tuple[str, str]
"""Namespace and name."""
NEWEST_COUNT = 50
"""How many of a tenant's decisions about an upgrade are looked at each time. A tenant that makes thousands does not slow down the others."""


@dataclass(slots=True)
class DecisionIndex:
    """Every look-up costs what it returns, not what there is."""

    _all: dict[Key, DecisionView] = field(default_factory=dict)
    _about: dict[str, dict[str, dict[str, DecisionView]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    """upgrade -> tenant -> name -> decision; those that cannot be read are about the upgrade ''."""
    _current: dict[tuple[str, str], tuple[DecisionView, ...]] = field(default_factory=dict)
    """(upgrade, tenant) -> those that may matter, until one of them changes."""

    def put(self, old: DecisionView | None, new: DecisionView | None) -> None:
        """Take over a change."""
        if old is not None:
            self._all.pop(old.key, None)
            self._drop(old)
        if new is not None:
            self._current.pop((new.upgrade, new.namespace), None)
            self._all[new.key] = new
            self._about[new.upgrade][new.namespace][new.name] = new

    def _drop(self, view: DecisionView) -> None:
        self._current.pop((view.upgrade, view.namespace), None)
        tenants = self._about[view.upgrade]
        tenants[view.namespace].pop(view.name, None)
        if not tenants[view.namespace]:
            del tenants[view.namespace]
        if not tenants:
            del self._about[view.upgrade]

    def get(self, key: Key) -> DecisionView | None:
        """Return one decision, None where it is gone."""
        return self._all.get(key)

    def __iter__(self) -> Iterator[Key]:
        """Yield namespace and name of each."""
        return iter(self._all)

    def of(self, upgrade: str, tenant: str) -> tuple[DecisionView, ...]:
        """Return what a tenant decided about an upgrade, by name."""
        found = self._about.get(upgrade, {}).get(tenant)
        return tuple(found[name] for name in sorted(found)) if found else ()

    def current(self, upgrade: str, tenant: str) -> tuple[DecisionView, ...]:
        """Return what a tenant decided about an upgrade, as far as it may still matter, by name. Cost: a look into a table."""
        found = self._about.get(upgrade, {}).get(tenant)
        if not found:
            return ()
        known = self._current.get((upgrade, tenant))
        if known is None:
            known = self._current[upgrade, tenant] = _that_matter(found.values())
        return known

    def seen(self, upgrade: str, tenant: str) -> tuple[SeenDecision, ...]:
        """Return what an upgrade sees of a tenant's decisions."""
        return tuple(view.seen for view in self.current(upgrade, tenant) if view.seen is not None)

    def about(self, upgrade: str) -> Iterator[DecisionView]:
        """Yield what all tenants decided about an upgrade."""
        for named in self._about.get(upgrade, {}).values():
            yield from named.values()


def _that_matter(views: Iterable[DecisionView]) -> tuple[DecisionView, ...]:
    """Return the newest, and of older ones the one that counts and the newest that nobody has answered; by name.

    What else there is has been refused, or a newer one counted instead: its answer stays.
    """
    by_age = [(age_of(view.seen.decision), view) for view in views if view.seen is not None]
    if len(by_age) > NEWEST_COUNT:
        newest = nlargest(NEWEST_COUNT, by_age, key=itemgetter(0))
        oldest_of_these = newest[-1][0]
        older = [one for one in by_age if one[0] < oldest_of_these]
        counts = [one for one in older if (answer := _answer_of(one[1])) is not None and answer.accepted]
        unanswered = nlargest(NEWEST_COUNT, (one for one in older if _answer_of(one[1]) is None), key=itemgetter(0))
        by_age = [*newest, *counts, *unanswered]
    return tuple(sorted((view for _, view in by_age), key=lambda view: view.name))


def _answer_of(view: DecisionView) -> Answer | None:
    """Return what its upgrade has answered."""
    return view.seen.answer if view.seen is not None else None
