"""The whole operator, as `python tests/support/crashing_operator.py`, with its writes counted and cut as the environment says."""

from __future__ import annotations

import asyncio
import sys

from support.crash import from_environment
from tenantwave.shell import logs, process, wiring
from tenantwave.shell.settings import parse

if __name__ == "__main__":
    settings = parse(sys.argv[1:])
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(process.run(lambda stack: wiring.build(settings, wiring.assemble, stack, wrap=from_environment))))
