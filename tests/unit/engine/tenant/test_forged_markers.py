"""The tenant writes what it likes into our annotation: that never keeps it from being taken back."""

from __future__ import annotations

import pytest

from support.tenant_story import ACME, OLD, S, Story
from tenantwave.api.kinds import CONFIG_MAP, INTENT_ANNOTATION, TENANT_RUN

FORGED = {
    "a superscript is a digit to Python, and no number": "²",
    "more digits than int reads": "9" * 5_000,
    "a digit of another script": "٣",
    "zero": "0",
    "a leading zero": "01",
    "nothing": "",
    "a line end": "1\n",
    "a sign": "-1",
}


@pytest.mark.parametrize("seq", FORGED.values(), ids=FORGED)
async def test_a_forged_number_does_not_stop_the_way_back(seq: str) -> None:
    """A marker of this TenantRun with any number is one that stands for no write of ours, and comes off at the end."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    uid = story.cluster.see(TENANT_RUN, "tenantwave-system", f"shop.{ACME}")["metadata"]["uid"]
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"metadata": {"annotations": {INTENT_ANNOTATION: f"{uid}/{seq}"}}})
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.data("app-config") == OLD["app-config"]
    assert story.leftovers() == []


async def test_a_forged_number_does_not_stop_the_end() -> None:
    """The tenant that is proven ends well, too."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    uid = story.cluster.see(TENANT_RUN, "tenantwave-system", f"shop.{ACME}")["metadata"]["uid"]
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"metadata": {"annotations": {INTENT_ANNOTATION: f"{uid}/²"}}})
    await story.run(S.SUCCEEDED)
    assert story.leftovers() == []
