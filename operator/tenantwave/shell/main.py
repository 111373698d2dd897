"""`tenantwave-operator`: reads the command line, runs the process, exits."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence

from tenantwave.shell import logs, process, wiring
from tenantwave.shell.settings import parse


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the operator until it is told to stop, and exit with its code."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    logs.configure(settings.log_format, settings.log_level)
    spare_the_collector()
    sys.exit(asyncio.run(process.run(lambda stack: wiring.build(settings, wiring.assemble, stack))))


def spare_the_collector() -> None:
    """Take what was imported out of the garbage collector's sight, for it lives as long as the process, and let the collector run less often.

    A full collection looked at 100,000 objects of imports alone and blocked the event loop for 30 to 80 ms. What is part of no cycle is freed
    at once as before; up to 5,000 young objects that wait for a collection, instead of 700, are a few megabytes. What the gates remember of
    10,000 tenants are frozen values without cycles: looking through them took 60 to 200 ms and found nothing, so that is left for hours.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 1_000)


if __name__ == "__main__":
    main()
