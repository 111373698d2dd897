"""Who wins a conflict, how keys are read, and what conflicts say."""

import pytest

from tenantwave.api.upgrade import Preservation
from tenantwave.core.preservation import (
    ConfigMapContent,
    Format,
    ListRule,
    MergeResult,
    OnConflict,
    OnUnknownBase,
    Rule,
    Rules,
    Subject,
    merge,
    merge_back,
)
from tenantwave.core.preservation.formats import format_of
from tenantwave.core.preservation.result import MAX_SHOWN, excerpts

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
HALT, TENANT, RELEASE = OnConflict.HALT, OnConflict.TENANT_WINS, OnConflict.RELEASE_WINS


def _rule(on_conflict: OnConflict, key: str | None = None, path: str | None = None) -> Rule:
    return Rule(config_map="app-config", key=key, path=path, on_conflict=on_conflict)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param((), HALT, id="the upgrade's own answer"),
        pytest.param((_rule(TENANT),), TENANT, id="the ConfigMap before the upgrade"),
        pytest.param((_rule(RELEASE, "app.yaml"), _rule(TENANT)), RELEASE, id="the key before the ConfigMap"),
        pytest.param((_rule(RELEASE, "app.yaml", "/tls"), _rule(TENANT, "app.yaml")), RELEASE, id="a path above before the key"),
        pytest.param((_rule(RELEASE, "app.yaml", "/tls/min"), _rule(TENANT, "app.yaml", "/tls")), RELEASE, id="the deeper path"),
        pytest.param((_rule(RELEASE, "app.yaml", "/tls/min/x"),), HALT, id="not a path below"),
        pytest.param((_rule(RELEASE, "app.yaml", "/tl"),), HALT, id="not a path that only begins alike"),
        pytest.param((_rule(RELEASE, "app.yaml", "/*/min"),), RELEASE, id="any name by a star"),
        pytest.param((_rule(RELEASE, "other.yaml"),), HALT, id="not another key"),
        pytest.param((_rule(TENANT, "app.yaml"), _rule(RELEASE, "app.yaml")), RELEASE, id="of equals the later"),
        pytest.param((Rule(config_map="other", on_conflict=RELEASE),), HALT, id="not another ConfigMap"),
    ],
)
def test_the_narrowest_rule_wins(rules: tuple[Rule, ...], expected: OnConflict) -> None:
    """Path, key, ConfigMap, upgrade."""
    assert Rules(HALT, rules=rules).on_conflict_for("app-config", "app.yaml", "/tls/min") is expected


def test_rules_come_from_the_upgrade() -> None:
    """What the contract says is what the merge uses."""
    preservation = Preservation.model_validate(
        {"onConflict": "TenantWins", "onUnknownBase": "TenantWins", "rules": [{"configMap": "c", "key": "k", "format": "Opaque"}]}
    )
    rules = Rules.of(preservation)
    assert (rules.on_conflict, rules.on_unknown_base) == (TENANT, OnUnknownBase.TENANT_WINS)
    assert rules.format_for("c", "k") is Format.OPAQUE
    assert rules.format_for("c", "other") is Format.AUTO


@pytest.mark.parametrize(
    ("key", "stated", "expected"),
    [
        ("application.yaml", Format.AUTO, Format.YAML),
        ("a.b.YML", Format.AUTO, Format.YAML),
        ("tsconfig.jsonc", Format.AUTO, Format.JSON),
        ("log4j.properties", Format.AUTO, Format.PROPERTIES),
        ("db.pool", Format.AUTO, Format.TEXT),
        ("yaml", Format.AUTO, Format.TEXT),
        ("grafana.ini", Format.AUTO, Format.INI),
        (".env", Format.AUTO, Format.INI),
        ("worker.env", Format.AUTO, Format.INI),
        ("telegraf.toml", Format.AUTO, Format.TOML),
        ("nginx.conf", Format.AUTO, Format.TEXT),
        ("haproxy.cfg", Format.AUTO, Format.TEXT),
        ("worker.service", Format.AUTO, Format.TEXT),
        ("my.cnf", Format.INI, Format.INI),
        ("logback.xml", Format.AUTO, Format.TEXT),
        ("rules", Format.YAML, Format.YAML),
        ("a.yaml", Format.OPAQUE, Format.OPAQUE),
    ],
)
def test_a_key_is_read_as_stated_or_by_its_suffix(key: str, stated: Format, expected: Format) -> None:
    """Whatever has no parser here is text."""
    assert format_of(key, stated) is expected


def _merge(base: str, live: str, new: str, *rules: Rule, key: str = "app.yaml") -> MergeResult:
    return merge(ConfigMapContent({key: base}), ConfigMapContent({key: live}), ConfigMapContent({key: new}), Rules(rules=rules), SUBJECT)


def _text(result: MergeResult, key: str = "app.yaml") -> str:
    assert result.content is not None
    return result.content.data[key]


BASE = "tls:\n  min: '1.1'\n  max: '1.2'\n"
LIVE = "tls:\n  min: '1.0'\n  max: '1.2'\n"
NEW = "tls:\n  min: '1.2'\n  max: '1.3'\n"


def test_a_conflict_names_place_values_and_mend() -> None:
    """The sentence is fit for a status; it does not depend on values."""
    (conflict,) = _merge(BASE, LIVE, NEW).conflicts
    assert conflict.message == "app-config/app.yaml:/tls/min: changed by both tenant and 2.4.0"
    assert conflict.rule == "{configMap: app-config, key: app.yaml, path: /tls/min, onConflict: TenantWins}"
    assert conflict.mend == (
        "give the tenant its base value or that of 2.4.0 (new), or give 2.4.0 the tenant's value (live), "
        f"or add the rule {conflict.rule} (ReleaseWins takes the release's side)"
    )
    assert (conflict.key, conflict.path, conflict.base, conflict.live, conflict.new) == ("app.yaml", "/tls/min", "'1.1'", "'1.0'", "'1.2'")


def test_a_rule_for_a_path_settles_that_path_alone() -> None:
    """The rest of the file merges as ever."""
    result = _merge(BASE, LIVE, NEW, _rule(RELEASE, "app.yaml", "/tls/min"))
    assert _text(result) == NEW
    assert _text(_merge(BASE, LIVE, NEW, _rule(TENANT, "app.yaml", "/tls/min"))) == "tls:\n  min: '1.0'\n  max: '1.3'\n"
    assert [conflict.path for conflict in result.settled] == ["/tls/min"]


def test_shown_values_are_bounded() -> None:
    """A conflict goes into a status; a value of a megabyte does not."""
    (conflict,) = _merge("a: b\n", f"a: {'t' * 5000}\n", "a: r\n").conflicts
    assert conflict.live is not None
    assert len(conflict.live) == 200
    assert conflict.live.endswith("…")


SERVERS = "servers:\n- name: a\n  port: 1\n- name: b\n  port: 2\n"


def test_a_list_is_one_value_without_a_rule() -> None:
    """Positions say nothing about identity."""
    (conflict,) = _merge(SERVERS, SERVERS.replace("1", "9"), SERVERS.replace("2", "8")).conflicts
    assert conflict.path == "/servers"


def test_list_items_merge_by_their_name() -> None:
    """The tenant put one first, the release changed the second: both hold, by name."""
    rule = Rule(config_map="app-config", key="app.yaml", lists=(ListRule(path="/servers", by="name"),))
    live = SERVERS.replace("servers:\n", "servers:\n- name: mine\n  port: 7\n")
    result = _merge(SERVERS, live, SERVERS.replace("2", "8"), rule)
    assert _text(result) == live.replace("2", "8")
    (conflict,) = _merge(SERVERS, SERVERS.replace("2", "3"), SERVERS.replace("2", "8"), rule).conflicts
    assert conflict.path == "/servers/b/port"


def test_list_items_without_a_name_of_their_own_stay_one_value() -> None:
    """Two items of one name: the rule cannot tell them apart."""
    rule = Rule(config_map="app-config", key="app.yaml", lists=(ListRule(path="/servers", by="name"),))
    twice = SERVERS.replace("name: b", "name: a")
    assert [c.path for c in _merge(twice, twice.replace("1", "9"), twice.replace("2", "8"), rule).conflicts] == ["/servers"]


def test_lists_merge_as_sets() -> None:
    """Each side adds and drops for itself."""
    rule = Rule(config_map="app-config", key="app.yaml", lists=(ListRule(path="/tags", as_set=True),))
    assert _text(_merge("tags: [a, b, c]\n", "tags: [mine, a, c]\n", "tags: [a, b, new]\n", rule)) == "tags: [mine, a, new]\n"


def test_a_rollback_has_no_conflicts_whatever_the_rules_say() -> None:
    """The later edit wins on a path of ours and is listed; the rest goes back."""
    rules = Rules(RELEASE, rules=(_rule(RELEASE, "app.yaml", "/tls"),))
    after, edited, before = (ConfigMapContent({"app.yaml": text}) for text in (NEW, NEW.replace("min: '1.2'", "min: '1.4'"), BASE))
    result = merge_back(after, edited, before, rules, Subject("app-config", "the state before", "our write"))
    assert _text(result) == "tls:\n  min: '1.4'\n  max: '1.2'\n"
    assert [conflict.path for conflict in result.settled] == ["/tls/min"]


def test_a_rollback_of_what_we_created_takes_it_away_unless_it_was_edited() -> None:
    """And what was deleted since stays deleted."""
    subject = Subject("app-config", "the state before", "our write")
    created, edited = ConfigMapContent({"a": "1"}), ConfigMapContent({"a": "1", "mine": "1"})
    assert merge_back(created, created, None, Rules(), subject).content is None
    kept = merge_back(created, edited, None, Rules(), subject)
    assert (kept.content, kept.is_unchanged, len(kept.settled)) == (edited, True, 1)
    assert merge_back(created, None, ConfigMapContent({"a": "0"}), Rules(), subject).content is None


def test_long_values_are_shown_from_where_they_differ() -> None:
    """A file of a hundred lines, one of which both sides changed."""

    def motd(line: str) -> str:
        return "".join(f"{line if number == 60 else f'line {number} of the message of the day'}\n" for number in range(1, 101))

    base, live, new = excerpts(motd("as it was"), motd("as the tenant says"), motd("as the release says"))
    shown = [each or "" for each in (base, live, new)]
    assert [each.partition("\n")[0] for each in shown] == [
        "…line 60: as it was", "…line 60: as the tenant says", "…line 60: as the release says",
    ]  # fmt: skip
    assert {len(each) for each in shown} == {MAX_SHOWN}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        pytest.param(("a", None, "b"), ("a", None, "b"), id="short ones are shown whole"),
        pytest.param((None, "x" * 300, None), (None, "x" * 199 + "…", None), id="one alone from its beginning"),
        pytest.param(("x" * 300, "x" * 300, None), ("x" * 199 + "…",) * 2 + (None,), id="equal ones from their beginning"),
        pytest.param(
            ("x" * 300 + "a", "x" * 300 + "b"), ("…line 1: " + "x" * 100 + "a", "…line 1: " + "x" * 100 + "b"), id="one long line"
        ),
        pytest.param(("x" * 300, "x" * 300 + "b"), ("…line 1: " + "x" * 100, "…line 1: " + "x" * 100 + "b"), id="one goes on"),
    ],
)
def test_excerpts(values: tuple[str | None, ...], shown: tuple[str | None, ...]) -> None:
    """None stays None; each begins at the same place."""
    assert excerpts(*values) == shown
