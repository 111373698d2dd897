"""Good and hostile raw queries are told apart, quickly, and with a mend."""

import time

import pytest

from tenantwave.core.gates.promql import fill_in, tenant_matcher
from tenantwave.core.gates.raw_query import why_not_accepted

GOOD = [
    "max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })",
    "max by ({{label}}) (queue_lag_seconds{{{tenants}}})",
    "queue_lag_seconds{ {{ tenants }} }",
    'sum by (namespace) (rate(jobs_total{ {{ tenants }}, state="failed" }[5m]))',
    "sum without (pod) (rate(jobs_total{ {{ tenants }} }[5m] offset 1m))",
    "sum by ({{ label }}) (a{ {{ tenants }} }) / sum by ({{ label }}) (b{ {{ tenants }} })",
    "a{ {{ tenants }} } / on ({{ label }}) group_left () b{ {{ tenants }} }",
    "a{ {{ tenants }} } - ignoring (pod) b{ {{ tenants }} }",
    "time() - max by ({{ label }}) (last_success{ {{ tenants }} })",
    "histogram_quantile(0.9, sum by (le, {{ label }}) (rate(x_bucket{ {{ tenants }} }[5m])))",
    "clamp_max(-(a{ {{ tenants }} }), 3) * 2",
    "topk by ({{ label }}) (1, a{ {{ tenants }} }) > 5",
]
HOSTILE = [
    ("a", "matches on namespace 0 times"),
    ('a{namespace="acme"}', "ask for all tenants at once"),
    ('a{namespace=~".*"}', "ask for all tenants at once"),
    ('a{ {{ tenants }}, namespace!="x" }', "fixes the tenant"),
    ("a{ {{ tenants }}, {{ tenants }} }", "2 times"),
    ("a{ {{ tenants }} } + b", "selector of b"),
    ('{ {{ tenants }}, __name__="a" }', "no exact metric name"),
    ('{ {{ tenants }}, __name__=~".+" }', "no exact metric name"),
    ('a{ {{ tenants }}, __name__!="b" }', "must not be set twice"),
    ('a{ {{ tenants }} or x="y" }', ""),
    ("sum(a{ {{ tenants }} })", "loses the label"),
    ("sum by (pod) (a{ {{ tenants }} })", "loses the label"),
    ("sum without (namespace) (a{ {{ tenants }} })", "loses the label"),
    ("a{ {{ tenants }} } / on (pod) b{ {{ tenants }} }", "does not match on"),
    ("a{ {{ tenants }} } / ignoring (namespace) b{ {{ tenants }} }", "does not match on"),
    ("a{ {{ tenants }} } or vector(1)", "vector()"),
    ("absent(a{ {{ tenants }} })", "absent()"),
    ('label_replace(a{ {{ tenants }} }, "namespace", "acme", "", "")', "label_replace()"),
    ('count_values by (namespace) ("namespace", a{ {{ tenants }} })', "count_values"),
    ("max_over_time(a{ {{ tenants }} }[1h:1m])", "subquery"),
    ("rate(a{ {{ tenants }} }[7h])", "at most 6h"),
    ("a{ {{ tenants }} } offset 1d", "at most 6h"),
    ("a{ {{ tenants }} } @ 0", "an @"),
    ("a{ {{ tenants }} } # or b", "comment"),
    ("1", "selects no series"),
    ("a{ {{ tenants }} }[5m+1m]", "cannot be read"),
    ("WITH (x = a) x", "cannot be read"),
    ("", "cannot be read"),
    ("(" * 3000 + "a" + ")" * 1000, "more than 64"),
    ("+".join(["a{ {{ tenants }} }"] * 100), "more than 64"),
    ("a" * 5000, "at most 4096"),
    ("-" * 4000 + "a", "more than 64"),
]


@pytest.mark.parametrize("query", GOOD)
def test_a_query_whose_numbers_belong_to_tenants_is_accepted(query: str) -> None:
    """It is used as it stands."""
    assert why_not_accepted(query, "namespace") is None


@pytest.mark.parametrize(("query", "words"), HOSTILE)
def test_a_query_that_could_reach_the_wrong_tenant_or_cost_too_much_is_refused(query: str, words: str) -> None:
    """Within a blink, and with a mend."""
    started = time.perf_counter()
    problem = why_not_accepted(query, "namespace")
    assert time.perf_counter() - started < 1
    assert problem is not None
    assert words in problem


def test_placeholders_are_all_that_changes() -> None:
    """The rest of the text is the author's."""
    scope = tenant_matcher("namespace", ["acme", "beta"])
    assert fill_in(GOOD[0], scope) == 'max by (namespace) (queue_lag_seconds{ namespace=~"acme|beta" })'
