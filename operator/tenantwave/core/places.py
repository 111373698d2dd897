"""Tenants by their places in a plan: a hundred names in a row are `3-102`. So a journal names each tenant once, however much it says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

NAME = "="
"""Stands before the name of a tenant that the plan does not have; a namespace may be called `7`."""


def places_of(names: Iterable[str], planned: Sequence[str]) -> str:
    """Return the names, in their order, as places in the plan, separated by commas. Cost: one look at the plan."""
    place_of = {name: place for place, name in enumerate(planned)}
    return ",".join(_runs([place_of.get(name, name) for name in names]))


def named_by(places: str, planned: Sequence[str]) -> tuple[str, ...]:
    """Return the names that `places_of` has written so. Raises ValueError where the plan has no such place."""
    names: list[str] = []
    for part in places.split(",") if places else ():
        if part.startswith(NAME):
            names.append(part.removeprefix(NAME))
            continue
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first) + 1
        if not 0 <= start < end <= len(planned):
            raise ValueError(f"places {part} are not in the plan, which has {len(planned)} tenants; the journal was edited by hand")
        names += planned[start:end]
    return tuple(names)


def _runs(found: Sequence[int | str]) -> Iterator[str]:
    """Yield neighbours together."""
    begin = 0
    while begin < len(found):
        first, end = found[begin], begin + 1
        if isinstance(first, str):
            yield f"{NAME}{first}"
        else:
            while end < len(found) and found[end] == first + end - begin:
                end += 1
            yield f"{first}-{first + end - begin - 1}" if end - begin > 1 else f"{first}"
        begin = end
