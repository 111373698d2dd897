"""One TenantRun in our hands: every change of it names the resourceVersion that it was made from."""

from __future__ import annotations

from collections.abc import Iterable

from tenantwave.api.bounds import bounded_document
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import TENANT_RUN
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import MAX_INTENTS, Direction, Intent, IntentState, TenantRunStatus
from tenantwave.core.advice import advised
from tenantwave.core.intents import has_room, with_room_for
from tenantwave.core.world import StoredRun
from tenantwave.engine.tenant.failure import Failed
from tenantwave.ports import Cluster


class RunHandle:
    """The status as it is to become, and the fence: a write fails (`Conflict`) if anybody else has moved the TenantRun since it was read.

    Changes are staged in `status` and go out together, so that one request may carry the outcome of one write and the intent of the next.
    """

    def __init__(self, cluster: Cluster, namespace: str, stored: StoredRun) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._saved = stored.status
        self._resource_version = stored.resource_version
        self._upgrade = stored.upgrade
        self._tenant = stored.name.removeprefix(f"{stored.upgrade}.")
        self.name = stored.name
        self.uid = stored.uid
        self.status = stored.status
        self.is_moved = False

    def stage(self, **changes: object) -> None:
        """Change the status in memory."""
        self.status = self.status.model_copy(update=changes)

    def stage_intent(self, intent: Intent) -> None:
        """Put an intent in its place, or append it. `written` follows: whether anything of ours stands, or may stand, in the tenant."""
        others = {known.seq: known for known in self.status.intents}
        self._stage_intents(sorted((others | {intent.seq: intent}).values(), key=lambda one: one.seq))
        self.stage(last_seq=max(self.status.last_seq, intent.seq))

    def forget_intent(self, intent: Intent) -> None:
        """Drop a write that the API server has refused: it has not landed, and never will. Its number is not used again."""
        self._stage_intents(one for one in self.status.intents if one.seq != intent.seq)

    def _stage_intents(self, intents: Iterable[Intent]) -> None:
        known = tuple(intents)
        self.stage(intents=known, written=any(one.state in (IntentState.ISSUED, IntentState.LANDED) for one in known))

    def make_room(self, ref: ObjectRef, direction: Direction, live_version: str) -> None:
        """See that one more write of an object finds its place; those of it that can never land make room.

        Raises: Failed where there is none. An intent that does not fit must stop its write: it is what a rollback needs. A forward write
        leaves free what the way back of all that then stands will take.
        """
        kept = with_room_for(self.status.intents, ref, live_version)
        secret_count = sum(bool(one.snapshot) for one in self.status.secrets)
        if not has_room(kept, ref, direction, secret_count):
            text = f"the journal of this tenant has no room for a write of {ref.kind} {ref.name} and its way back"
            raise Failed(
                FailReason.PREFLIGHT_FAILED, f"{text} ({len(kept)} of {MAX_INTENTS} places are taken); upgrade fewer objects at once"
            )
        self.stage(intents=kept)

    async def save(self, status: TenantRunStatus | None = None) -> None:
        """Write what is staged (or `status`), with the orders that fit it, if it differs from what is stored.

        Raises: Conflict, and faults of the API.
        """
        self.status = advised(status if status is not None else self.status, self._upgrade, self._tenant)
        if self.status == self._saved:
            return
        metadata = {"name": self.name, "namespace": self._namespace, "uid": self.uid, "resourceVersion": self._resource_version}
        body = {
            "apiVersion": TENANT_RUN.api_version,
            "kind": TENANT_RUN.name,
            "metadata": metadata,
            "status": bounded_document(self.status),
        }
        reply = await self._cluster.replace(TENANT_RUN, body, subresource="status")
        self._resource_version = str(reply["metadata"]["resourceVersion"])
        self._saved = self.status
        self.is_moved = True
