"""The pristine catalogue of one product, made of its entries."""

from __future__ import annotations

from collections.abc import Iterable

from tenantwave.core.world import Catalogue, CatalogueEntry
from tenantwave.engine.views import CatalogueView


def catalogue_of(views: Iterable[CatalogueView]) -> Catalogue:
    """Return the catalogue. Of several entries for one target and version the first by name counts, and the others are named."""
    entries: dict[tuple[str, str], CatalogueView] = {}
    duplicates = []
    for view in sorted(views, key=lambda view: view.name):
        first = entries.setdefault((view.version, view.target), view)
        if first is not view:
            duplicates.append(
                f"ConfigMaps {first.name} and {view.name} are both the catalogue entry of {view.target} for {view.version}; delete one"
            )
    chosen = [view for _, view in sorted(entries.items())]
    return Catalogue(
        entries=tuple(CatalogueEntry(view.version, view.target, "" if view.removed else view.digest, view.removed) for view in chosen),
        duplicates=tuple(duplicates),
    )
