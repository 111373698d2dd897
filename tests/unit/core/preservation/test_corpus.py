"""Files as they are found in clusters, each with a tenant's edits, a release's changes, and what must come out.

Each folder of tests/data/preservation holds `base`, `live` and `new` of one key, `merged` or else `conflicts.txt` (the kind and place of each),
and `rules.yaml` where the case needs items of `spec.preservation.rules`.
"""

from pathlib import Path

import pytest
import yaml

from tenantwave.core.preservation import ConfigMapContent, OnConflict, Rule, Rules, Subject, merge, merge_back

CORPUS = Path(__file__).parents[3] / "data" / "preservation"
SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
FOLDERS = sorted(CORPUS.iterdir())


def _cases(*, conflicting: bool) -> pytest.MarkDecorator:
    chosen = [path for path in FOLDERS if (path / "conflicts.txt").exists() == conflicting]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda path: path.name)


merging, halting = _cases(conflicting=False), _cases(conflicting=True)


def _sides(case: Path) -> dict[str, ConfigMapContent]:
    """Return the contents by name; the key is the folder's name with the files' suffix."""
    sides = [path for path in case.iterdir() if path.stem in ("base", "live", "new", "merged")]
    return {path.stem: ConfigMapContent({case.name + path.suffix: path.read_bytes().decode()}) for path in sides}


def _rules(case: Path, *more: Rule) -> Rules:
    path = case / "rules.yaml"
    items = yaml.safe_load(path.read_text()) if path.exists() else []
    return Rules(rules=(*map(Rule.model_validate, items), *more))


@merging
def test_both_sides_arrive_and_the_rest_stays(case: Path) -> None:
    """Byte for byte; and merging once more changes nothing."""
    sides, rules = _sides(case), _rules(case)
    result = merge(sides["base"], sides["live"], sides["new"], rules, SUBJECT)
    assert result.conflicts == ()
    assert result.content == sides["merged"]
    assert merge(sides["base"], sides["merged"], sides["new"], rules, SUBJECT).is_unchanged


@merging
def test_a_rollback_gives_the_tenants_file_back(case: Path) -> None:
    """To the byte."""
    sides = _sides(case)
    back = merge_back(sides["merged"], sides["merged"], sides["live"], _rules(case), SUBJECT)
    assert back.content == sides["live"]


@merging
def test_a_rollback_keeps_an_edit_made_in_the_meantime(case: Path) -> None:
    """Going back from the release's own file to the old one, with the tenant's edits made while it ran."""
    sides = _sides(case)
    back = merge_back(sides["new"], sides["merged"], sides["base"], _rules(case), SUBJECT)
    assert back.settled == ()
    assert back.content == sides["live"]


@halting
def test_conflicts_are_named_one_by_one_and_nothing_is_written(case: Path) -> None:
    """The rules that are shown with them settle all of them, in either direction."""
    sides = _sides(case)
    halted = merge(sides["base"], sides["live"], sides["new"], _rules(case), SUBJECT)
    assert [f"{one.kind.value} {one.place}" for one in halted.conflicts] == (case / "conflicts.txt").read_text().splitlines()
    assert halted.is_unchanged
    for answer in (OnConflict.TENANT_WINS, OnConflict.RELEASE_WINS):
        shown = [Rule.model_validate(yaml.safe_load(one.rule)).model_copy(update={"on_conflict": answer}) for one in halted.conflicts]
        settled = merge(sides["base"], sides["live"], sides["new"], _rules(case, *shown), SUBJECT)
        assert settled.may_write
        assert [one.place for one in settled.settled] == [one.place for one in halted.conflicts]
