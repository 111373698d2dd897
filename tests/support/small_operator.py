"""A process like the operator's, with a very small engine, to test the process alone.

It keeps a ConfigMap `beat` in its namespace, which it writes as often as it can while it leads; each write that landed leaves a line with the
process id and the monotonic time at which it was sent (one clock for all processes of a machine) in the file TENANTWAVE_TEST_BEATS. Each
upgrade that Kopf rings for leaves a ConfigMap `seen-<name>`. A key takes TENANTWAVE_TEST_STEP seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from support.crash import from_environment
from tenantwave import faults
from tenantwave.adapters.kube.reflector import Reflector
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.engine.queue import WorkQueue
from tenantwave.shell import logs, process, wiring
from tenantwave.shell.kopf_app import Doorbell
from tenantwave.shell.process import Engine
from tenantwave.shell.settings import parse

log = logging.getLogger(__name__)


def assemble(parts: wiring.Parts) -> Engine:
    """Put the small engine together."""
    namespace = parts.settings.namespace
    queue: WorkQueue[str] = WorkQueue("upgrade", telemetry=parts.telemetry)
    maps: Reflector[str] = Reflector(
        parts.cluster,
        CONFIG_MAP,
        lambda body: str(body["metadata"]["resourceVersion"]),
        on_change=lambda old, new: None,
        telemetry=parts.telemetry,
        namespace=namespace,
    )

    async def step(upgrade: str) -> None:
        log.debug("step of %s", upgrade)
        await asyncio.sleep(float(os.environ.get("TENANTWAVE_TEST_STEP", "0")))
        if maps.get(namespace, f"seen-{upgrade}") is None:
            await parts.cluster.create(CONFIG_MAP, {"metadata": {"name": f"seen-{upgrade}", "namespace": namespace}})

    async def beat() -> None:
        while True:
            try:
                await write_beat()
            except faults.NotLeading:
                await asyncio.sleep(3600)
            except faults.Fault:
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.02)

    async def write_beat() -> None:
        version = maps.get(namespace, "beat")
        if version is None:
            await parts.cluster.create(CONFIG_MAP, {"metadata": {"name": "beat", "namespace": namespace}})
            return
        data = {"data": {"by": str(os.getpid()), "at": str(time.monotonic())}}
        sent = time.monotonic()  # the answer may be read after a sleep: that is no late write
        await parts.cluster.merge_patch(CONFIG_MAP, namespace, "beat", data, resource_version=version)
        with open(os.environ["TENANTWAVE_TEST_BEATS"], "a", encoding="utf-8") as file:  # noqa: ASYNC230 - one line
            file.write(f"{os.getpid()} {sent}\n")

    return Engine(
        reflectors=(maps,),
        watched=((CONFIG_MAP, namespace),),
        doorbell=Doorbell(upgrade=queue.add, policy=lambda policy: None, action=queue.add),
        run=lambda: queue.run(step),
        close=queue.close,
        resync=lambda: None,
        tasks={"beat": beat},
        standby_tasks={"event recorder": parts.recorder.run},
    )


if __name__ == "__main__":
    settings = parse(sys.argv[1:])
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(process.run(lambda stack: wiring.build(settings, assemble, stack, wrap=from_environment))))
