"""Properties of whole ConfigMaps: merging forwards (P5, P6, P13, P14, P21), taking back (P15, P16), and what is sent for it."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given

from support.document_cases import CHOICES, Choices, a_case
from support.documents import JSON_STYLE, STYLES, TOML_STYLE, YAML_STYLE
from support.profiles import thorough
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

TEXTS = ("", "1", "2", "a\nb\n")
NAMES = ("a", "b", "c", "db.pool")

of_choices = given(CHOICES)
cases = thorough(2000)


def a_content(choices: Choices) -> ConfigMapContent:
    """A small ConfigMap whose keys, labels and values collide often with those of the next one."""
    keys = {choices.of(NAMES): (choices.of(TEXTS), choices.one_in(3)) for _ in range(choices.below(5))}
    return ConfigMapContent(
        data={key: text for key, (text, is_binary) in keys.items() if not is_binary},
        binary_data={key: text.encode() for key, (text, is_binary) in keys.items() if is_binary},
        labels={choices.of(NAMES): choices.of("xy") for _ in range(choices.below(3))},
        annotations={choices.of(NAMES): choices.of("xy") for _ in range(choices.below(3))},
        immutable=choices.of((None, None, False, True)),
    )


def three_sides(choices: Choices) -> tuple[ConfigMapContent, ConfigMapContent, ConfigMapContent]:
    """Base, live and new of a ConfigMap with one structured file besides the small keys."""
    file = a_case(choices, choices.of(STYLES))
    base, live, new = (
        replace(side, data={**side.data, file.style.key: text})
        for side, text in ((a_content(choices), text) for text in (file.base, file.live, file.new))
    )
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


@cases
@of_choices
def test_a_patch_makes_after_out_of_before(choices: Choices) -> None:
    """It touches changed keys alone, and nothing that belongs to other tools."""
    before, after = a_content(choices), a_content(choices)
    foreign = {"annotations": {"meta.helm.sh/release-name": "shop", "tenantwave.io/intent": "u/1"}}
    raw = _patched(body_of(before), {"metadata": foreign})
    patched = _patched(raw, changes(before, after))
    assert isinstance(patched, dict)
    assert content_of(patched) == after
    assert foreign["annotations"].items() <= patched["metadata"]["annotations"].items()
    assert (changes(before, after) == {}) == (before == after)


@cases
@of_choices
def test_a_restart_recognises_its_own_write(choices: Choices) -> None:
    """All touched fields equal after the write, none of them before it."""
    before, after = a_content(choices), a_content(choices)
    fields = touched_fields(before, after)
    assert matches(after, after, fields)
    assert matching_fields(before, after, fields) == ()


@cases
@of_choices
def test_a_content_survives_the_wire(choices: Choices) -> None:
    """Reading what is written gives the same content and digest, whatever the order of keys."""
    content = a_content(choices)
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


@cases
@of_choices
def test_every_place_is_somebodys(choices: Choices) -> None:
    """P5 and P6 for keys, labels, annotations and `immutable`: with a halt all conflicts are listed, else each place is one side's."""
    base, live, new = (a_content(choices) for _ in range(3))
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


@cases
@of_choices
def test_the_order_of_keys_does_not_matter(choices: Choices) -> None:
    """P13: the same plan for the same content."""
    base, live, new = three_sides(choices)

    def turned(content: ConfigMapContent) -> ConfigMapContent:
        return replace(content, data=dict(reversed(list(content.data.items()))), labels=dict(reversed(list(content.labels.items()))))

    assert merge(base, live, new, Rules(), SUBJECT) == merge(turned(base), turned(live), turned(new), Rules(), SUBJECT)


@cases
@of_choices
def test_a_rollback_without_later_edits_restores_every_byte(choices: Choices) -> None:
    """P15: also keys that moved, comments, line ends; and P21: going forward again gives what it gave before."""
    base, live, new = three_sides(choices)
    after = _written(base, live, new)
    back = merge_back(after, after, live, Rules(), BACK)
    assert back.content == live
    assert not back.settled
    assert _written(base, live, new) == after


@cases
@of_choices
def test_a_rollback_keeps_later_edits(choices: Choices) -> None:
    """P16: what was edited since our write stays or is listed; every other place is restored."""
    base, before, new = three_sides(choices)
    after = _written(base, before, new)
    edits = {choices.of(NAMES): choices.of(("edited", "edited too")) for _ in range(choices.below(3))}
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


@cases
@of_choices
def test_a_later_edit_inside_a_file_survives_the_rollback(choices: Choices) -> None:
    """P16 inside a file: the edit stays, the release's own changes go or are listed."""
    style = choices.of(STYLES)
    file = a_case(choices, style)
    base, before, new = (ConfigMapContent({style.key: text}) for text in (file.base, file.live, file.new))
    after = _written(base, before, new)
    text = after.data[style.key]
    if style in (YAML_STYLE, JSON_STYLE) and not style.paths(text):
        return  # there is nothing to write an entry above in `{}`
    line_end = "\r\n" if "\r\n" in text else "\n"
    if style is JSON_STYLE:
        later_text = text.replace("{", "{" + line_end + '  "later": "edit",', 1)
    else:  # the first line, because behind the last one of INI and TOML a table may be open
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        entry = {YAML_STYLE: "later: edit", TOML_STYLE: 'later = "edit"'}.get(style, "later=edit")
        later_text = bom + entry + line_end + text.removeprefix(bom)
    back = merge_back(after, ConfigMapContent({style.key: later_text}), before, Rules(), BACK)
    assert back.content is not None
    paths, wanted = style.paths(back.content.data[style.key]), style.paths(before.data[style.key])
    assert paths["/later"] == repr("edit")
    assert {path: leaf for path, leaf in paths.items() if path != "/later"} == wanted or back.settled


@cases
@of_choices
def test_the_goal_follows_edits_between_two_writes(choices: Choices) -> None:
    """D5: two writes with an edit between them go back to the first pre-image with that edit. (A move between the rooms is no edit.)"""
    goal, after, found, target = (a_content(choices) for _ in range(4))
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
