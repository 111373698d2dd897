"""Laws of the division into waves: nobody is lost or taken twice, and coverage covers with as few tenants as can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builders import Block
from tenantwave.api.waves import Wave
from tenantwave.core.waves import Candidate, divide

PREFIX = "feature.test/"
VALUES = st.sampled_from(["on", "off", "beta"])
LABELS = st.dictionaries(st.sampled_from([f"{PREFIX}sso", f"{PREFIX}audit", "tier", "ring"]), VALUES, max_size=4)
FLEETS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), LABELS, max_size=30)
EARLIER: st.SearchStrategy[list[Block]] = st.lists(
    st.one_of(
        st.builds(lambda value: {"selector": {"matchLabels": {"ring": value}}}, VALUES),
        st.builds(lambda number: {"size": number}, st.integers(1, 5)),
        st.builds(lambda share: {"size": f"{share}%"}, st.integers(1, 50)),
    ),
    max_size=3,
)


def combination(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((key, value) for key, value in labels.items() if key.startswith(PREFIX))


@given(FLEETS, EARLIER, st.sampled_from(["shop/2.4.0", "shop/2.5.0"]))
def test_every_combination_is_done_before_the_last_wave(fleet: dict[str, dict[str, str]], earlier: list[Block], salt: str) -> None:
    """Demand A24; and by one tenant for each combination that no earlier wave has, so by no more than are needed."""
    blocks = [{"name": f"w{number}", **block} for number, block in enumerate(earlier)]
    blocks += [{"name": "mix", "coverage": {"labelPrefix": PREFIX}}, {"name": "rest"}]
    division = divide([Wave.model_validate(block) for block in blocks], [Candidate(*item) for item in fleet.items()], salt)
    taken = dict(division.waves)
    everybody = [name for names in taken.values() for name in names]
    assert sorted(everybody) == sorted(fleet)
    assert division.unmatched == ()
    before = {combination(fleet[name]) for wave, names in taken.items() if wave not in ("mix", "rest") for name in names}
    mixed = [combination(fleet[name]) for name in taken["mix"]]
    assert len(set(mixed)) == len(mixed)
    assert before.isdisjoint(mixed)
    assert before | set(mixed) >= {combination(labels) for labels in fleet.values()} - {frozenset()}
