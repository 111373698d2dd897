"""The structural merge: three trees along the table, down to the paths that differ. It says what should be, `placing` writes it.

Mappings merge by name. A list is one value, unless a rule says that its items have a name (`by`) or that it is a set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tenantwave.core.preservation.diff3 import matching_pairs
from tenantwave.core.preservation.result import ConflictKind
from tenantwave.core.preservation.rules import ListRule, OnConflict
from tenantwave.core.preservation.sections import Clash
from tenantwave.core.preservation.table import CONFLICTS, ROWS_OF_LIVE, ROWS_OF_NEW, row_of
from tenantwave.core.preservation.tree import Child, Container, Leaf, Node, Shape, pointer


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A container of the tenant with changes of the release inside: its entries in their final order."""

    live: Container
    new: Container
    entries: tuple["Entry", ...]
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        """Work out the shape once."""
        named: Shape = {entry.name: entry.merged.shape for entry in self.entries}
        object.__setattr__(self, "shape", named if self.live.is_mapping else [entry.merged.shape for entry in self.entries])


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One entry of a mixed container. `live` is where it stands in the tenant's text, `new` in the release's; `merged` what it is now."""

    name: str
    merged: "Merged"
    live: Child | None
    new: Child | None


Merged: TypeAlias = Node | Mixed
"""A node of the tenant's text, a node of the release's text, or a mixture. Nodes are told apart by identity."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The three texts that the trees belong to, to show values in conflicts."""

    base: str
    live: str
    new: str


@dataclass(frozen=True, slots=True)
class Structure:
    """The structural merge of one key: what should be, and what clashed."""

    merged: Merged
    clashes: tuple[Clash, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What rules say inside one key: who wins a conflict at a path, and how the list at a path merges."""

    on_conflict: Callable[[str], OnConflict]
    list_rule: Callable[[str], ListRule | None]


def merge_structure(base: Node, live: Node, new: Node, texts: Texts, policy: Policy) -> Structure:
    """Merge three trees. Where a conflict halts, the tenant's value stands in the result, which is then not to be used.

    Cost: linear in the nodes, times the depth for comparing shapes.
    """
    clashes: list[Clash] = []
    merged = _merge(base, live, new, "", _Context(texts, policy, clashes))
    return Structure(live if merged is None else merged, tuple(clashes))


@dataclass(frozen=True, slots=True)
class _Context:
    texts: Texts
    policy: Policy
    clashes: list[Clash]


def _merge(base: Node | None, live: Node | None, new: Node | None, path: str, context: _Context) -> Merged | None:
    """Merge one path; None: it is not there."""
    row = row_of(_shape(base), _shape(live), _shape(new))
    if row in ROWS_OF_LIVE:
        return live
    if isinstance(live, Container) and isinstance(new, Container) and (base is None or isinstance(base, Container)):
        is_list_of_release = row in ROWS_OF_NEW and not live.is_mapping
        sides = _aligned_items(base, live, new) if is_list_of_release else _named_children(base, live, new, path, context.policy)
        if sides is not None:  # also where all of it is the release's: what the tenant wrote around the values stays
            return _merge_children(live, new, sides, path, context)
    if row in ROWS_OF_NEW:
        return new
    return _clash(CONFLICTS[row], base, live, new, path, context)


def _clash(kind: ConflictKind, base: Node | None, live: Node | None, new: Node | None, path: str, context: _Context) -> Node | None:
    decision = context.policy.on_conflict(path)
    texts = context.texts
    context.clashes.append(Clash(kind, path, _text(texts.base, base), _text(texts.live, live), _text(texts.new, new), decision))
    return new if decision is OnConflict.RELEASE_WINS else live


_Sides: TypeAlias = tuple[Mapping[str, Child], Mapping[str, Child], Mapping[str, Child]]


def _named_children(base: Container | None, live: Container, new: Container, path: str, policy: Policy) -> _Sides | None:
    """Return the children of the three containers by name; None where they merge as one value."""
    containers = (live, new) if base is None else (base, live, new)
    if len({container.is_mapping for container in containers}) > 1:
        return None
    if live.is_mapping:
        named = [{child.name: child for child in container.children} for container in containers]
    else:
        rule = policy.list_rule(path)
        named = [items for container in containers if (items := _named_items(container, rule)) is not None]
        if len(named) < len(containers):
            return None
    return ({}, named[0], named[1]) if base is None else (named[0], named[1], named[2])


def _named_items(container: Container, rule: ListRule | None) -> dict[str, Child] | None:
    """Name the items of a list as the rule says; None without a rule, or if an item has no name or two have the same."""
    if rule is None or not (rule.as_set or rule.by):
        return None
    items: dict[str, Child] = {}
    for child in container.children:
        name = repr(_canonical(child.node.shape)) if rule.as_set else _name_of_item(child.node, rule.by or "")
        if name is None or name in items:
            return None
        items[name] = replace(child, name=name)
    return items


def _aligned_items(base: Container | None, live: Container, new: Container) -> _Sides | None:
    """Name the items of a list that the tenant left as it was, so that the release's list comes out, item for item, in its order.

    Equal items have one name; between them changed items pair up from the first.
    """
    if base is None or new.is_mapping:
        return None
    old_items, new_items = ([repr(_canonical(child.node.shape)) for child in side.children] for side in (live, new))
    names: dict[int, str] = {}
    at = to = 0
    for i, j in (*matching_pairs(old_items, new_items), (len(old_items), len(new_items))):
        names |= {to + offset: str(at + offset) for offset in range(min(i - at, j - to))} | {j: str(i)}
        at, to = i + 1, j + 1
    of_new = {names.get(j, f"new {j}"): child for j, child in enumerate(new.children)}
    return _by_position(base), _by_position(live), {name: replace(child, name=name) for name, child in of_new.items()}


def _by_position(container: Container) -> dict[str, Child]:
    return {str(position): replace(child, name=str(position)) for position, child in enumerate(container.children)}


def _name_of_item(node: Node, by: str) -> str | None:
    if not isinstance(node, Container) or not node.is_mapping:
        return None
    return next((child.node.token for child in node.children if child.name == by and isinstance(child.node, Leaf)), None)


def _canonical(shape: Shape) -> object:
    """Return the shape in a form whose repr does not depend on the order of keys."""
    if isinstance(shape, dict):
        return [(name, _canonical(shape[name])) for name in sorted(shape)]
    return [_canonical(item) for item in shape] if isinstance(shape, list) else shape


def _merge_children(live: Container, new: Container, sides: _Sides, path: str, context: _Context) -> Merged:
    of_base, of_live, of_new = sides
    merged: dict[str, Merged] = {}
    for name in dict.fromkeys((*of_base, *of_live, *of_new)):
        child = _merge(_node(of_base.get(name)), _node(of_live.get(name)), _node(of_new.get(name)), pointer(path, name), context)
        if child is not None:
            merged[name] = child
    order = _order([name for name in of_live if name in merged], [name for name in of_new if name in merged])
    mixed = Mixed(live, new, tuple(Entry(name, merged[name], of_live.get(name), of_new.get(name)) for name in order))
    if mixed.shape == live.shape:
        return live
    is_only_comments = live.is_section and not live.children  # the tenant's, which stay
    return new if mixed.shape == new.shape and not is_only_comments and not any(entry.live for entry in mixed.entries) else mixed


def _order(of_live: Sequence[str], of_new: Sequence[str]) -> list[str]:
    """Return all names: the tenant's order; a name of the release alone comes after its predecessor there, else before its successor."""
    own = set(of_live)
    followers: dict[str | None, list[str]] = {}
    before: str | None = None
    for name in of_new:
        if name in own:
            before = name
        else:
            followers.setdefault(before, []).append(name)
    leading = followers.pop(None, [])
    successor = next((name for name in of_new if name in own), None)
    order: list[str] = []
    for name in of_live:
        order += (*(leading if name == successor else ()), name, *followers.get(name, ()))
    return order if successor is not None else order + leading


def _node(child: Child | None) -> Node | None:
    return None if child is None else child.node


def _shape(node: Node | None) -> "Shape | None":
    return None if node is None else node.shape


def _text(text: str, node: Node | None) -> str | None:
    return None if node is None else text[node.start : node.end]
