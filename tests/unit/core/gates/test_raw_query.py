"""Good and hostile raw queries are told apart, quickly, and with a mend."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable

import promql_parser
import pytest

from support.raw_queries import GOOD, HOSTILE, PIECES
from tenantwave.core.gates.promql import fill_in, tenant_matcher
from tenantwave.core.gates.raw_query import why_not_accepted


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


def test_a_fault_inside_the_parser_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives as no `Exception`, and would end the operator. An interrupt is still one."""

    class PanicException(BaseException):
        """What its language turns a panic into."""

    for fault, refused in ((PanicException("index out of bounds"), True), (KeyboardInterrupt(), False)):
        monkeypatch.setattr(promql_parser, "parse", _raising(fault))
        if refused:
            assert "cannot be read (index out of bounds)" in (why_not_accepted(GOOD[0], "namespace") or "")
        else:
            with pytest.raises(KeyboardInterrupt):
                why_not_accepted(GOOD[0], "namespace")


def _raising(fault: BaseException) -> Callable[[str], None]:
    def parse(_: str) -> None:
        raise fault

    return parse


TRY_ALL = """
import json, sys, time
from tenantwave.core.gates.raw_query import why_not_accepted
slowest = 0.0
for query in json.load(sys.stdin):
    started = time.perf_counter()
    why_not_accepted(query, "namespace")
    slowest = max(slowest, time.perf_counter() - started)
print(slowest)
"""


def test_no_text_crashes_or_stalls_the_process() -> None:
    """Two thousand texts made of pieces of queries, in a process of their own: a crash would end this one, too."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    queries = ["".join(rng.choices(PIECES, k=rng.choice((2, 5, 10, 40, 200)))) for _ in range(2000)]
    queries += ["a{ {{ tenants }} } " + " ".join(rng.choices(PIECES, k=rng.choice((1, 2, 4)))) for _ in range(2000)]
    command = [sys.executable, "-c", TRY_ALL]
    done = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, timeout=60, check=False, env=_where_we_are())
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-2000:]}"
    assert float(done.stdout) < 1, f"seed {seed}"


def _where_we_are() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_placeholders_are_all_that_changes() -> None:
    """The rest of the text is the author's."""
    scope = tenant_matcher("namespace", ["acme", "beta"])
    assert fill_in(GOOD[0], scope) == 'max by (namespace) (queue_lag_seconds{ namespace=~"acme|beta" })'
