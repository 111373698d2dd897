"""Puts cases through upgrades and ways back while operators die at every write, and says what must be true when it is over."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from localcluster.client import Object, eventually
from localcluster.cluster import LocalCluster

from support import audit
from support.between import Between
from support.cases import FIXED, LATER, Case
from support.checker import WORKLOADS, Expected, Seen, faults, look, template_of
from support.clusters import OPERATOR_NAMESPACE
from support.dying import Dying
from support.nursery import Nursery, Operator
from support.story import UPGRADE, Story, condition
from support.workloads import is_rolled_out

AT_ONCE = 12
"""Requests of ours in flight while cases are made."""

ROOMY = {"TENANTWAVE_WORKER_COUNT": "200", "TENANTWAVE_WRITES_IN_FLIGHT": "400", "TENANTWAVE_WRITES_PER_SECOND": "5000"}
"""Whoever stands still must not stand in anybody's way."""

SWEEPING = {"TENANTWAVE_SWEEP_EVERY": "1", "TENANTWAVE_SNAPSHOT_GRACE": "12"}
"""Clears in seconds what else stays for a day: only where no write is on its way any more."""


class EveryWrite:
    """Makes cases, stops them, kills, resumes, judges."""

    def __init__(self, story: Story, nursery: Nursery, between: Between, cluster: LocalCluster) -> None:
        self.story = story
        self.nursery = nursery
        self.between = between
        self.cluster = cluster
        self.kill_count = 0
        self.uids: dict[str, str] = {}
        """UID of a tenant's namespace -> its case."""
        self.templates: dict[str, dict[str, Object]] = {}
        """Case -> workload, as `Deployment/api` -> its pod template before the upgrade."""
        self._made_count = 0

    # Given

    async def make(self, cases: Iterable[Case]) -> list[Case]:
        """Put the cases there, and wait until they run."""
        made = list(cases)
        await _all([lambda case=case: self._make(case) for case in made])  # type: ignore[misc]
        for case in made:
            for component, kind in (("api", "Deployment"), ("store", "StatefulSet"), ("agent", "DaemonSet")):
                if component in case.components:
                    await self.story.kube.wait_until(kind, component, case.name, is_rolled_out, saying="rolled out", timeout=240)
        for name, objects in (await look(self.story.kube, OPERATOR_NAMESPACE, [case.name for case in made])).objects.items():
            self.templates[name] = {one: template_of(body) for one, body in objects.items() if one.partition("/")[0] in WORKLOADS}
        return made

    def name(self) -> str:
        """Return a name for another case."""
        self._made_count += 1
        return self.story.unique(f"case-{self._made_count}")

    async def _make(self, case: Case) -> None:
        for body in case.objects():
            applied = await (self.story.kube.apply if "namespace" in body["metadata"] else self.story.apply)(body)
            if body["kind"] == "Namespace":
                self.uids[applied["metadata"]["uid"]] = case.name
        self.story.tenants.append(case.name)

    # When

    async def begin(self, cases: Sequence[Case]) -> None:
        """Apply the upgrades of these cases."""
        await _all([lambda case=case: self.story.apply(case.upgrade_object()) for case in cases])  # type: ignore[misc]

    async def abort(self, cases: Sequence[Case]) -> None:
        """Order these cases back. An upgrade that has no run yet is waited for."""

        async def one(case: Case) -> None:
            found = await self.story.until_so(case.upgrade, lambda body: bool(_run(body)), "has a run")
            await self.story.act(case.upgrade, "Abort", run=_run(found), name=f"abort-{case.name}", reason="the way back")

        await _all([lambda case=case: one(case) for case in cases])  # type: ignore[misc]

    async def edit(self, cases: Sequence[Case], edits: Mapping[str, str] = LATER) -> None:
        """Let the tenants edit their ConfigMap."""
        patch = {"data": dict(edits)}
        await _all([lambda case=case: self.story.kube.patch("ConfigMap", "app-config", case.name, patch) for case in cases])  # type: ignore[misc]

    async def operator(self, **environment: str) -> Operator:
        """Start an operator that comes through the proxy, and wait until it is warm."""
        operator = await self.nursery.operator_at(self.between.kubeconfig, "--no-leader-election", **ROOMY, **environment)
        await operator.says("all caches are warm")
        return operator

    async def live_and_die(self, dying: Dying, ends: Mapping[str, str], most_lives: int = 60) -> Operator:
        """Let one operator after the other die at what is still to be died at, until one brings each upgrade to the reason that ends it.

        Args: ends: upgrade -> the reason of Ready that is its end.
        Returns: the last operator, which lives.
        """
        self.between.script = dying
        dying.bury()
        for _ in range(most_lives):
            operator = await self.operator()
            dying.succeed()
            await self._until_all_stand(operator, dying, ends)
            if not dying.stood:
                return operator
            await operator.kill()
            self.kill_count += 1
            print(f"death {self.kill_count}:", *sorted(dying.stood.values()), sep="\n    ")
            dying.bury()
        raise AssertionError(f"after {most_lives} deaths there are still writes at which nobody has died: {dying.met}")

    async def there_and_back(self, dying: Dying, through: Sequence[Case], back: Sequence[Case], *, sweeps: bool = False) -> int:
        """Upgrade all, then take some back out of their soak, dying all the way; judge after each. Returns how many edits there were.

        Args: sweeps: judge after a sweep. Where also the create of a Lease may arrive late, a lock is left that nobody else takes away.
        """
        cases = [*through, *back]
        await self.make(cases)
        mark = self.cluster.audit_mark()
        await self.begin(cases)
        ends = {case.upgrade: "Succeeded" for case in through} | {case.upgrade: "Soaking" for case in back}
        last = await self._before_judgement(await self.live_and_die(dying, ends), sweeps)
        await self.is_well({case.name: case.upgraded() for case in through}, mark)
        self.written_once(mark, cases)
        await last.kill()
        await self.edit(back)
        await self.abort(back)
        mark_back = self.cluster.audit_mark()
        dying.phase = "back: "
        await self._before_judgement(await self.live_and_die(dying, {case.upgrade: "Aborted" for case in back}), sweeps)
        await self.is_well({case.name: self.taken_back(case) for case in back} | {case.name: case.upgraded() for case in through}, mark)
        self.written_once(mark_back, back)
        return sum(len(case.own) for case in cases) + len(back) * len(LATER)

    async def _before_judgement(self, last: Operator, sweeps: bool) -> Operator:
        """Return who works while it is judged: the last operator, or one that sweeps."""
        if not sweeps:
            return last
        await last.kill()
        return await self.operator(**SWEEPING)

    async def _until_all_stand(self, operator: Operator, dying: Dying, ends: Mapping[str, str]) -> None:
        waiting: list[str] = []

        async def all_stand() -> bool:
            nonlocal waiting
            assert operator.is_running, operator.log()[-3000:]
            waiting = [one for one in await self._waiting(ends) if one.split()[0].removeprefix("up-") not in dying.stood]
            return not waiting

        try:
            await eventually(all_stand, timeout=240, pause=0.1)
        except TimeoutError:
            raise AssertionError(f"neither stand nor have ended: {waiting}; the others stand at {dying.stood}") from None

    # Then

    def taken_back(self, case: Case, later: Mapping[str, str] = LATER) -> Expected:
        """Return what a case is like after the way back: every pod template is as it was, to the last field."""
        return dataclasses.replace(case.taken_back(later), templates=self.templates[case.name])

    async def end(self, ends: Mapping[str, str]) -> None:
        """Wait until Ready of each upgrade has the reason that is its end, or one of several with a bar between them."""
        waiting: list[str] = []

        async def have_ended() -> bool:
            nonlocal waiting
            waiting = await self._waiting(ends)
            return not waiting

        try:
            await eventually(have_ended, timeout=400, pause=0.2)
        except TimeoutError:
            raise AssertionError(f"have not ended: {waiting}") from None

    async def _waiting(self, ends: Mapping[str, str]) -> list[str]:
        reasons = {body["metadata"]["name"]: condition(body, "Ready").get("reason") for body in await self.story.kube.list(UPGRADE)}
        return [f"{name} is {reasons.get(name)}" for name, end in ends.items() if reasons.get(name) not in end.split("|")]

    async def is_well(self, expected: Mapping[str, Expected], mark: int, timeout: float = 60) -> Seen:
        """Return what the checker saw once it finds no fault. Raises AssertionError with those that it finds when the time is over."""
        found: list[str] = []
        seen: Seen | None = None

        async def look_again() -> bool:
            nonlocal found, seen
            landed = frozenset(marker for _, marker in audit.landed(self.cluster, mark, list(expected)))
            seen = await look(self.story.kube, OPERATOR_NAMESPACE, list(expected), landed)
            found = faults(seen, expected)
            return not found

        try:
            await eventually(look_again, timeout=timeout, pause=0.3)
        except TimeoutError:
            raise AssertionError(f"{len(found)} faults:\n" + "\n".join(found[:60])) from None
        assert seen is not None
        return seen

    def written_once(self, mark: int, cases: Sequence[Case]) -> None:
        """Require one landed write of content to each object of these cases since a mark: nothing was done again after the death."""
        landed = Counter(place for place, _ in audit.landed(self.cluster, mark, [case.name for case in cases]))
        again = {place for place, count in landed.items() if count > 1 and ("/jobs/" in place or f"/{FIXED}" in place)}
        assert not again, "created more than once"
        landed = Counter({place: count for place, count in landed.items() if "/jobs/" not in place and f"/{FIXED}" not in place})
        wanted = {place: 1 for case in cases for place in _places(case)}
        wrong = {place: count for place, count in landed.items() if wanted.get(place) != count}
        assert wrong == {}, "written more than once, or nobody's to write"
        assert landed.keys() == wanted.keys(), sorted(wanted.keys() - landed.keys())


def _places(case: Case) -> list[str]:
    plurals = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "CronJob": "cronjobs"}
    workloads = [name.partition("/") for name in case.upgraded().images]
    return [
        *(f"{case.name}/{plurals[kind]}/{name}" for kind, _, name in workloads),
        *(f"{case.name}/configmaps/{target}" for target in case.upgraded().configs if target != FIXED),
    ]


def _run(upgrade: Object) -> str:
    return str(((upgrade.get("status") or {}).get("run") or {}).get("id", ""))


async def _all(work: Sequence[Callable[[], Awaitable[object]]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(deed: Callable[[], Awaitable[object]]) -> None:
        async with gate:
            await deed()

    await asyncio.gather(*(one(deed) for deed in work))
