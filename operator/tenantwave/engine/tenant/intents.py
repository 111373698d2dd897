"""The write protocol: an intent in the TenantRun, then one guarded and marked request, then what became of it.

A crash anywhere in between leaves an intent whose marker stands on the object (it landed), or one whose marker does not (it did not).
What stands without a marker, and still looks like our write, is never guessed about.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import INTENT_ANNOTATION
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import Direction, Intent, IntentState
from tenantwave.core.intents import needed_later, shown_fields
from tenantwave.engine.tenant.documents import Document
from tenantwave.engine.tenant.failure import Failed, NamespaceGone, lasting
from tenantwave.engine.tenant.merging import aside
from tenantwave.engine.tenant.run_handle import RunHandle
from tenantwave.faults import AlreadyExists, Conflict, Fault, NotFound, OutcomeUnknown, Unavailable
from tenantwave.ports import Body, Cluster, Snapshots

T = TypeVar("T")

TRIES = 8
"""How often one write is planned anew because somebody else was faster; then the tenant's next turn goes on."""

FENCE = "fence"
"""Stands in place of a number in a marker that only moves an object's version."""

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""An intent's number in a marker. The tenant may write anything there, also what `int` refuses."""


class Unchanged:
    """Nothing is to be written."""


UNCHANGED = Unchanged()


async def _anywhere() -> None:
    """Check no place."""


class Ledger:
    """The intents of one TenantRun, and the writes that they announce."""

    def __init__(
        self, cluster: Cluster, snapshots: Snapshots, handle: RunHandle, check_place: Callable[[], Awaitable[None]] = _anywhere
    ) -> None:
        """Take the journal of one TenantRun. `check_place` raises NamespaceGone unless the namespace is the one that the run is about."""
        self._check_place = check_place
        self._cluster = cluster
        self._snapshots = snapshots
        self._handle = handle

    # What is known

    def of(self, ref: ObjectRef) -> tuple[Intent, ...]:
        """Return the intents about one object, oldest first."""
        return tuple(intent for intent in self._handle.status.intents if intent.target == ref)

    def standing(self, ref: ObjectRef) -> tuple[Intent, ...]:
        """Return the forward writes that landed on one object and were not taken back, oldest first."""
        return tuple(one for one in self.of(ref) if one.direction is Direction.FORWARD and one.state is IntentState.LANDED)

    def touched(self) -> tuple[ObjectRef, ...]:
        """Return the objects that any intent is about, in the order of their first intent."""
        return tuple({_key(intent.target): intent.target for intent in self._handle.status.intents}.values())

    async def part(self, document: Document[T], digest: str) -> T | None:
        """Return what an intent names by digest."""
        return document.unpack(await self._snapshots.load(digest)) if digest else None

    async def goal(self, document: Document[T], intent: Intent) -> T | None:
        """Return what a rollback of this and all earlier writes aims at."""
        return await self.part(document, intent.goal or intent.before)

    def is_marked(self, raw: Body | None) -> bool:
        """Tell whether an object carries a marker of this TenantRun."""
        return self._marked(raw) != 0

    def adopt(self, ref: ObjectRef) -> None:
        """Stage that our last write to an object landed after all: it is there, and known as ours by more than its marker.

        Not where an earlier one is known to have: that is what stands there, and the last one was refused for it.
        """
        *earlier, last = self.of(ref)
        if last.state is IntentState.SUPERSEDED and not any(one.state in (IntentState.LANDED, IntentState.REVERTED) for one in earlier):
            state = IntentState.LANDED if last.direction is Direction.FORWARD else IntentState.REVERTED
            self._handle.stage_intent(last.model_copy(update={"state": state}))

    async def needed_later(self, document: Document[T]) -> tuple[Intent, ...]:
        """Return those intents about one object that a new attempt needs. Cost: a read of the object."""
        raw = await self.get(document)
        version = "" if raw is None else str(raw["metadata"].get("resourceVersion", ""))
        return needed_later(self.of(document.ref), version, self._marked(raw))

    # Reading and writing

    async def get(self, document: Document[T]) -> dict[str, Any] | None:
        """Return the object as it is now, or None."""
        try:
            return await self._cluster.get(document.kind, document.ref.namespace, document.ref.name)
        except NotFound:
            return None

    async def settle(self, document: Document[T], raw: Body | None, refused: int = 0, by_order: bool | None = None) -> None:
        """Find out what became of the writes to this object that are not settled, and stage it.

        A write whose precondition still holds has not landed, and still may: it stays Issued until something moves the object.
        Args:
            refused: the intent whose request the server has just refused for its precondition: without its marker it did not land.
            by_order: what a person's order says of writes that the object does not tell about: True (Resolve, going back), they landed;
                False (Retry, going on from live), they did not.
        Raises: Failed (Ambiguous, Recreated, Deleted) where neither the object nor a person tells; nothing is guessed.
        """
        marked = self._marked(raw)
        for intent in self.of(document.ref):
            late = intent.state is IntentState.SUPERSEDED and intent.seq == marked
            if intent.state is not IntentState.ISSUED and not late:
                continue
            try:
                landed = await self._has_landed(document, intent, raw, marked, refused)
            except Failed:
                if by_order is None:
                    raise
                landed = by_order and raw is not None
            if landed:
                await self._land(document, intent)
            elif not late and (intent.seq == refused or not _may_arrive(intent, raw)):
                self._give_up(intent)

    async def bar(self, document: Document[T], by_order: bool | None = None) -> dict[str, Any] | None:
        """Settle the writes to one object for good, and return it: what may still arrive is kept from arriving, by one write where there is such.

        Without it a write could arrive after the last look at the object and before its marker comes off: then nobody would take it back.
        Raises: what `settle` raises; Conflict after TRIES.
        """
        for _ in range(TRIES):
            raw = await self.get(document)
            await self.settle(document, raw, by_order=by_order)
            still_open = [one for one in self.of(document.ref) if one.state is IntentState.ISSUED]
            if still_open and raw is not None:
                try:
                    raw = await self._fence(document, raw)
                except (Conflict, NotFound):
                    continue
            for intent in still_open:
                self._give_up(intent)
            return raw
        raise Conflict(f"{document.kind.name} {document.ref.name} is being changed all the time; looked at again at the next look")

    async def write(
        self,
        document: Document[T],
        wanted: Callable[[dict[str, Any] | None, T | None], Awaitable[T | Unchanged | None]],
        *,
        direction: Direction = Direction.FORWARD,
        component: str = "",
        pristine: str = "",
        known: dict[str, Any] | None = None,
        saved: Callable[[], Awaitable[Body | None]] | None = None,
    ) -> dict[str, Any] | None:
        """Bring one object to what `wanted` says of the live one, and return it as it then stands (None: it does not exist).

        The outcome of the last request is staged only: it goes out with the next write of the TenantRun, or with the next intent.
        Args: known: the object as it was read a moment ago, for the first try; saved: gives the object as the snapshot has it.
        Raises: Failed (Mutated, and what `settle` and `wanted` raise); Conflict after TRIES, OutcomeUnknown, Unavailable: then look again.
        """
        refused = 0
        for _ in range(TRIES):
            raw = known or await self.get(document)
            known = None
            await self.settle(document, raw, refused)
            before = document.read(raw)
            after = await wanted(raw, before)
            if isinstance(after, Unchanged) or (after is None and raw is None):
                return raw
            known_seq = self._handle.status.last_seq
            intent = await self._announce(document, raw, before, after, direction, component, pristine)
            is_repeated = intent.seq <= known_seq
            try:
                # After the object was read: if its namespace is made again from here on, the request's precondition fails.
                await self._check_place()
                reply = await self._send(document, intent, raw, before, after, saved)
            except NamespaceGone:
                self._give_up(intent)
                raise
            except (Conflict, AlreadyExists):
                refused = 0 if is_repeated else intent.seq  # it may be refused because it had landed before
                continue
            except (OutcomeUnknown, Unavailable):
                raise
            except NotFound as fault:
                if raw is None:
                    raise NamespaceGone(FailReason.DELETED, f"namespace {document.ref.namespace} is gone") from fault
                continue
            except Fault as fault:
                if not is_repeated:  # else the first request may still arrive
                    self._handle.forget_intent(intent)
                raise lasting(fault, document.ref.namespace) from fault
            await self._land(document, intent)
            fields = document.fields(before, after)
            if after is not None and (same := document.matching(document.read(reply), after, fields)) != fields:
                foreign = sorted(set(fields) - set(same))
                what = f"a webhook changed {document.ref.name}{foreign[0]} in our write"
                raise Failed(FailReason.MUTATED, f"{what}; exempt that field in the webhook, then Retry or Resolve")
            return reply
        raise Conflict(f"{document.kind.name} {document.ref.name} is being changed all the time; planned again at the next look")

    async def _announce(
        self,
        document: Document[T],
        raw: Body | None,
        before: T | None,
        after: T | None,
        direction: Direction,
        component: str,
        pristine: str,
    ) -> Intent:
        """Store what the write is about, and then the intent. This is the fence: it fails if anybody else has moved the TenantRun.

        The same request, while its fate is not known, is sent once more under its own number: an outage, however long, does not fill the journal.
        Its precondition lets it land once. A create has none, and could arrive once more after it was taken back: each has its own number.
        """
        before_digest = (await self._snapshots.save(document.pack(before))).digest if before is not None else ""
        after_digest = (await self._snapshots.save(document.pack(after))).digest if after is not None else ""
        metadata = raw["metadata"] if raw is not None else {}
        intent = Intent(
            seq=self._handle.status.last_seq + 1,
            direction=direction,
            target=document.ref,
            component=component,
            uid=metadata.get("uid", ""),
            fields=shown_fields(document.fields(before, after)),
            before=before_digest,
            after=after_digest,
            pristine=pristine,
            resource_version=metadata.get("resourceVersion", ""),
        )
        if (known := self._same_request(intent)) is not None:
            self._handle.stage(epoch=self._handle.status.epoch + 1)
            await self._handle.save()
            return known
        self._handle.make_room(document.ref, direction, intent.resource_version)
        self._handle.stage_intent(intent)
        await self._handle.save()
        return intent

    def _same_request(self, intent: Intent) -> Intent | None:
        """Return the same write as it was announced before and is not settled yet; None where there is none, and for a create."""
        same = (one for one in self.of(intent.target) if one == intent.model_copy(update={"seq": one.seq}))
        return next(same, None) if intent.resource_version else None

    async def _send(
        self,
        document: Document[T],
        intent: Intent,
        raw: Body | None,
        before: T | None,
        after: T | None,
        saved: Callable[[], Awaitable[Body | None]] | None,
    ) -> dict[str, Any] | None:
        namespace, name = document.ref.namespace, document.ref.name
        marker = {"annotations": {INTENT_ANNOTATION: self.marker(intent.seq)}}
        if raw is None or before is None:
            if after is None:
                raise ValueError(f"nothing to create and nothing to delete: {document.ref.name}")
            body = document.body(after, await saved() if saved is not None else None)
            return await self._cluster.create(document.kind, _with_metadata(body, marker))
        if after is None:
            await self._cluster.delete(document.kind, namespace, name, uid=intent.uid, resource_version=intent.resource_version)
            return None
        patch, strategic = document.patch(raw, before, after)
        send = self._cluster.strategic_patch if strategic else self._cluster.merge_patch
        return await send(document.kind, namespace, name, _with_metadata(patch, marker), resource_version=intent.resource_version)

    def marker(self, seq: int) -> str:
        """Return what the annotation on the object says while the run has it open."""
        return f"{self._handle.uid}/{seq}"

    def as_sent(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body or patch with a marker, as a write of this run would have it: what a dry-run is to be asked about."""
        return _with_metadata(body, {"annotations": {INTENT_ANNOTATION: self.marker(0)}})

    def _marked(self, raw: Body | None) -> int:
        """Return which of our intents an object carries the marker of; 0 for none, -1 for a fence or whatever else the tenant put there."""
        owner, _, seq = marker_of(raw).rpartition("/")
        if owner != self._handle.uid:
            return 0
        return int(seq) if _NUMBER.fullmatch(seq) else -1

    async def _has_landed(self, document: Document[T], intent: Intent, raw: Body | None, marked: int, refused: int) -> bool:
        """Answer by the table of restarts: what the object shows says whether the write landed."""
        what = f"{document.kind.name} {document.ref.name}"
        if raw is None:
            if intent.uid and intent.after:
                raise Failed(FailReason.DELETED, f"{what} was deleted while we wrote it; check it, then Retry or Resolve")
            return bool(intent.uid)  # a delete has landed, a create has not
        if marked == intent.seq:
            return True
        if not intent.uid:
            return False
        if raw["metadata"].get("uid") != intent.uid:
            if not intent.after:
                return True
            raise Failed(FailReason.RECREATED, f"{what} has another uid than when we wrote it; check it, then Retry or Resolve")
        if marked or not intent.after or intent.seq == refused:
            return False
        before, after = await self.part(document, intent.before), await self.part(document, intent.after)
        ours = document.matching(document.read(raw), after, document.fields(before, after))
        if ours:
            raise Failed(
                FailReason.AMBIGUOUS,
                f"the marker is gone from {what}, and {ours[0]} equals our value; Retry goes on from what is there, Resolve settles it",
            )
        return False

    async def _land(self, document: Document[T], intent: Intent) -> None:
        """Stage that a write landed: forwards with the rebased goal, backwards with all that it takes back.

        It has moved the object's version: no other that was open can land any more.
        """
        for other in self.of(document.ref):
            if other.state is IntentState.ISSUED and other.seq != intent.seq:
                self._give_up(other)
        landed = intent.model_copy(update={"state": IntentState.LANDED})
        if intent.direction is Direction.ROLLBACK:
            self._handle.stage_intent(landed.model_copy(update={"state": IntentState.REVERTED}))
            self.reverted(document.ref)
            return
        earlier = [one for one in self.standing(document.ref) if one.seq < intent.seq]
        if earlier:
            previous = earlier[-1]
            aim: T | None = await self.goal(document, previous)
            left: T | None = await self.part(document, previous.after)
            found: T | None = await self.part(document, intent.before)
            goal = await aside(document.rebased, aim, left, found)
            landed = landed.model_copy(update={"goal": (await self._snapshots.save(document.pack(goal))).digest})
        self._handle.stage_intent(landed)

    def reverted(self, ref: ObjectRef) -> None:
        """Stage that all forward writes of one object are taken back."""
        for intent in self.standing(ref):
            self._handle.stage_intent(intent.model_copy(update={"state": IntentState.REVERTED}))

    def _give_up(self, intent: Intent) -> None:
        self._handle.stage_intent(intent.model_copy(update={"state": IntentState.SUPERSEDED}))

    # The end

    async def unmark(self, document: Document[T]) -> None:
        """Take our marker off one object.

        A write that was given up and may still be on its way is fenced off first: moving the object's version breaks its precondition.
        The marker of a write that we do not know stays: without it the process that announced it could not tell that it landed.
        Raises: NamespaceGone where a marker stands in another namespace of that name; Conflict after TRIES.
        """
        for _ in range(TRIES):
            raw = await self.get(document)
            if raw is None:
                return
            metadata = raw["metadata"]
            if (marked := self._marked(raw)) > self._handle.status.last_seq:
                raise Conflict(f"{document.kind.name} {document.ref.name} carries a write of a process that has gone on; look again")
            if marked:
                await self._check_place()  # after a backup was restored a marker may stand in a namespace that is not ours
            else:
                expected = [one for one in self.of(document.ref) if one.state in _UNLANDED and _may_arrive(one, raw)]
                if not expected:
                    return
                try:
                    raw = await self._fence(document, raw)
                except Conflict:
                    continue
                for intent in expected:
                    self._give_up(intent)
            clean: dict[str, Any] = {"metadata": {"annotations": {INTENT_ANNOTATION: None}}}
            version = raw["metadata"]["resourceVersion"]
            try:
                await self._cluster.merge_patch(document.kind, metadata["namespace"], metadata["name"], clean, resource_version=version)
            except Conflict:
                continue
            except NotFound:
                return
            return
        raise Conflict(f"{document.kind.name} {document.ref.name} is being changed all the time; its marker comes off at the next look")

    async def _fence(self, document: Document[T], raw: Body) -> dict[str, Any]:
        """Move the object's version, which breaks the precondition of every request that is still on its way."""
        patch: dict[str, Any] = {"metadata": {"annotations": {INTENT_ANNOTATION: f"{self._handle.uid}/{FENCE}"}}}
        where, version = document.ref, raw["metadata"]["resourceVersion"]
        return await self._cluster.merge_patch(document.kind, where.namespace, where.name, patch, resource_version=version)


_UNLANDED = frozenset({IntentState.ISSUED, IntentState.SUPERSEDED})


def _may_arrive(intent: Intent, raw: Body | None) -> bool:
    """Tell whether the server would take the request if it came now: its precondition still holds."""
    return intent.resource_version == ("" if raw is None else raw["metadata"].get("resourceVersion"))


def marker_of(raw: Body | None) -> str:
    """Return the marker on an object, '' for none."""
    return str((((raw or {}).get("metadata") or {}).get("annotations") or {}).get(INTENT_ANNOTATION, ""))


def _key(ref: ObjectRef) -> tuple[str, str, str]:
    return ref.api_version, ref.kind, ref.name


def _with_metadata(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return the body with annotations added to its metadata."""
    metadata = dict(body.get("metadata") or {})
    metadata["annotations"] = dict(metadata.get("annotations") or {}) | extra["annotations"]
    return body | {"metadata": metadata}
