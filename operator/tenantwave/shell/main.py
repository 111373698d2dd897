"""`tenantwave-operator`: reads the command line, runs the process, exits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tenantwave.shell import logs, process, wiring
from tenantwave.shell.settings import parse


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the operator until it is told to stop, and exit with its code."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(process.run(lambda stack: wiring.build(settings, wiring.assemble, stack))))


if __name__ == "__main__":
    main()
