"""The writes of one operator process, as they went over the wire: written to a file as they come, for they do not fit into its memory budget."""

from __future__ import annotations

import pickle
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tenantwave.adapters.kube.transport import Reply, Request, Transport

READS = ("/selfsubjectaccessreviews",)
"""What is sent as a POST and changes nothing."""


@dataclass(frozen=True, slots=True)
class RecordedWrite:
    """One request with a write verb, and the code of its answer. `begun` is a monotonic time in seconds."""

    begun: float
    request: Request
    code: int

    @property
    def is_dry_run(self) -> bool:
        """Tell whether the server only judged it."""
        return "dryRun" in self.request.query


class RecordingTransport:
    """A Transport that notes every write. Cost: some 10 microseconds for each, which count as the operator's."""

    def __init__(self, inner: Transport, file: IO[bytes]) -> None:
        self._inner = inner
        self._file = file

    async def send(self, request: Request) -> Reply:
        """Send it, and note it if it is a write that was answered."""
        begun = time.monotonic()
        reply = await self._inner.send(request)
        if request.method != "GET" and not request.path.endswith(READS):
            line = (begun, request.method, request.path, dict(request.query), request.body, request.content_type, reply.code)
            pickle.dump(line, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        return reply

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """Open a stream, as the inner transport does."""
        return self._inner.stream(request)


def recorded_writes(path: Path) -> Iterator[RecordedWrite]:
    """Yield what is in the file, in the order of the answers."""
    with path.open("rb") as file:
        while True:
            try:
                begun, method, target, query, body, content_type, code = pickle.load(file)
            except EOFError:
                return
            yield RecordedWrite(begun, Request(method, target, query, body, content_type), code)
