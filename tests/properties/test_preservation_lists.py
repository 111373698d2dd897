"""Lists inside files: by the name of their items, as sets, and as one value."""

import yaml
from hypothesis import given

from support.document_cases import CHOICES, Choices
from support.profiles import thorough
from tenantwave.core.preservation import ConfigMapContent, ListRule, MergeResult, OnConflict, Rule, Rules, Subject, merge

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
KEY = "servers.yaml"

Servers = tuple[tuple[str, int], ...]

cases = thorough(2000)


def _some_servers(choices: Choices) -> Servers:
    return tuple({choices.of("abcde"): 1 + choices.below(3) for _ in range(choices.below(5))}.items())


def _edited(choices: Choices, items: Servers) -> Servers:
    """Somebody changes, drops, inserts and moves items."""
    edited = [(name, 1 + choices.below(3) if choices.one_in(4) else port) for name, port in items if not choices.one_in(5)]
    if choices.one_in(3):
        edited.insert(choices.below(len(edited) + 1), (choices.of([name for name in "abcdefgh" if name not in dict(edited)]), 9))
    if edited and choices.one_in(3):
        edited.insert(choices.below(len(edited)), edited.pop())
    return tuple(edited)


def _three_lists(choices: Choices) -> tuple[Servers, Servers, Servers, bool]:
    base = _some_servers(choices)
    return base, _edited(choices, base), _edited(choices, base), choices.one_in(2)


three_lists = CHOICES.map(_three_lists)


def _servers(items: Servers, is_flow: bool) -> str:
    """Write servers as a block or in brackets, with a comment at each."""
    if is_flow:
        return f"servers: [{', '.join(f'{{name: {name}, port: {port}}}' for name, port in items)}]\nend: 1\n"
    lines = "".join(f"- name: {name}\n  port: {port}  # of {name}\n" for name, port in items)
    return (f"servers:\n{lines}" if items else "servers: []\n") + "end: 1\n"


def _merge(texts: tuple[str, str, str], on_conflict: OnConflict, *lists: ListRule) -> MergeResult:
    rules = Rules(on_conflict, rules=(Rule(config_map="app-config", key=KEY, lists=lists),) if lists else ())
    sides = [ConfigMapContent({KEY: text}) for text in texts]
    return merge(sides[0], sides[1], sides[2], rules, SUBJECT)


def _read(result: MergeResult) -> dict[str, list[object]]:
    assert result.content is not None
    read: dict[str, list[object]] = yaml.load(result.content.data[KEY], yaml.CSafeLoader)
    return read


@cases
@given(three_lists)
def test_items_by_name_follow_the_table(lists: tuple[Servers, Servers, Servers, bool]) -> None:
    """Each item is that of one side; where both changed it the tenant's stands and it is listed; merging again changes nothing."""
    base, live, new, is_flow = lists
    texts = (_servers(base, is_flow), _servers(live, is_flow), _servers(new, is_flow))
    rule = ListRule(path="/servers", by="name")
    result = _merge(texts, OnConflict.TENANT_WINS, rule)
    assert result.content is not None
    out = {item["name"]: item["port"] for item in _read(result)["servers"] if isinstance(item, dict)}
    listed = {conflict.path for conflict in result.settled}
    b, t, r = dict(base), dict(live), dict(new)
    if listed & {"", "/servers"}:
        assert out == t
        return
    for name in {*b, *t, *r}:
        wanted = r.get(name) if t.get(name) == b.get(name) else t.get(name)
        assert out.get(name) == wanted
        if t.get(name) != b.get(name) != r.get(name) != t.get(name):
            assert any(path.startswith(f"/servers/{name}") for path in listed)
    if live != base:
        assert [name for name in out if name in t] == [name for name in t if name in out]  # in the tenant's order
    again = _merge((texts[0], result.content.data[KEY], texts[2]), OnConflict.TENANT_WINS, rule)
    assert again.is_unchanged


@cases
@given(three_lists)
def test_sets_take_the_changes_of_both_sides(lists: tuple[Servers, Servers, Servers, bool]) -> None:
    """What one side added is there, what one side dropped is not; there are no conflicts."""
    base, live, new = ([name for name, _ in items] for items in lists[:3])
    texts = tuple(f"tags: [{', '.join(items)}]\nend: 1\n" for items in (base, live, new))
    result = _merge((texts[0], texts[1], texts[2]), OnConflict.HALT, ListRule(path="/tags", as_set=True))
    if any(conflict.path == "" for conflict in result.conflicts):
        return
    assert result.may_write
    out = _read(result)["tags"]
    assert len(out) == len(set(map(str, out)))
    assert set(map(str, out)) == (set(live) | (set(new) - set(base))) - (set(base) - set(new)) - (set(base) - set(live))


@cases
@given(three_lists)
def test_a_list_that_only_the_release_changed_is_the_releases(lists: tuple[Servers, Servers, Servers, bool]) -> None:
    """Item for item, in its order, while the tenant's edit beside it stays."""
    base, _, new, is_flow = lists
    texts = (_servers(base, is_flow), _servers(base, is_flow).replace("end: 1", "end: 2"), _servers(new, is_flow))
    result = _merge(texts, OnConflict.HALT)
    assert result.may_write
    assert _read(result) == {"servers": [{"name": name, "port": port} for name, port in new], "end": 2}
