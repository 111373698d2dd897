"""The life of the process: what starts in which order, who is watched, and how it ends.

Order: credentials, HTTP endpoints, our CRDs, our rights, caches (warm on the standby, too), the Lease, and only then the engine and Kopf.
Whatever ends unexpectedly ends the process with code 1; a restart is normal, because the core starts from what is stored.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tenantwave import faults
from tenantwave.adapters.kube.access import Access, AccessError
from tenantwave.adapters.kube.elector import Alone, Elector
from tenantwave.adapters.kube.reflector import Reflector
from tenantwave.api.kinds import GROUP, VERSION, Kind
from tenantwave.shell import kopf_app
from tenantwave.shell.health import LONGEST_LEASE_AGE_SECONDS, LONGEST_ROUND_SECONDS, Health, HealthServer, LoopLag, limit
from tenantwave.shell.metrics import PrometheusTelemetry
from tenantwave.shell.rights import Reviewer, Right, missing_kinds, missing_rights, needed
from tenantwave.shell.settings import Settings

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ASK_AGAIN_SECONDS = 5.0
RELEASE_SECONDS = 4.0
KOPF_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs while we lead, handed over by the wiring.

    `reflectors` run on the standby, too. `run` gives keys to the workers until `close` was called and what ran has ended. `resync` adds
    every key; it is called at the start, and every 10 minutes. `tasks` run for ever beside it.
    """

    reflectors: Sequence[Reflector[Any]]
    watched: Sequence[tuple[Kind, str]]
    """What is watched, with its namespace (empty: everywhere), for the check of our rights."""
    doorbell: kopf_app.Doorbell
    run: Callable[[], Coroutine[Any, Any, None]]
    close: Callable[[], None]
    resync: Callable[[], None]
    tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    standby_tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    """Run from the start, whether we lead or not."""


class Ended(Exception):  # noqa: N818 - the way out, not always an error
    """The process ends, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Process:
    """One operator process, from its start to its exit code."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        elector: Elector | Alone,
        reviewer: Reviewer,
        engine: Engine,
        telemetry: PrometheusTelemetry,
    ) -> None:
        self._settings = settings
        self._access = access
        self._elector = elector
        self._reviewer = reviewer
        self._engine = engine
        self._telemetry = telemetry
        self._stop = asyncio.Event()
        self._kopf_stop = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._missing: tuple[Right, ...] = ()
        self._has_asked = False
        self._was_asked_to_log_in = False
        self._round = time.monotonic()
        self._lag = LoopLag(telemetry.loop_lag)
        self._health = Health()

    async def run(self) -> int:
        """Return the exit code: 0 after SIGTERM or SIGINT, 1 if something ended that should not have, or a CRD is missing."""
        self._take_signals()
        self._describe()
        server = HealthServer(self._health, self._telemetry.render)
        try:
            await server.start(self._settings.listen_host, self._settings.listen_port)
        except OSError as error:
            log.error("cannot listen on %s:%d: %s; choose another --listen", self._settings.listen_host, self._settings.listen_port, error)
            return 1
        log.info("listening on port %d", server.port)
        try:
            await self._live()
        except Ended as end:
            return end.code
        finally:
            await self._cancel_all()
            await server.close()
        return 0

    async def _live(self) -> None:
        self._start("credentials", self._access.keep_fresh())
        self._start("loop lag", self._lag.run())
        await self._until(self._check_kinds(), "the check of our CRDs")
        await self._until(self._check_rights(), "the check of our rights")
        for name, begin in self._engine.standby_tasks.items():
            self._start(name, begin())
        for reflector in self._engine.reflectors:
            self._start(f"watch of {reflector.kind.plural}", reflector.run())
        for reflector in self._engine.reflectors:
            await self._until(reflector.synced(), f"the first list of {reflector.kind.plural}")
        log.info("all caches are warm")
        await self._until(self._elector.acquire(), "the election")
        self._telemetry.leader_transition()
        self._start("Lease", self._hold())
        self._round = time.monotonic()
        self._start("resync", self._resync())
        for name, begin in self._engine.tasks.items():
            self._start(name, begin())
        engine = self._start("engine", self._engine.run())
        # Last: Kopf cancels whatever was created after it when it ends.
        kopf = self._start("Kopf", kopf_app.run(self._engine.doorbell, self._login, stop=self._kopf_stop, on_started=self._take_signals))
        await self._until(self._stop.wait(), "")
        await self._end_in_order(engine, kopf)

    async def _end_in_order(self, engine: asyncio.Task[Any], kopf: asyncio.Task[Any]) -> None:
        """Take no more keys, let running steps end, give the Lease to the next one, and stop Kopf. Below 20 s altogether."""
        log.info("stopping: running steps are drained")
        self._engine.close()
        _, late = await asyncio.wait([engine], timeout=self._settings.tuning.drain.total_seconds())
        if late:
            log.warning(
                "some steps still ran after %.0f s and are cut; the next leader takes them up", self._settings.tuning.drain.total_seconds()
            )
            engine.cancel()
            await asyncio.wait([engine], timeout=1.0)
        await self._release()
        self._kopf_stop.set()
        await asyncio.wait([kopf], timeout=KOPF_SECONDS)

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._elector.release()
        except TimeoutError:
            log.warning("the Lease could not be released in time; the next leader waits until it expires")

    # Steps of the start

    async def _check_kinds(self) -> None:
        missing = await self._patiently(lambda: missing_kinds(self._reviewer))
        if missing:
            names = ", ".join(f"{kind.plural}.{kind.group}" for kind in missing)
            log.error(
                "these CRDs of %s/%s are missing: %s; apply the folder crds/ or install the chart with crds.install=true",
                GROUP,
                VERSION,
                names,
            )
            raise Ended(1)

    async def _check_rights(self) -> None:
        """Return when no right is missing; meanwhile we are alive, but not ready."""
        rights = needed(self._settings.namespace, self._engine.watched)
        while True:
            missing = await self._patiently(lambda: missing_rights(self._reviewer, rights))
            if missing != self._missing or not self._has_asked:
                self._missing, self._has_asked = missing, True
                if missing:
                    log.error("%s", self._rights_problem())
            if not missing:
                return
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until the API server can be reached."""
        while True:
            try:
                return await ask()
            except (faults.Unavailable, faults.Forbidden) as fault:
                log.warning("%s; asking again", fault)
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _hold(self) -> None:
        await self._elector.hold()
        self._telemetry.leader_transition()

    async def _resync(self) -> None:
        while True:
            self._engine.resync()
            self._round = time.monotonic()
            await asyncio.sleep(self._settings.tuning.resync.total_seconds())

    # Tasks and signals

    def _start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        return task

    async def _until(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Wait for `work`. Raises Ended if we are told to stop meanwhile, or a task that should run for ever has ended."""
        waited = asyncio.create_task(work, name=name)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([waited, stopped, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            self._look_for_the_dead()
            if waited.done():
                waited.result()
                return
            log.info("stopping before %s was over", name)
            await self._release()
            raise Ended(0)
        finally:
            for task in (waited, stopped):
                task.cancel()

    def _look_for_the_dead(self) -> None:
        for task, name in self._tasks.items():
            if task.done():
                error = None if task.cancelled() else task.exception()
                log.error(
                    "%s ended unexpectedly%s; this process ends, its successor starts from what is stored",
                    name,
                    f": {error!r}" if error else "",
                )
                if error is not None:
                    log.debug("how %s ended", name, exc_info=error)
                raise Ended(1)

    async def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    # What others ask

    async def _login(self) -> kopf_app.Login:
        if self._was_asked_to_log_in:  # what Kopf had was refused
            await self._access.refresh(after_generation=self._access.generation)
        self._was_asked_to_log_in = True
        configuration = self._access.configuration
        return kopf_app.Login(
            server=self._access.server,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            insecure=not configuration.verify_ssl,
            authorization=self._access.headers.get("Authorization", ""),
            proxy=self._access.proxy,
        )

    def _rights_problem(self) -> str:
        rights = ", ".join(str(right) for right in self._missing)
        return f"these rights are missing: {rights}; grant them (the chart's ServiceAccount has all)" if rights else ""

    def _describe(self) -> None:
        """Say what health, readiness and the gauges look at."""
        elector, telemetry = self._elector, self._telemetry
        reflectors = self._engine.reflectors

        def caches() -> str:
            cold = [reflector.kind.plural for reflector in reflectors if not reflector.is_synced]
            return f"not listed yet: {', '.join(cold)}" if cold else ""

        def tasks() -> str:
            return ", ".join(f"{name} has ended" for task, name in self._tasks.items() if task.done())

        def when_leading(seconds: Callable[[], float]) -> Callable[[], float]:
            return lambda: seconds() if elector.leading else 0.0

        self._health.alive = {
            "loop": self._lag.check,
            "tasks": tasks,
            "round": limit("the last round began", when_leading(lambda: time.monotonic() - self._round), LONGEST_ROUND_SECONDS),
            "lease": limit("the Lease was renewed", when_leading(lambda: elector.lease_age_seconds), LONGEST_LEASE_AGE_SECONDS),
        }
        self._health.ready = {
            "rights": lambda: self._rights_problem() if self._has_asked else "not asked yet",
            "caches": caches,
        }
        telemetry.read("leader", "1 if this process leads.", (), lambda: {(): float(elector.leading)})
        telemetry.read(
            "lease_age_seconds", "Time since the Lease was renewed.", (), lambda: {(): elector.lease_age_seconds} if elector.leading else {}
        )
        telemetry.read(
            "watch_age_seconds",
            "Time since the server said anything about this kind.",
            ("kind",),
            lambda: {(reflector.kind.name,): reflector.age_seconds for reflector in reflectors if reflector.is_synced},
        )


async def run(build: Callable[[AsyncExitStack], Awaitable[Process]]) -> int:
    """Build the process, run it, close what was opened. Return the exit code."""
    async with AsyncExitStack() as stack:
        try:
            process = await build(stack)
        except AccessError as error:
            log.error("%s", error)
            return 1
        return await process.run()
