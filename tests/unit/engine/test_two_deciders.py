"""Two processes decide about one upgrade: what one of them has stored is never overwritten by what the other decided before it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from fakes import Request
from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import OWN
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.core.journal import Journal, Pause
from tenantwave.engine.journals import journal_name
from tenantwave.faults import AlreadyExists, Conflict

JOURNAL = journal_name(UPGRADE)


async def undisturbed() -> EngineStory:
    """Return an upgrade that soaks, and all that was written on the way."""
    story = EngineStory()
    await story.looks()
    assert story.image() == "shop/api:2.4.0"
    return story


def obey_a_pause(story: EngineStory, text: str) -> None:
    """Store what another process has made of the journal `text`: it has obeyed a Pause. Our caches hear of it at once."""
    journal = Journal.model_validate_json(text)
    pause = Pause(time=story.clock.now(), message="paused by ann", action="pause-1")
    theirs = journal.model_copy(update={"pause": pause, "answered": ("uid-of-pause-1",)})
    metadata = {"name": JOURNAL, "namespace": OWN, "labels": {"tenantwave.io/role": "journal", "tenantwave.io/upgrade": UPGRADE}}
    body = {"metadata": metadata, "data": {"journal": theirs.model_dump_json()}}
    if story.cluster.has(CONFIG_MAP, OWN, JOURNAL):
        story.cluster.edit(CONFIG_MAP, OWN, JOURNAL, body)
    else:
        story.cluster.put(CONFIG_MAP, body)
    story.watch()


async def test_a_journal_decided_on_an_older_one_is_not_stored() -> None:
    """Between any two of our writes another process obeys a Pause. The cache shows its journal before ours is sent, and still it stands."""
    example = await undisturbed()
    writes = list(example.cluster.writes)
    journals = [number for number, one in enumerate(writes, 1) if (one.kind, one.name) == ("ConfigMap", JOURNAL)]
    assert journals[0] > 1, "something is written before the first journal, and so there is a gap to fall into"
    assert any(writes[number - 2].kind == "TenantUpgrade" for number in journals), "the finalizer goes on before a journal"
    for fatal in range(1, len(writes) + 1):
        story = EngineStory()

        def disturb(number: int, request: Request, story: EngineStory = story, fatal: int = fatal) -> None:
            if number == fatal:
                there = story.cluster.has(CONFIG_MAP, OWN, JOURNAL)
                obey_a_pause(story, story.journal_text() if there else example.journal_text())

        story.cluster.before = disturb
        await story.looks()
        stored = Journal.model_validate_json(story.journal_text())
        assert stored.pause is not None, f"the pause was lost at write {fatal}: {writes[fatal - 1].verb} {writes[fatal - 1].kind}"
        assert stored.answered == ("uid-of-pause-1",)


@pytest.mark.parametrize("is_first", [True, False], ids=["the first journal", "a later journal"])
async def test_saving_over_what_was_decided_on_fails_where_somebody_was_faster(is_first: bool) -> None:
    """The caller is told, and looks again: what it would have written is not there."""
    story = await undisturbed()
    text = story.journal_text()
    over = None if is_first else story.store.journals[UPGRADE]
    obey_a_pause(story, text)
    with pytest.raises((Conflict, AlreadyExists)):
        await story.reconciler.journals.save(Journal.model_validate_json(text), over)
    with suppress(Conflict):
        await story.look()
    assert '"paused by ann"' in story.journal_text()
