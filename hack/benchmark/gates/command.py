"""`hack/bench gates`: the command line of the simulation and of the measurement on a real Prometheus."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

from localcluster.binaries import resolve

from benchmark.gates.figures import figures
from benchmark.gates.matrix import simulate
from benchmark.gates.report import document, table
from benchmark.gates.scale import complaints, measure_all
from benchmark.gates.scale import table as table_of_scale
from benchmark.gates.scenarios import cells
from tenantwave.shell.main import spare_the_collector

HELP = """\
gates: simulated fleets of 20 to 2,000 tenants are upgraded, wave by wave, and the product's own code asks its questions and judges the answers.
Only Prometheus is played: by counters of requests (0.01 to 10 a second and tenant; in some cells 1 to 10,000 in 30 s) and of failures (of each
tenant's own usual share, in bursts of three). Releases are healthy, or fail 2 to 100 times more often than usual or than the limit, in the whole
wave, a fifth of it, or one tenant; fleets have incidents and outages of their own, counters begin anew, Prometheus goes away.

Beside it, on the same numbers, what people write first: a fixed threshold on the ratio of five minutes (for each tenant; for the wave), three
failed checks in a row, pod readiness alone. The two ratios once more with the threshold at which they have as many false alarms as we have.

The table goes to stderr, JSON to stdout. The exit code is 1 if anything is outside the tolerances. Times are seconds since the start of the
soak; the first look is after 120 s.

--scale: no simulation. A real Prometheus gets two hours of 10,000 tenants, and the operator's own prober asks it, tick by tick, for all of them
and for a wave of 500 with a control of 1,000: three gates (two ratios, one latency), one cohort. A stall is the longest time in which the event
loop did not come back while this process computed something; what other processes of the machine add to it is shown, but not held against it.
"""

WAVES = 4000
TENANTS = 10_000


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `gates` to the command line."""
    gates = commands.add_parser(
        "gates", help="verdicts about simulated fleets", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gates.add_argument("--waves", type=int, default=WAVES, metavar="N", help=f"how many to simulate, over all cells (default: {WAVES})")
    gates.add_argument("--seed", default="1", help="another seed, other random numbers (default: 1)")
    gates.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one for each core)")
    gates.add_argument("--scale", action="store_true", help="measure ticks on a real Prometheus instead")
    gates.add_argument("--tenants", type=int, default=TENANTS, metavar="N", help=f"--scale: size of the fleet (default: {TENANTS})")
    gates.add_argument(
        "--prometheus", type=Path, nargs="+", metavar="PATH", help="--scale: binaries to measure (default: the one of the tests)"
    )
    gates.add_argument("--only", default="", metavar="REGEX", help="only cells whose name has this in it")


def run_gates(found: argparse.Namespace) -> int:
    """Simulate or measure, print, and tell whether all is within the tolerances."""
    return run_scale(found) if found.scale else run_simulation(found)


def run_simulation(found: argparse.Namespace) -> int:
    """Simulate waves, and print what became of them."""
    chosen = [cell for cell in cells() if re.search(found.only, cell.name)]
    runs = simulate(chosen, found.waves, found.seed, jobs=found.jobs, say=_say)
    seen = figures(runs)
    _say(table(seen))
    result = document(seen, found.seed)
    print(json.dumps(result, indent=1))
    return 1 if result["complaints"] else 0


def run_scale(found: argparse.Namespace) -> int:
    """Measure ticks, and print what they cost. The collector is set up as the operator's."""
    spare_the_collector()
    sizes = [(min(500, found.tenants // 2), min(1000, found.tenants // 2)), (found.tenants, 0)]
    measured = measure_all(found.prometheus or [resolve("prometheus")], sizes, found.tenants, _say)
    _say(table_of_scale(measured))
    print(json.dumps([one.document() for one in measured], indent=1))
    return 1 if complaints(measured) else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
