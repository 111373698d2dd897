"""Where ConfigMaps are merged: small ones at once, large ones in a thread of their own, so that no other tenant waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tenantwave.core.preservation import ConfigMapContent

R = TypeVar("R")

MERGED_IN_LOOP = 4_096
"""Characters: so much is merged in some 20 ms, whatever the format. More would hold up the loop, and goes to the thread."""

_MERGER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="merge")
"""One merge at a time: a file of 1 MiB takes 100 MiB to read, and more threads merge no sooner and hold up the loop for longer."""


async def aside(merge: Callable[..., R], *parts: Any) -> R:
    """Return `merge(*parts)`, a pure function of parts of one object. Raises what it raises."""
    if max(map(_size, parts)) <= MERGED_IN_LOOP:
        return merge(*parts)
    return await asyncio.get_running_loop().run_in_executor(_MERGER, merge, *parts)


def _size(part: Any) -> int:
    return sum(map(len, part.data.values())) if isinstance(part, ConfigMapContent) else 0
