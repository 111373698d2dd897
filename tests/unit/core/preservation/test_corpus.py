"""Files as they are found in clusters, each with a tenant's edits, a release's changes, and the text that must come out.

Each folder of tests/data/preservation holds `base`, `live`, `new` and `merged` of one key.
"""

from pathlib import Path

import pytest

from tenantwave.core.preservation import ConfigMapContent, Rules, Subject, merge, merge_back

CORPUS = Path(__file__).parents[3] / "data" / "preservation"
SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
cases = pytest.mark.parametrize("case", [pytest.param(path, id=path.name) for path in sorted(CORPUS.iterdir())])


def _sides(case: Path) -> dict[str, ConfigMapContent]:
    """Return the four contents by name; the key is the folder's name with the files' suffix."""
    return {path.stem: ConfigMapContent({case.name + path.suffix: path.read_bytes().decode()}) for path in case.iterdir()}


@cases
def test_both_sides_arrive_and_the_rest_stays(case: Path) -> None:
    """Byte for byte; and merging once more changes nothing."""
    sides = _sides(case)
    result = merge(sides["base"], sides["live"], sides["new"], Rules(), SUBJECT)
    assert result.conflicts == ()
    assert result.content == sides["merged"]
    assert merge(sides["base"], sides["merged"], sides["new"], Rules(), SUBJECT).is_unchanged


@cases
def test_a_rollback_gives_the_tenants_file_back(case: Path) -> None:
    """To the byte."""
    sides = _sides(case)
    back = merge_back(sides["merged"], sides["merged"], sides["live"], Rules(), SUBJECT)
    assert back.content == sides["live"]


@cases
def test_a_rollback_keeps_an_edit_made_in_the_meantime(case: Path) -> None:
    """Going back from the release's own file to the old one, with the tenant's edits made while it ran."""
    sides = _sides(case)
    back = merge_back(sides["new"], sides["merged"], sides["base"], Rules(), SUBJECT)
    assert back.settled == ()
    assert back.content == sides["live"]
