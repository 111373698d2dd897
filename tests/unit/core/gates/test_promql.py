"""The queries, as text. The golden file is what a person reviews: one query per line, as it leaves."""

from datetime import timedelta

import pytest

from support.golden_queries import GOLDEN, RULES, as_text, golden_queries
from tenantwave.core.gates.promql import bound_spellings, chunks, part_query, parts_of, tenant_matcher

EIGHT_MINUTES = timedelta(minutes=8)


def test_the_queries_are_the_golden_ones() -> None:
    """Write what you see into the file if the change is wanted, and review it as prose; what they mean is tested on a real Prometheus."""
    assert as_text(golden_queries()) == GOLDEN.read_text()


@pytest.mark.parametrize("name", ['a"} or vector(1)#', "a|.*", ".*", "acme\n", "", "Acme", "-a", "a-", "a" * 64, "a.b", "é"])
def test_a_text_that_is_no_namespace_never_enters_a_query(name: str) -> None:
    """Not even quoted."""
    with pytest.raises(ValueError, match="enters no query"):
        tenant_matcher("namespace", ["acme", name])


def test_nobody_is_never_everybody() -> None:
    """An empty alternation would match series without the label."""
    with pytest.raises(ValueError, match="at least one tenant"):
        tenant_matcher("namespace", [])


@pytest.mark.parametrize(
    ("above", "spellings"),
    [
        ("0.5", {"0.5"}),
        ("1", {"1", "1.0"}),
        ("1.0", {"1", "1.0"}),
        ("0.50", {"0.50", "0.5"}),
        ("1000000", {"1000000", "1000000.0", "1e+06"}),
        ("1234567", {"1234567", "1234567.0", "1.234567e+06"}),
        ("0.00001", {"0.00001", "1e-05"}),
        ("10", {"10", "10.0"}),
    ],
)
def test_a_bound_in_all_its_spellings(above: str, spellings: set[str]) -> None:
    """As given, plain, with `.0`, and as Go prints it."""
    assert bound_spellings(above) == spellings


@pytest.mark.parametrize(
    ("count", "length", "sizes"),
    [
        pytest.param(3, 10, [3], id="few"),
        pytest.param(1000, 30, [1000], id="a cohort with its control"),
        pytest.param(1000, 63, [1000], id="of the longest names there are"),
        pytest.param(1001, 63, [1001], id="so many that all are asked at once"),
    ],
)
def test_names_are_asked_in_chunks(count: int, length: int, sizes: list[int]) -> None:
    """Each below the size of a query."""
    names = [f"{number:0{length}d}" for number in range(count)]
    groups = chunks(RULES[0], parts_of(RULES[0])[0], names, EIGHT_MINUTES)
    assert [len(group) for group in groups] == sizes
    assert [name for group in groups for name in group] == names
    for group in groups:
        query = part_query(RULES[0], parts_of(RULES[0])[0], tenant_matcher("namespace", group), EIGHT_MINUTES)
        assert len(query) < 256 * 1024
        assert ('namespace=~".+"' in query) == (len(group) > 1000)
