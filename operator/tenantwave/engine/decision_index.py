"""The TenantDecisions that were last seen, by the upgrade and the tenant that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tenantwave.core.world import SeenDecision
from tenantwave.engine.tenant_views import DecisionView

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class DecisionIndex:
    """Every look-up costs what it returns, not what there is."""

    _all: dict[Key, DecisionView] = field(default_factory=dict)
    _about: dict[str, dict[str, dict[str, DecisionView]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    """upgrade -> tenant -> name -> decision; those that cannot be read are about the upgrade ''."""

    def put(self, old: DecisionView | None, new: DecisionView | None) -> None:
        """Take over a change."""
        if old is not None:
            self._all.pop(old.key, None)
            self._drop(old)
        if new is not None:
            self._all[new.key] = new
            self._about[new.upgrade][new.namespace][new.name] = new

    def _drop(self, view: DecisionView) -> None:
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

    def seen(self, upgrade: str, tenant: str) -> tuple[SeenDecision, ...]:
        """Return what an upgrade sees of a tenant's decisions."""
        return tuple(view.seen for view in self.of(upgrade, tenant) if view.seen is not None)

    def about(self, upgrade: str) -> Iterator[DecisionView]:
        """Yield what all tenants decided about an upgrade."""
        for named in self._about.get(upgrade, {}).values():
            yield from named.values()
