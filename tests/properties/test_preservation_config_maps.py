"""Properties of whole ConfigMaps: merging forwards (P13, P15, P21), taking back (P15, P16), and what is sent for it."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from support.documents import JSON_STYLE, PROPERTIES_STYLE, YAML_STYLE, Triple, triples
from tenantwave.core.preservation import (
    ConfigMapContent,
    MergeResult,
    OnConflict,
    Rules,
    Subject,
    body_of,
    changes,
    content_of,
    digest,
    matches,
    matching_fields,
    merge,
    merge_back,
    rebase_goal,
    same_configuration,
    touched_fields,
)

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
BACK = Subject("app-config", "the state before the upgrade", "our own write")

TEXTS = st.sampled_from(["", "1", "2", "a\nb\n"])
NAMES = st.sampled_from(["a", "b", "c", "db.pool"])


@st.composite
def contents(draw: st.DrawFn) -> ConfigMapContent:
    """A small ConfigMap whose keys, labels and values collide often with those of the next one."""
    keys = draw(st.dictionaries(NAMES, st.tuples(TEXTS, st.booleans())))
    return ConfigMapContent(
        data={key: text for key, (text, is_binary) in keys.items() if not is_binary},
        binary_data={key: text.encode() for key, (text, is_binary) in keys.items() if is_binary},
        labels=draw(st.dictionaries(NAMES, st.sampled_from("xy"), max_size=2)),
        annotations=draw(st.dictionaries(NAMES, st.sampled_from("xy"), max_size=2)),
        immutable=draw(st.sampled_from([None, None, False, True])),
    )


@st.composite
def structured(draw: st.DrawFn) -> tuple[ConfigMapContent, ConfigMapContent, ConfigMapContent]:
    """Base, live and new of a ConfigMap with one structured file besides the small keys."""
    file: Triple = draw(triples((YAML_STYLE, JSON_STYLE, PROPERTIES_STYLE)))
    sides = [draw(contents()) for _ in range(3)]
    texts = (file.base, file.live, file.new)
    base, live, new = (replace(side, data={**side.data, file.style.key: text}) for side, text in zip(sides, texts, strict=True))
    return base, live, new


def _values(content: ConfigMapContent) -> Mapping[str, object]:
    """Return everything of a content by a name of its own."""
    flat: dict[str, object] = {f"key {key}": value for key, value in content.values.items()}
    flat |= {f"label {name}": value for name, value in content.labels.items()}
    flat |= {f"annotation {name}": value for name, value in content.annotations.items()}
    return flat | ({} if content.immutable is None else {"immutable": content.immutable})


def _written(base: ConfigMapContent, live: ConfigMapContent, new: ConfigMapContent) -> ConfigMapContent:
    content = merge(base, live, new, Rules(OnConflict.TENANT_WINS), SUBJECT).content
    assert content is not None
    return content


def _patched(target: object, patch: object) -> object:
    """RFC 7396, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), value)
    return result


@settings(deadline=None)
@given(contents(), contents())
def test_a_patch_makes_after_out_of_before(before: ConfigMapContent, after: ConfigMapContent) -> None:
    """It touches changed keys alone, and nothing that belongs to other tools."""
    foreign = {"annotations": {"meta.helm.sh/release-name": "shop", "tenantwave.io/intent": "u/1"}}
    raw = _patched(body_of(before), {"metadata": foreign})
    patched = _patched(raw, changes(before, after))
    assert isinstance(patched, dict)
    assert content_of(patched) == after
    assert foreign["annotations"].items() <= patched["metadata"]["annotations"].items()
    assert (changes(before, after) == {}) == (before == after)


@settings(deadline=None)
@given(contents(), contents())
def test_a_restart_recognises_its_own_write(before: ConfigMapContent, after: ConfigMapContent) -> None:
    """All touched fields equal after the write, none of them before it."""
    fields = touched_fields(before, after)
    assert matches(after, after, fields)
    assert matching_fields(before, after, fields) == ()


@settings(deadline=None)
@given(contents())
def test_a_content_survives_the_wire(content: ConfigMapContent) -> None:
    """Reading what is written gives the same content and digest, whatever the order of keys."""
    turned = ConfigMapContent(
        data=dict(reversed(list(content.data.items()))),
        binary_data=dict(reversed(list(content.binary_data.items()))),
        labels=dict(reversed(list(content.labels.items()))),
        annotations=content.annotations,
        immutable=content.immutable,
    )
    assert content_of(body_of(content)) == content
    assert digest(turned) == digest(content)
    assert same_configuration(turned, content)


@settings(deadline=None)
@given(contents(), contents(), contents())
def test_every_place_is_somebodys(base: ConfigMapContent, live: ConfigMapContent, new: ConfigMapContent) -> None:
    """P5 and P6 for keys, labels, annotations and `immutable`: with a halt all conflicts are listed, else each place is one side's."""
    result = merge(base, live, new, Rules(), SUBJECT)
    out = _values(result.content or ConfigMapContent())
    sides = [_values(side) for side in (base, live, new)]
    conflicts = 0
    for name in {*sides[0], *sides[1], *sides[2]}:
        b, t, r = (side.get(name) for side in sides)
        if t != b and r != b and t != r:
            conflicts += 1
        else:
            assert out.get(name) == (t if r == b else r)
    assert len(result.conflicts) == conflicts


@settings(deadline=None)
@given(contents(), contents(), contents())
def test_the_order_of_keys_does_not_matter(base: ConfigMapContent, live: ConfigMapContent, new: ConfigMapContent) -> None:
    """P13: the same plan for the same content."""

    def turned(content: ConfigMapContent) -> ConfigMapContent:
        return replace(content, data=dict(reversed(list(content.data.items()))), labels=dict(reversed(list(content.labels.items()))))

    assert merge(base, live, new, Rules(), SUBJECT) == merge(turned(base), turned(live), turned(new), Rules(), SUBJECT)


@settings(deadline=None)
@given(structured())
def test_a_rollback_without_later_edits_restores_every_byte(sides: tuple[ConfigMapContent, ConfigMapContent, ConfigMapContent]) -> None:
    """P15: also keys that moved, comments, line ends; and P21: going forward again gives what it gave before."""
    base, live, new = sides
    after = _written(base, live, new)
    back = merge_back(after, after, live, Rules(), BACK)
    assert back.content == live
    assert not back.settled
    assert _written(base, live, new) == after


@settings(deadline=None)
@given(structured(), st.data())
def test_a_rollback_keeps_later_edits(sides: tuple[ConfigMapContent, ConfigMapContent, ConfigMapContent], data: st.DataObject) -> None:
    """P16: what was edited since our write stays or is listed; every other place is restored."""
    base, before, new = sides
    after = _written(base, before, new)
    edits = data.draw(st.dictionaries(NAMES, st.sampled_from(["edited", "edited too"]), max_size=2))
    later = replace(after, data={**after.data, **edits}, binary_data={k: v for k, v in after.binary_data.items() if k not in edits})
    back: MergeResult = merge_back(after, later, before, Rules(), BACK)
    assert back.may_write
    assert back.content is not None
    for key, text in edits.items():
        assert back.content.data[key] == text
        ours = after.values.get(key) != before.values.get(key)
        listed = any(conflict.key == key for conflict in back.settled)
        assert listed == (ours and before.values.get(key) != later.values.get(key))
    for key in (before.values.keys() | after.values.keys()) - edits.keys():
        assert back.content.values.get(key) == before.values.get(key)


@settings(deadline=None)
@given(structured(), st.data())
def test_a_later_edit_inside_a_file_survives_the_rollback(
    sides: tuple[ConfigMapContent, ConfigMapContent, ConfigMapContent], data: st.DataObject
) -> None:
    """S6: the tenant edits a file that the release had changed; the edit stays, the release's own changes go or are listed."""
    base, before, new = sides
    after = _written(base, before, new)
    key = next(key for key in before.data if key in (YAML_STYLE.key, JSON_STYLE.key, PROPERTIES_STYLE.key))
    style = {style.key: style for style in (YAML_STYLE, JSON_STYLE, PROPERTIES_STYLE)}[key]
    value = {YAML_STYLE.key: "later: edit", JSON_STYLE.key: '"later": "edit"', PROPERTIES_STYLE.key: "later=edit"}[key]
    text = after.data[key]
    line_end = "\r\n" if "\r\n" in text else "\n"
    if style is JSON_STYLE:
        assume("\n" in text)
        later_text = text.replace("{", "{" + line_end + "  " + value + ",", 1)
    else:
        later_text = text + ("" if text.endswith("\n") else line_end) + value + ("" if not text.endswith("\n") else line_end)
    later = replace(after, data={**after.data, key: later_text})
    back = merge_back(after, later, before, Rules(), BACK)
    assert back.content is not None
    paths, wanted = style.paths(back.content.data[key]), style.paths(before.data[key])
    assert paths["/later"] == repr("edit")
    assert {path: leaf for path, leaf in paths.items() if path != "/later"} == wanted or back.settled


@settings(deadline=None)
@given(contents(), contents(), contents(), contents())
def test_the_goal_follows_edits_between_two_writes(
    goal: ConfigMapContent, after: ConfigMapContent, found: ConfigMapContent, target: ConfigMapContent
) -> None:
    """D5: two writes with an edit between them go back to the first pre-image with that edit. (A move between the rooms is no edit.)"""
    rebased = rebase_goal(goal, after, found, Rules(), BACK)
    assert rebased is not None
    unchanged = rebase_goal(goal, after, after, Rules(), BACK)
    assert unchanged is not None
    assert _values(unchanged) == _values(goal)
    sides = [_values(side) for side in (goal, after, found, rebased)]
    for name in {*sides[0], *sides[1], *sides[2]}:
        g, a, f, out = (side.get(name) for side in sides)
        assert out == (g if f == a else f)
    back = merge_back(target, target, rebased, Rules(), BACK)
    assert back.content is not None
    assert _values(back.content) == _values(rebased)
