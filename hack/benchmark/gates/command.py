"""`hack/bench gates`: the command line of the simulation and of the measurement on a real Prometheus."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys

from benchmark.gates.figures import figures
from benchmark.gates.matrix import simulate
from benchmark.gates.report import document, table
from benchmark.gates.scenarios import cells

HELP = """\
gates: simulated fleets of 20 to 2,000 tenants are upgraded, wave by wave, and the product's own code asks its questions and judges the answers.
Only Prometheus is played: by counters of requests (0.01 to 10 a second and tenant; in some cells 1 to 10,000 in 30 s) and of failures (of each
tenant's own usual share, in bursts of three). Releases are healthy, or fail 2 to 100 times more often than usual or than the limit, in the whole
wave, a fifth of it, or one tenant; fleets have incidents and outages of their own, counters begin anew, Prometheus goes away.

Beside it, on the same numbers, what people write first: a fixed threshold on the ratio of five minutes (for each tenant; for the wave), three
failed checks in a row, pod readiness alone. The two ratios once more with the threshold at which they have as many false alarms as we have.

The table goes to stderr, JSON to stdout. The exit code is 1 if anything is outside the tolerances. Times are seconds since the start of the
soak; the first look is after 120 s.
"""

WAVES = 4000


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `gates` to the command line."""
    gates = commands.add_parser(
        "gates", help="verdicts about simulated fleets", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gates.add_argument("--waves", type=int, default=WAVES, metavar="N", help=f"how many to simulate, over all cells (default: {WAVES})")
    gates.add_argument("--seed", default="1", help="another seed, other random numbers (default: 1)")
    gates.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one for each core)")
    gates.add_argument("--only", default="", metavar="REGEX", help="only cells whose name has this in it")


def run_gates(found: argparse.Namespace) -> int:
    """Simulate, print, and tell whether all is within the tolerances."""
    chosen = [cell for cell in cells() if re.search(found.only, cell.name)]
    runs = simulate(chosen, found.waves, found.seed, jobs=found.jobs, say=_say)
    seen = figures(runs)
    _say(table(seen))
    result = document(seen, found.seed)
    print(json.dumps(result, indent=1))
    return 1 if result["complaints"] else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
