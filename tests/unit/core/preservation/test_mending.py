"""What a conflict offers to settle it: every rule that is shown is one that YAML reads, the API accepts, and that settles this conflict."""

import pytest
import yaml

from tenantwave.core.preservation import ConfigMapContent, Conflict, ConflictKind, OnConflict, OnUnknownBase, Rule, Rules, Subject, merge
from tenantwave.core.preservation.mending import CHOICES, mend_for, rule_for

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")

Sides = tuple[ConfigMapContent | None, ConfigMapContent | None, ConfigMapContent | None]


def _data(key: str, *texts: str | None) -> Sides:
    base, live, new = (ConfigMapContent() if text is None else ConfigMapContent({key: text}) for text in texts)
    return base, live, new


def _file(key: str, path: tuple[str, str, str]) -> Sides:
    return _data(key, *(f"{text}\nz: 1\n" for text in path))


HALTED: dict[str, Sides] = {
    "a path": _file("a.yaml", ("tls: {min: 1}", "tls: {min: 2}", "tls: {min: 3}")),
    "a path with a slash and a tilde": _file("a.yaml", ("a/b~c: 1", "a/b~c: 2", "a/b~c: 3")),
    "a path with what YAML treats specially": _file("a.yaml", ('"a: {b}, #c": 1', '"a: {b}, #c": 2', '"a: {b}, #c": 3')),
    "a path with quotes and a line separator": _file("a.yaml", ('"\\"\\L": 1', '"\\"\\L": 2', '"\\"\\L": 3')),
    "a path with an emoji": _file("a.yaml", ('"\\U0001F600": 1', '"\\U0001F600": 2', '"\\U0001F600": 3')),
    "a path named like a star": _file("a.yaml", ('"*": 1', '"*": 2', '"*": 3')),
    "a very long path": _file("a.yaml", (f"{'k' * 600}: 1", f"{'k' * 600}: 2", f"{'k' * 600}: 3")),
    "a key": _data("db.pool", "1", "2", "3"),
    "a key named like a number": _data("0.10", "1", "2", "3"),
    "a key named like a boolean": _data("on", "1", "2", "3"),
    "a key that starts with a dash": _data("-x", "1", "2", "3"),
    "added by both": _data("db.pool", None, "2", "3"),
    "edited but dropped": _data("db.pool", "1", "2", None),
    "deleted but changed": _data("db.pool", "1", None, "3"),
    "bytes": (
        ConfigMapContent(binary_data={"k": b"1"}),
        ConfigMapContent(binary_data={"k": b"2"}),
        ConfigMapContent(binary_data={"k": b"3"}),
    ),
    "a label": (ConfigMapContent(labels={"tier": "1"}), ConfigMapContent(labels={"tier": "2"}), ConfigMapContent(labels={"tier": "3"})),
    "the whole object": (ConfigMapContent({"a": "1"}), ConfigMapContent({"a": "2"}), None),
    "a deleted object": (ConfigMapContent({"a": "1"}), None, ConfigMapContent({"a": "2"})),
}


def _conflict(sides: Sides, *rules: Rule) -> Conflict:
    (conflict,) = merge(*sides, Rules(rules=rules), SUBJECT).conflicts
    return conflict


@pytest.mark.parametrize("sides", HALTED.values(), ids=HALTED)
def test_the_rule_that_is_shown_settles_the_conflict(sides: Sides) -> None:
    """Pasted as it is, behind rules that say Halt at the same place; and with ReleaseWins the other way."""
    shown = _conflict(sides).rule
    assert len(shown) <= 1024
    assert "\n" not in shown
    rule = Rule.model_validate(yaml.safe_load(shown))
    halting = rule.model_copy(update={"on_conflict": OnConflict.HALT})
    for answer, side in ((OnConflict.TENANT_WINS, 1), (OnConflict.RELEASE_WINS, 2)):
        settled = merge(*sides, Rules(rules=(halting, rule.model_copy(update={"on_conflict": answer}))), SUBJECT)
        assert settled.conflicts == ()
        assert [conflict.rule for conflict in settled.settled] == [""]
        assert settled.content == sides[side]


def test_a_rule_is_as_narrow_as_its_conflict() -> None:
    """A rule for one path leaves the conflict beside it standing."""
    sides = _data("a.yaml", "a: 1\nb: 1\n", "a: 2\nb: 2\n", "a: 3\nb: 3\n")
    one, other = merge(*sides, Rules(), SUBJECT).conflicts
    assert _conflict(sides, Rule.model_validate(yaml.safe_load(one.rule))) == other


def test_an_unknown_base_is_settled_by_no_rule() -> None:
    """The mend names the two answers of onUnknownBase, and both let the merge go on."""
    sides = (None, ConfigMapContent({"a": "1"}), ConfigMapContent({"a": "2", "b": "1"}))
    conflict = _conflict(sides, Rule(config_map="app-config", on_conflict=OnConflict.TENANT_WINS))
    assert conflict.rule == ""
    assert conflict.message == "no catalogue entry of shop 2.3.1 for app-config"
    wanted = {OnUnknownBase.ASSUME_LIVE_IS_BASE: {"a": "2", "b": "1"}, OnUnknownBase.TENANT_WINS: {"a": "1", "b": "1"}}
    for answer, data in wanted.items():
        assert answer.value in conflict.mend
        content = merge(*sides, Rules(on_unknown_base=answer), SUBJECT).content
        assert content is not None
        assert content.data == data


@pytest.mark.parametrize("kind", ConflictKind)
def test_every_kind_says_what_can_be_done(kind: ConflictKind) -> None:
    """In a sentence that fits into a status, whatever the names."""
    assert kind in CHOICES
    rule = rule_for(kind, "c" * 253, "k" * 253, "/" + "p" * 511)
    assert len(rule) <= 1024
    assert len(mend_for(kind, "2.4.0", rule)) <= 512
    assert "{" not in mend_for(kind, "2.4.0", "")
