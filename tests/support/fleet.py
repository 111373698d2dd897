"""A fleet whose tenants edit their configuration all the time, while upgrades come and go; and the model of what must be there in the end."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from localcluster.client import ApiError, eventually

from support.between import Call
from support.checker import Expected, Named
from support.clusters import OPERATOR_NAMESPACE
from support.story import RUN, Story, condition
from support.workloads import config_map, cron_job, is_rolled_out, namespace, workload

Object = dict[str, Any]

FIRST = "2.1.0"
IMAGE = "registry.example.com/shop"
CONFIG, FILE = "app-config", "settings.yaml"
EDIT_PAUSE_SECONDS = 0.06
MOST_OWN = 30
"""Keys, or lines in the file, that a tenant adds before it takes one away for each new one."""
MEDDLE_SHARE = 0.5
"""Of the writes to objects of tenants."""
ABORT_REASON = "this round goes back"
STUBBORN_KEY = "pool"
"""What each release changes; who edits it is held until it is settled."""

Deed = Callable[["Member", str], Awaitable[None]]

KINDS: Mapping[str, str] = {"api": "Deployment", "store": "StatefulSet", "agent": "DaemonSet", "nightly": "CronJob"}
"""Component -> kind; each tenant has one of them, in turn."""


def release(version: str) -> dict[str, str]:
    """Return a version's pristine configuration: keys that change, some that never do, one that only this version has, and a file."""
    text = f"# settings of {version}\nevery: {version.split('.')[1]}\nlevel: info\ntitle: shop\n"
    return {"pool": version, "limit": version, "mode": "fast", "greeting": "hello", f"only-in-{version}": "yes", FILE: text}


@dataclass(slots=True)
class Member:
    """One tenant, and what it must be like: the release that it runs, all its edits, and how each upgrade ended in it."""

    name: str
    ring: str
    component: str
    version: str = FIRST
    recorded: str | None = ""
    """What the operator must have recorded; None: that, or nothing, for perhaps nothing of it had landed."""
    edits: dict[str, str | None] = field(default_factory=dict)
    """Key -> the value that the tenant gave it last; None: it deleted the key."""
    lines: dict[str, str | None] = field(default_factory=dict)
    """The same for what stands in the file."""
    notes: dict[str, str] = field(default_factory=dict)
    """Annotations that it put on its workload."""
    states: dict[str, str] = field(default_factory=dict)
    hand: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A tenant edits one thing at a time: so the model knows what came last."""

    @property
    def workload(self) -> str:
        """Return its workload as `Deployment/api`."""
        return f"{KINDS[self.component]}/{self.component}"

    def expected(self) -> Expected:
        """Return what the checker is told."""
        data: dict[str, str | Mapping[str, str]] = dict(_edited(release(self.version), self.edits))
        data[FILE] = _edited(_lines(release(self.version)[FILE]), self.lines)
        return Expected(
            images={self.workload: f"{IMAGE}/{self.component}:{self.version}"},
            configs={CONFIG: data},
            version=self.recorded,
            states=dict(self.states),
            annotations={self.workload: dict(self.notes)},
        )

    def objects(self, product: str) -> list[Object]:
        """Return what is there before the first upgrade."""
        kind, image = KINDS[self.component], f"{IMAGE}/{self.component}:{FIRST}"
        container: Object = {"name": self.component, "image": image, "envFrom": [{"configMapRef": {"name": CONFIG}}]}
        if kind == "CronJob":
            body = cron_job(self.component, self.name, image=image)
            body["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = [container]
        else:
            pods: Object = {"containers": [container]}
            slow: Object = {"progressDeadlineSeconds": 300} if kind == "Deployment" else {}
            body = workload(kind, self.component, self.name, image=image, spec=slow, pod_spec=pods)
        labels = {f"tenantwave.io/product-{product}": "true", "tenantwave.io/ring": self.ring}
        return [namespace(self.name, labels), config_map(CONFIG, self.name, release(FIRST)), body]


class Fleet:
    """Tenants in two waves. What is random comes from one seed. `edit_count` and `upgrade_ends` say what has happened."""

    def __init__(self, story: Story, seed: int) -> None:
        self.story = story
        self.members: list[Member] = []
        self.edit_count = 0
        self.upgrade_ends: dict[str, str] = {}
        self.conflict_count = 0
        """Edits that were named in a conflict, with both values."""
        self.meddle_count = 0
        """Edits that were made between an operator's read of the object and its write."""
        self._random = random.Random(seed)

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    async def prepare(self, canaries: int, others: int) -> None:
        """Make the tenants and two policies: `quick` lets all through, `slow` keeps the second wave soaking."""
        await self.story.pristine(FIRST, release(FIRST))
        for number in range(canaries + others):
            ring = "canary" if number < canaries else "rest"
            member = Member(self.story.unique(f"f{number}"), ring, list(KINDS)[number % len(KINDS)])
            for body in member.objects(self.story.product):
                await (self.story.apply if body["kind"] == "Namespace" else self.story.kube.apply)(body)
            self.members.append(member)
        for member in self.members:
            if member.component != "nightly":
                kind, _, name = member.workload.partition("/")
                await self.story.kube.wait_until(kind, name, member.name, is_rolled_out, saying="rolled out", timeout=180)
        canary = {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": 2, "soak": "0s"}
        rest = {"name": "rest", "maxParallel": 4, "failureBudget": "90%"}
        await self.story.policy("quick", waves=[canary, rest | {"soak": "1s"}])
        await self.story.policy("slow", waves=[canary, rest | {"soak": "1h"}])

    def expected(self) -> dict[str, Expected]:
        """Return the model of all tenants."""
        return {member.name: member.expected() for member in self.members}

    # What the tenants do.

    @asynccontextmanager
    async def editing(self) -> AsyncIterator[None]:
        """Let random tenants edit at random moments; the model learns of each edit once the API server has taken it."""
        is_over = asyncio.Event()
        editor = asyncio.create_task(self._edit(is_over))
        try:
            yield
        finally:
            is_over.set()
            await editor  # to its end: an edit that is under way belongs to the model

    async def _edit(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            await asyncio.sleep(self._random.uniform(0, 2 * EDIT_PAUSE_SECONDS))
            await self.edit_once(self._random.choice(self.members))

    async def edit_once(self, member: Member, deeds: Sequence[Deed] = ()) -> None:
        """Let a tenant change something of its own, or of the release."""
        deed = self._random.choice(deeds or (self._edit_key, self._edit_key, self._edit_file, self._edit_workload))
        self.edit_count += 1
        text = f"edit {self.edit_count}"
        async with member.hand:
            await deed(member, text)

    async def _edit_key(self, member: Member, text: str) -> None:
        """Set a key that nobody ever edits again, so that nothing hides its loss; or one of the release; or delete one."""
        own = [key for key, value in member.edits.items() if key.startswith("own-") and value is not None]
        key, value = f"own-{text.split()[1]}", text
        if len(own) >= MOST_OWN:
            await self._set(member, self._random.choice(own), None)
        elif self._random.random() < 0.2:
            key = "greeting"
        await self._set(member, key, value)

    async def _set(self, member: Member, key: str, value: str | None) -> None:
        await self.story.kube.patch("ConfigMap", CONFIG, member.name, {"data": {key: value}})
        member.edits[key] = value

    async def _edit_limit(self, member: Member, text: str) -> None:
        """Change a key that each release changes, too; the tenant wins."""
        await self._set(member, "limit", text)

    async def _edit_file(self, member: Member, text: str) -> None:
        """Change, add or take away a line as an editor does: read, change, write back if nobody was faster."""
        own = [key for key, value in member.lines.items() if key.startswith("own") and value is not None]
        key, value = ("title", text) if self._random.random() < 0.2 else (f"own{text.split()[1]}", text)
        gone = self._random.choice(own) if len(own) >= MOST_OWN else ""
        while True:
            body = await self.story.kube.get("ConfigMap", CONFIG, member.name)
            old = "".join(
                line for line in str(body["data"][FILE]).splitlines(keepends=True) if not gone or not line.startswith(f"{gone}: ")
            )
            new, count = re.subn(rf"(?m)^{key}: .*\n", f"{key}: {value}\n", old)
            text_now = new if count else f"{old}{key}: {value}\n"
            patch = {"data": {FILE: text_now}, "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]}}
            try:
                await self.story.kube.patch("ConfigMap", CONFIG, member.name, patch)
            except ApiError as error:
                if error.status != 409:
                    raise
                continue
            member.lines[key] = value
            if gone:
                member.lines[gone] = None
            return

    async def _edit_workload(self, member: Member, text: str) -> None:
        kind, _, name = member.workload.partition("/")
        key = f"example.com/note-{self._random.randrange(3)}"
        await self.story.kube.patch(kind, name, member.name, {"metadata": {"annotations": {key: text}}})
        member.notes[key] = text

    async def meddle(self, call: Call) -> None:
        """Let a tenant, now and then, edit the very object that an operator's write is on its way to."""
        found = next((member for member in self.members if f"/namespaces/{member.name}/" in call.path), None)
        if found is not None and call.method == "PATCH" and self._random.random() < MEDDLE_SHARE:
            self.meddle_count += 1
            await self.edit_once(found, (self._edit_file, self._edit_limit) if "/configmaps/" in call.path else (self._edit_workload,))

    # What the platform does.

    async def round(self, number: int) -> None:
        """Play one upgrade to its end: every second one is aborted when the first wave has it and the second is under way.

        In each one tenant of the second wave has edited what the release changes: it must be held, and both values named.
        """
        version = f"2.{number}.0"
        goes_back = number % 2 == 1
        stubborn = self._random.choice([member for member in self.members if member.ring == "rest"])
        mine = f"mine in round {number}"
        await self.story.kube.patch("ConfigMap", CONFIG, stubborn.name, {"data": {STUBBORN_KEY: mine}})
        stubborn.edits[STUBBORN_KEY] = mine
        self.edit_count += 1
        await self.story.pristine(version, release(version))
        upgrade = await self.story.upgrade(
            f"up-{number}",
            version,
            policy="slow" if goes_back else "quick",
            release={"assumedVersion": FIRST},
            components=[self._component(component, version) for component in KINDS],
            preservation={"rules": [{"configMap": CONFIG, "key": "limit", "onConflict": "TenantWins"}]},
        )
        await self._is_held(upgrade, stubborn, Named(CONFIG, STUBBORN_KEY, mine, version))
        if goes_back:
            await self._under_way(upgrade, stubborn)
            await self.story.act(upgrade, "Abort", reason=ABORT_REASON)
        else:
            await self.story.act(upgrade, "SkipTenant", tenants=[stubborn.name], reason="it keeps its own")
        ends = ("Aborted",) if goes_back else ("Succeeded", "SucceededWithSkips")
        body = await self.story.until(upgrade, *ends, timeout=240)
        self.upgrade_ends[upgrade] = str(condition(body, "Ready")["reason"])
        for member in self.members:
            if member is stubborn:
                member.states[upgrade] = "Skipped"
            elif goes_back and member.ring == "rest":
                member.states[upgrade] = "RolledBack|Skipped"
                member.recorded = member.recorded or None  # taken back, it is recorded to run what it was taken to run
            else:
                member.states[upgrade] = "Succeeded"
                member.version = member.recorded = version
        given_in = release(stubborn.version)[STUBBORN_KEY]
        await self.story.kube.patch("ConfigMap", CONFIG, stubborn.name, {"data": {STUBBORN_KEY: given_in}})
        del stubborn.edits[STUBBORN_KEY]

    def _component(self, component: str, version: str) -> Object:
        containers = [{"name": component, "image": f"{IMAGE}/{component}:{version}"}]
        return {
            "name": component,
            "optional": True,
            "workload": {"kind": KINDS[component], "name": component, "containers": containers},
        }

    async def _is_held(self, upgrade: str, stubborn: Member, named: Named) -> None:
        """Wait until the stubborn tenant is held with nothing written, and the conflict names both values."""

        async def look() -> bool:
            body = await self.story.kube.find(RUN, f"{upgrade}.{stubborn.name}", OPERATOR_NAMESPACE)
            status = (body or {}).get("status") or {}
            return status.get("state") == "Held" and any(
                (one["configMap"], one.get("key"), one.get("live"), one.get("new")) == (named.config_map, named.key, named.live, named.new)
                for one in status.get("conflicts") or []
            )

        await eventually(look, timeout=240, saying=f"{stubborn.name} is held in {upgrade}, and {named} is named", pause=0.1)
        self.conflict_count += 1

    async def _under_way(self, upgrade: str, stubborn: Member) -> None:
        """Wait until the first wave is through, and some tenants of the second have been written to."""
        others = {member.name for member in self.members if member.ring == "rest"} - {stubborn.name}
        wanted_count = self._random.randint(1, min(4, len(others)))

        async def look() -> bool:
            states = await self.story.states(upgrade)
            canaries = [states.get(member.name) for member in self.members if member.ring == "canary"]
            begun = [state for name, state in states.items() if state in ("Applying", "Converging", "Soaking") and name in others]
            return set(canaries) == {"Succeeded"} and len(begun) >= wanted_count

        await eventually(look, timeout=240, saying=f"{upgrade} is under way in {wanted_count} tenants of the second wave", pause=0.1)


def _edited(pristine: Mapping[str, str], edits: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**pristine, **edits}.items() if value is not None}


def _lines(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))
