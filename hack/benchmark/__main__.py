"""`hack/bench`: the command line, and the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence

from benchmark import calendar, chaos, merge, rollback
from benchmark.fleet import FleetFigures, measure
from benchmark.gates import command as gates

HELP = """\
fleet: N tenants (a Namespace, a Deployment of one pod, a ConfigMap with an edit of its own) are upgraded in two waves (one tenth, then the
rest), without gates, with maxParallel 100% and a soak of 0 s and 1 s, by the operator as a process of its own with the chart's ServiceAccount.

The floor: every request with a write verb that the operator sent in that time (dry-runs and Events among them) is sent again in the same
order, with the same bodies, by a bare client on the same connection settings, to as many twins of the tenants. Reads are not repeated.
Pods roll on both sides: the operator's wall time ends when its status says Succeeded (which includes the soak of 1 s and the waves' order,
which the floor does not know), the floor's when its last write is answered and its last Deployment has rolled. CPU is user and system time
of the operator and of the bare client alone; the latter's counts no reads and no watches at all.

The token bucket of 100 writes a second is opened wide for both. The API server runs without priority and fairness and without audit log.
All components share the machine, so wall times are what the machine allows; only ratios of one run mean something.
A block is the CPU time of one callback of the operator's event loop.
"""

VERBS = ("create", "update", "patch", "apply", "delete", "get", "list")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="hack/bench", description="Measures what tenantwave costs, and what its gates find.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="fleet|rollback|gates|calendar|merge|chaos")
    fleet = commands.add_parser(
        "fleet", help="one upgrade of a whole fleet", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    fleet.add_argument("--tenants", type=int, nargs="+", default=[100, 1000], metavar="N", help="sizes of the fleet (default: 100 1000)")
    fleet.add_argument("--json", action="store_true", help="print JSON instead of a table")
    rollback.add_to(commands)
    gates.add_to(commands)
    calendar.add_to(commands)
    merge.add_to(commands)
    chaos.add_to(commands)
    found = parser.parse_args(arguments)
    if found.command == "rollback":
        return rollback.run_rollback(found)
    if found.command == "calendar":
        return calendar.run_calendar(found)
    if found.command == "merge":
        return merge.run_merge(found)
    if found.command == "chaos":
        return chaos.run_chaos(found)
    return gates.run_gates(found) if found.command == "gates" else run_fleet(found)


def run_fleet(found: argparse.Namespace) -> int:
    """Measure fleets one after the other, and print what they took."""
    measured = [asyncio.run(measure(count, lambda line: print(line, file=sys.stderr, flush=True))) for count in found.tenants]
    if found.json:
        print(json.dumps([figures.document() for figures in measured], indent=1))
    else:
        print(table(measured))
    return 0


def table(measured: Sequence[FleetFigures]) -> str:
    """Return the figures as a Markdown table, a column for each fleet."""
    rows = [
        ("", [f"{one.tenant_count:,} tenants" for one in measured]),
        (
            "wall time / floor",
            [f"{one.wall_seconds:.1f} s / {one.floor_wall_seconds:.1f} s = **{one.wall_ratio:.2f}**" for one in measured],
        ),
        ("CPU time / floor", [f"{one.cpu_seconds:.1f} s / {one.floor_cpu_seconds:.1f} s = **{one.cpu_ratio:.2f}**" for one in measured]),
        ("operator RSS, peak", [f"{one.peak_rss_megabytes:.0f} MB" for one in measured]),
        ("longest block of the event loop", [f"{1000 * one.longest_block_seconds:.0f} ms" for one in measured]),
        ("requests for each tenant", [f"{sum(one.requests.values()) / one.tenant_count:.1f}" for one in measured]),
        *(
            (f"... {verb}", [f"{one.per_tenant(verb):.2f}" for one in measured])
            for verb in VERBS
            if any(verb in one.requests for one in measured)
        ),
        ("... of these dry-runs", [f"{one.dry_run_count / one.tenant_count:.2f}" for one in measured]),
        ("... of these refused (409)", [f"{one.refused_count / one.tenant_count:.2f}" for one in measured]),
        ("failures that were tried again", [str(one.retry_count) for one in measured]),
    ]
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    lines.insert(1, "|---|" + "---|" * len(measured))
    unlike = sum(sum(one.unlike.values()) for one in measured)
    answered = f"{unlike} of the floor's writes were answered otherwise than the operator's." if unlike else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "\n".join([*lines, "", f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB, shared by all components. {answered}".strip()])


if __name__ == "__main__":
    sys.exit(main())
