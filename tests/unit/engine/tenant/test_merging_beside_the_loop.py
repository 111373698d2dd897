"""Where large ConfigMaps are merged: beside the event loop, and one at a time, however many tenants are planned at once."""

import asyncio
import threading
from typing import Any

import pytest

from support.tenant_story import ACME, OWN, Story
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.core import blobs
from tenantwave.core.plan import Deed, Step
from tenantwave.core.preservation import ConfigMapContent, MergeResult, Rules, Subject, merge
from tenantwave.engine.tenant import configuration
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.merging import MERGED_IN_LOOP, aside
from tenantwave.engine.tenant.seals import Seals
from tenantwave.engine.tenant.work import Ports, Work

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")


async def test_large_config_maps_are_merged_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees of 1 MiB take 100 MiB: some of them at once would be more than the operator's memory."""
    threads: set[int] = set()

    def watched(*contents: Any, **terms: Any) -> MergeResult:
        threads.add(threading.get_ident())
        return merge(*contents, **terms)

    monkeypatch.setattr(configuration, "merge", watched)
    story = await Story().begin()
    snapshots = SecretSnapshots(story.cluster, OWN)
    work = Work.begin(
        Ports(story.cluster, snapshots, {}, story.clock, Seals(story.cluster, OWN), OWN), Step(ACME, Deed.PREPARE), story.world()
    )
    assert work is not None
    text = "a: 1\nb: 1\n" + "".join(f"key-{n}: value\n" for n in range(1_000))
    base, new = [
        await snapshots.save(blobs.content_blob(ConfigMapContent({"a.yaml": one}))) for one in (text, text.replace("b: 1", "b: 2"))
    ]
    source = configuration.Source(base.digest, new.digest)
    document = ConfigDocument(ACME, "app-config", Rules(), SUBJECT)
    live = ConfigMapContent({"a.yaml": text.replace("a: 1", "a: 2")})
    results = await asyncio.gather(*(configuration.merged(work, document, source, live) for _ in range(8)))
    assert [result.merged_count for result in results] == [1] * 8
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


async def test_small_ones_are_merged_at_once_and_large_ones_aside_whichever_way() -> None:
    """A rollback merges, too."""
    small, large = ConfigMapContent({"a": "1"}), ConfigMapContent({"a": "1" * (MERGED_IN_LOOP + 1)})

    def where(*_: object) -> int:
        return threading.get_ident()

    assert await aside(where, small, None, small) == threading.get_ident()
    assert await aside(where, small, None, large) != threading.get_ident()
