"""`hack/bench merge`: what it costs to keep the tenants' edits."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from asyncio import events
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter, process_time, thread_time
from typing import Any

from support.tenant_story import ACME, OWN, S, Story, a_spec
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.core import blobs
from tenantwave.core.plan import Deed, Step
from tenantwave.core.preservation import ConfigMapContent, Format, MergeResult, Rules, Subject, body_of, content_of, merge, touched_fields
from tenantwave.core.preservation.formats import SYNTAXES, format_of
from tenantwave.engine.tenant.configuration import Source, merged
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.seals import Seals
from tenantwave.engine.tenant.work import Ports, Work

HELP = """\
merge: three measurements of keeping the tenants' edits, on one core.

1. One ConfigMap of 1 MiB in which tenant and release changed every key: 2,000 plain values, 2,000 files of each format, and one file of 1 MiB.
   "far" files have the two changes far apart; in "near" ones they are neighbours, so that lines do not decide and the structure must be read.
   The floor is reading: each of the three texts of each key parsed once (plain values and texts: compared byte by byte and cut into lines).
2. N small ConfigMaps (a Spring YAML, properties and four plain values; tenant and release changed both files), one for each of N tenants, planned
   through the engine's own function, 20 at a time, with snapshots from an API server in memory. The floor parses the tenant's two files once.
   A block is the CPU time of one callback of the event loop; a stall is wall time in which the loop did not come round, also because
   other threads or programs had the core.
3. The API writes of one tenant's upgrade with one ConfigMap and one Deployment, as the engine sends them to the API server in memory: what
   happens in the tenant and in the journal. The planner's own writes for this tenant come on top: creating the TenantRun, and moving it on.

CPU seconds of the whole process, so threads count. The table goes to stdout. The exit code is 1 if an aim is missed twice over: 2,000 plain
values in 1 s, N ConfigMaps in 30 s for each 10,000, no block over 50 ms.
"""

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
LARGE = 1_048_576
KEYS = 2_000
AT_ONCE = 20
MOST_SECONDS_LARGE, MOST_SECONDS_FLEET, MOST_BLOCK = 1.0, 30.0, 0.050
LINES = {
    "yaml": "key-{n}: {value}",
    "json": '  "key-{n}": "{value}",',
    "toml": 'key-{n} = "{value}"',
    "ini": "key-{n} = {value}",
    "properties": "key-{n}={value}",
    "txt": "key-{n} {value}",
}
FRAMES = {"json": ("{\n", '  "end": true\n}\n'), "ini": ("[shop]\n", "")}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: CPU seconds, and those of the floor."""

    what: str
    seconds: float
    floor_seconds: float

    @property
    def ratio(self) -> float:
        """How many times the floor it takes."""
        return self.seconds / self.floor_seconds


@dataclass(frozen=True, slots=True)
class FleetFigure:
    """Many small ConfigMaps. Seconds of CPU; of the loop the longest block (CPU) and the longest stall (wall)."""

    count: int
    seconds: float
    floor_seconds: float
    wall_seconds: float
    longest_block_seconds: float
    longest_stall_seconds: float


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `merge` to the command line."""
    parser = commands.add_parser("merge", help="keeping edits", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-maps", type=int, default=10_000, metavar="N", help="small ConfigMaps to plan (default: 10000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run_merge(found: argparse.Namespace) -> int:
    """Measure, print, and return the exit code."""
    large = list(large_figures())
    fleet = asyncio.run(fleet_figure(found.config_maps))
    writes = asyncio.run(writes_of_one_tenant())
    if found.json:
        print(json.dumps({"large": [asdict(one) for one in large], "fleet": asdict(fleet), "writes": writes}, indent=1))
    else:
        print(table(large, fleet, writes))
    missed = list(complaints(large, fleet))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


def complaints(large: list[Figure], fleet: FleetFigure) -> Iterator[str]:
    """Say what misses its aim twice over, which is no noise of the machine."""
    if large[0].seconds > 2 * MOST_SECONDS_LARGE:
        yield f"{large[0].what} took {large[0].seconds:.1f} s"
    if fleet.seconds > 2 * MOST_SECONDS_FLEET * fleet.count / 10_000:
        yield f"{fleet.count} ConfigMaps took {fleet.seconds:.0f} s"
    if fleet.longest_block_seconds > 2 * MOST_BLOCK:
        yield f"the loop was blocked for {1000 * fleet.longest_block_seconds:.0f} ms"


# 1. One large ConfigMap.


def large_figures() -> Iterator[Figure]:
    """Merge 1 MiB in all the ways it can be cut."""
    plain = [ConfigMapContent({f"key-{n}": text * 50 for n in range(KEYS)}) for text in ("base value", "live value", "base value")]
    halves = [{**plain[0].data}, {**plain[0].data}, {**plain[0].data}]
    for n in range(KEYS):
        halves[1 + n % 2][f"key-{n}"] = f"changed {n} " * 45
    yield _figure(f"{KEYS:,} plain values, each changed by one of the two", tuple(map(ConfigMapContent, halves)))
    for suffix in LINES:
        files = [_file(suffix, LARGE // KEYS, is_near=False) for _ in range(KEYS)]
        sides = tuple(ConfigMapContent({f"file-{n}.{suffix}": three[side] for n, three in enumerate(files)}) for side in range(3))
        yield _figure(f"{KEYS:,} files .{suffix}, each changed by both", sides)
    for suffix in LINES:
        for is_near in (False, True):
            three = _file(suffix, LARGE - 8192, is_near)
            sides = tuple(ConfigMapContent({f"file.{suffix}": text}) for text in three)
            yield _figure(f"one file .{suffix}, {'near' if is_near else 'far'}", sides)


def _file(suffix: str, size: int, is_near: bool) -> tuple[str, str, str]:
    """Return base, live and new of one file of about this size."""
    count = size // (len(LINES[suffix]) + 14)
    values = [f"a value {n:06}" for n in range(count)]

    def text(changed: int = -1, value: str = "") -> str:
        begin, end = FRAMES.get(suffix, ("", ""))
        lines = (LINES[suffix].format(n=n, value=value if n == changed else own) + "\n" for n, own in enumerate(values))
        return begin + "".join(lines) + end

    return text(), text(1, "of the tenant"), text(2 if is_near else count - 2, "of the release")


Sides = tuple[ConfigMapContent, ...]


def _figure(what: str, sides: Sides) -> Figure:
    base, live, new = sides
    floor, _ = _taking(lambda: _read(sides))
    seconds, result = _taking(lambda: merge(base, live, new, Rules(), SUBJECT))
    assert isinstance(result, MergeResult)
    return Figure(what + (" (conflict)" if result.conflicts else ""), seconds, floor)


def _read(sides: Sides) -> int:
    """Do what nobody can do without: read the texts."""
    read = 0
    for content in sides:
        for key, text in content.data.items():
            syntax = SYNTAXES.get(format_of(key, Format.AUTO))
            read += len(text.split("\n")) if syntax is None else syntax.parse(text).end
    return read


def _taking(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = process_time()
    result = work()
    return process_time() - begun, result


# 2. Many small ones.


async def fleet_figure(count: int) -> FleetFigure:
    """Plan one small ConfigMap of each tenant, as the engine does it."""
    story = await Story().begin()
    snapshots = SecretSnapshots(story.cluster, OWN)
    base, new = ConfigMapContent(_small()), ConfigMapContent(_small(release=True))
    saved = [await snapshots.save(blobs.content_blob(content)) for content in (base, new)]
    source = Source(saved[0].digest, saved[1].digest)
    ports = Ports(story.cluster, snapshots, {}, story.clock, Seals(story.cluster, OWN), OWN)
    work = Work.begin(ports, Step(ACME, Deed.PREPARE), story.world())
    assert work is not None
    document = ConfigDocument(ACME, "app-config", Rules(), SUBJECT)
    raws = [body_of(ConfigMapContent(_small(tenant=n))) for n in range(count)]
    floor, _ = _taking(lambda: [_read((content_of(raw),)) for raw in raws])
    todo = iter(raws)

    async def plan() -> None:
        for raw in todo:
            live = content_of(raw)
            result = await merged(work, document, source, live)
            assert result.merged_count == 2, result
            touched_fields(live, result.content)
            await asyncio.sleep(0)  # where the engine would send its dry-run

    with _watched_loop() as seen:
        begun, wall = process_time(), perf_counter()
        await asyncio.gather(*(plan() for _ in range(AT_ONCE)))
        return FleetFigure(count, process_time() - begun, floor, perf_counter() - wall, *seen.longest())


def _small(release: bool = False, tenant: int | None = None) -> dict[str, str]:
    """Return about 1.5 KiB: two files and four values."""
    pool, level = ("20" if release else "10"), ("info" if tenant is None else f"debug  # as tenant {tenant} wants it")
    spring = "".join(f"  setting-{n}: value {n}\n" for n in range(20))
    log = "".join(f"logger.l{n}.name=com.example.shop.part{n}\n" for n in range(15))
    return {
        "application.yaml": f"# shop\nserver:\n  port: 8080\n  log: {level}\n  pool: {pool}\nshop:\n{spring}",
        "log4j.properties": f"rootLogger.level={'info' if tenant is None else 'warn'}\nstatus={'error' if release else 'warn'}\n{log}",
        **{f"plain.{n}": f"value {n}" for n in range(4)},
    }


@dataclass(slots=True)
class _Seen:
    """What a watched loop was seen to do: the longest callback in CPU seconds, the longest silence in wall seconds."""

    block_seconds: float = 0.0
    stall_seconds: float = 0.0

    def longest(self) -> tuple[float, float]:
        return self.block_seconds, self.stall_seconds


@contextmanager
def _watched_loop() -> Iterator[_Seen]:
    """Measure each callback of the running loop, and how long it takes to come round again."""
    seen, run_handle = _Seen(), events.Handle._run
    last = perf_counter()

    def measured(handle: events.Handle) -> None:
        nonlocal last
        begun = thread_time()
        run_handle(handle)
        now = perf_counter()
        seen.block_seconds = max(seen.block_seconds, thread_time() - begun)
        seen.stall_seconds, last = max(seen.stall_seconds, now - last), now

    events.Handle._run = measured  # type: ignore[assignment]
    try:
        yield seen
    finally:
        events.Handle._run = run_handle  # type: ignore[method-assign]


# 3. Writes.


async def writes_of_one_tenant() -> dict[str, int]:
    """Upgrade one tenant with one ConfigMap and one Deployment, and count what was written for it."""
    spec = a_spec()
    spec = spec.model_copy(update={"components": spec.components[:1]})
    one = {"app-config": {"log.level": "info", "db.pool": "10"}}
    story = await Story(spec=spec, old=one, new={"app-config": {"log.level": "info", "db.pool": "20"}}).begin()
    await story.run(until=S.SOAKING)
    await story.run(until=S.SUCCEEDED)
    return dict(sorted(Counter(f"{write.verb} {write.kind}" for write in story.cluster.writes).items()))


def table(large: list[Figure], fleet: FleetFigure, writes: dict[str, int]) -> str:
    """Return all figures as Markdown."""
    lines = ["| 1 MiB | CPU | reading alone | ratio |", "|---|---|---|---|"]
    lines += [f"| {one.what} | {one.seconds:.2f} s | {one.floor_seconds:.2f} s | {one.ratio:.1f} |" for one in large]
    lines += ["", f"| {fleet.count:,} small ConfigMaps | |", "|---|---|"]
    lines += [f"| CPU / reading the tenants' files alone | {fleet.seconds:.1f} s / {fleet.floor_seconds:.1f} s |"]
    lines += [
        f"| wall time | {fleet.wall_seconds:.1f} s |",
        f"| longest block of the event loop | {1000 * fleet.longest_block_seconds:.0f} ms |",
    ]
    lines += [f"| longest stall of the event loop | {1000 * fleet.longest_stall_seconds:.0f} ms |", ""]
    lines += [f"Writes of one tenant, one ConfigMap, one Deployment: {sum(writes.values())}", ""]
    lines += [f"- {count} {what}" for what, count in writes.items()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "\n".join([*lines, "", f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB; one thread works at a time."])
