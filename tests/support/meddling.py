"""Another writer who edits a tenant's objects at every point between an operator's requests: after its reads, and before its writes."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from localcluster.client import STRATEGIC_PATCH, ApiError, KubeClient

from support.between import Answer, Call, Faithful, Forward
from support.cases import COMPONENTS, Case
from support.checker import Expected
from support.labels import case_of, label_of

CONFIG, FILES = "app-config", "agent-config"


class Other:
    """Somebody with rights in all tenants. It remembers what it did: `data`, `notes` and `secrets`, by case."""

    def __init__(self, kube: KubeClient, cases: Sequence[Case]) -> None:
        self._kube = kube
        self.data: dict[str, dict[str, str | None]] = {case.name: {} for case in cases}
        self.notes: dict[str, dict[str, dict[str, str]]] = {case.name: {} for case in cases}
        self.lines: dict[str, str] = {}
        self.secrets: dict[str, dict[str, str]] = {case.name: {} for case in cases}
        self.deeds: Mapping[str, Callable[[str, int], Awaitable[None]]] = {
            "own key": self._own_key,
            "release's key": self._key_of_release,
            "deleted key": self._delete_key,
            "line of a file": self._line,
            "ConfigMap's annotation": self._annotate,
            "Secret": self._secret,
            "workloads": self._note_workloads,
        }

    async def _edit(self, case: str, edits: Mapping[str, str | None]) -> None:
        await self._kube.patch("ConfigMap", CONFIG, case, {"data": edits})
        self.data[case].update(edits)

    async def _own_key(self, case: str, number: int) -> None:
        await self._edit(case, {"own": f"edit {number}", f"own-{number}": "new"})

    async def _key_of_release(self, case: str, number: int) -> None:
        await self._edit(case, {"mode": f"edit {number}"})

    async def _delete_key(self, case: str, number: int) -> None:
        await self._edit(case, {"mode": None})

    async def _line(self, case: str, number: int) -> None:
        """Add a line to a file, as an editor does; another line of it the release changes."""
        body = await self._kube.get("ConfigMap", FILES, case)
        line = f"edit{number}: done\n"
        version = body["metadata"]["resourceVersion"]
        patch = {"data": {"agent.yaml": body["data"]["agent.yaml"] + line}, "metadata": {"resourceVersion": version}}
        try:
            await self._kube.patch("ConfigMap", FILES, case, patch)
        except ApiError as error:
            if error.status != 409:
                raise
            return  # somebody was faster: an editor that loses this race has changed nothing
        self.lines[case] = self.lines.get(case, "") + line

    async def _annotate(self, case: str, number: int) -> None:
        await self._put_note(case, f"ConfigMap/{CONFIG}", number)

    async def _secret(self, case: str, number: int) -> None:
        value = f"c2VjcmV0{number:04d}"
        await self._kube.patch("Secret", "login", case, {"data": {"password": value}})
        self.secrets[case] = {"password": value}

    async def _note_workloads(self, case: str, number: int) -> None:
        for name, (kind, _) in COMPONENTS.items():
            await self._put_note(case, f"{kind}/{name}", number)

    async def _put_note(self, case: str, place: str, number: int) -> None:
        kind, _, name = place.partition("/")
        note = {"example.com/note": f"edit {number}"}
        await self._kube.patch(kind, name, case, {"metadata": {"annotations": note}})
        self.notes[case].setdefault(place, {}).update(note)

    def seen_in(self, expected: Expected, case: Case) -> Expected:
        """Return a model with what was done to the case."""
        data = {key: value for key, value in {**expected.configs[CONFIG], **self.data[case.name]}.items() if value is not None}
        files = dict(expected.configs[FILES])
        files["agent.yaml"] = f"{files['agent.yaml']}{self.lines.get(case.name, '')}"
        return dataclasses.replace(
            expected,
            configs={**expected.configs, CONFIG: data, FILES: files},
            annotations=self.notes[case.name],
            secrets={"login": self.secrets[case.name] or expected.secrets["login"]},
        )


class OtherVersion(Faithful):
    """A script that lets somebody set the version of `Deployment/api` by hand, once in each case, each time at another point of the work."""

    POINTS = re.compile(r"tenantruns.*(Preflight|Applying|Converging|Soaking)|deployments|configmaps/app-config")

    def __init__(self, kube: KubeClient, uids: Mapping[str, str]) -> None:
        self._kube = kube
        self._uids = uids
        self._writes: dict[str, str] = {}
        self._begun: dict[str, str] = {}
        self.points: dict[str, str] = {}
        """Case -> where it has happened."""

    async def answer(self, call: Call, forward: Forward) -> Answer:
        if call.is_write and (case := case_of(call, self._uids)):
            label = self._writes[case] = label_of(call, case)
            await self._set(case, f"before {label}")
            return await forward()
        answer = await forward()
        case = next((name for name in self._uids.values() if f"/namespaces/{name}/" in call.path), "")
        if case and call.method == "GET" and "/deployments" in call.path:
            await self._set(case, f"after {label_of(call, case)} and {self._writes.get(case, 'nothing')}")
        return answer

    async def _set(self, case: str, point: str) -> None:
        if case in self._begun or point in self._begun.values() or not self.POINTS.search(point):
            return
        self._begun[case] = point
        containers = [{"name": "api", "image": other_image(case)}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        await self._kube.patch("Deployment", "api", case, patch, content_type=STRATEGIC_PATCH)
        self.points[case] = point


def other_image(case: str) -> str:
    """Return what somebody sets by hand."""
    return f"registry.example.com/{case}/api:9.9.9"


class Meddling(Faithful):
    """A script that lets somebody do each deed once at each point. `done`: deed and point -> the case where it was done."""

    def __init__(self, uids: Mapping[str, str], deeds: Mapping[str, Callable[[str, int], Awaitable[None]]]) -> None:
        self._uids = uids
        self._deeds = deeds
        self._writes: dict[str, str] = {}
        self._hands: dict[str, asyncio.Lock] = {}
        self._is_over = False
        self._begun: set[str] = set()
        self.phase = ""
        self.done: dict[str, str] = {}

    async def stop(self) -> None:
        """Begin no other deed, and wait for those that are being done: requests beside the work go on when the work has ended."""
        self._is_over = True
        for hand in self._hands.values():
            async with hand:
                pass

    async def answer(self, call: Call, forward: Forward) -> Answer:
        if call.is_write and (case := case_of(call, self._uids)):
            label = label_of(call, case)
            if "tenantprofiles" not in label:  # they are written beside the work, at any time
                self._writes[case] = label
            await self._meddle(case, f"before {label}")
            return await forward()
        answer = await forward()
        case = next((name for name in self._uids.values() if f"/namespaces/{name}/" in call.path), "")
        if case and call.method == "GET":
            await self._meddle(case, f"after {label_of(call, case)} and {self._writes.get(case, 'nothing')}")
        return answer

    async def _meddle(self, case: str, point: str) -> None:
        """Do one deed that nobody has done at this point yet."""
        if self._is_over:
            return
        key = next((key for deed in self._deeds if (key := f"{deed} {self.phase}{point}") not in self._begun), "")
        if not key:
            return
        self._begun.add(key)
        number = len(self._begun)
        deed = next(deed for name, deed in self._deeds.items() if key.startswith(f"{name} {self.phase}"))
        async with self._hands.setdefault(case, asyncio.Lock()):
            await deed(case, number)
            self.done[key] = case
