"""Any mishaps at any writes of one tenant's turn: it ends as without them or in an explicit hold, and no edit of the tenant is lost."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import CrashNow, Request
from support.mishaps import MISHAPS, befall
from support.tenant_story import ACME, OLD, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.faults import Conflict, OutcomeUnknown, Unavailable

EDITED = OLD | {"app-config": OLD["app-config"] | {"mine": "kept", "log.level": "debug"}}
KEYS = ("mine", "db.pool", "new.flag", "log.level", "brand.new")


@dataclass(frozen=True)
class Mishap:
    """What happens at one write. `key` is edited, or `what` goes wrong."""

    at: int
    what: str
    key: str = ""


ANY_MISHAP = st.one_of(
    st.builds(Mishap, st.integers(1, 45), st.sampled_from([*MISHAPS, "strip", "lost after"])),
    st.builds(Mishap, st.integers(1, 45), st.sampled_from(["edit before", "edit after"]), st.sampled_from(KEYS)),
)


class Fate:
    """Lets mishaps happen, and remembers the tenant's last edit of each key."""

    def __init__(self, story: Story, mishaps: list[Mishap]) -> None:
        self.story = story
        self.mishaps = mishaps
        self.edits: dict[str, str] = {}
        self.is_stripped = False
        story.cluster.before = self.before
        story.cluster.after = self.after

    def before(self, number: int, request: Request) -> None:
        """Before a write."""
        for mishap in self.mishaps:
            if mishap.at != number:
                continue
            match mishap.what:
                case "strip":
                    self.strip()
                case "edit before":
                    self.edit(mishap.key, number)
                case what:
                    befall(what, self.story.cluster)

    def after(self, number: int, request: Request) -> None:
        """After a write."""
        for mishap in self.mishaps:
            if mishap.at == number and mishap.what == "edit after":
                self.edit(mishap.key, number)
        for mishap in self.mishaps:
            if mishap.at == number and mishap.what == "die after":
                raise CrashNow
            if mishap.at == number and mishap.what == "lost after":
                raise OutcomeUnknown("the answer was lost")

    def edit(self, key: str, number: int) -> None:
        """Edit one key as the tenant, with a value that nobody else has."""
        if self.story.cluster.has(CONFIG_MAP, ACME, "app-config"):
            self.edits[key] = f"edit {number}"
            self.story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {key: self.edits[key]}})

    def strip(self) -> None:
        """Take the markers off, as an owner that applies its manifest again would."""
        self.is_stripped = True
        for kind, name in ((CONFIG_MAP, "app-config"), (DEPLOYMENT, "api"), (DEPLOYMENT, "worker")):
            self.story.cluster.edit(kind, ACME, name, {"metadata": {"annotations": None}})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mishaps=st.lists(ANY_MISHAP, max_size=4), goes_back=st.booleans())
async def test_whatever_happens_it_ends_well_or_says_why_not(mishaps: list[Mishap], goes_back: bool) -> None:
    """Faults, deaths, late writes, stripped markers and edits at any write of an upgrade, or of an upgrade and its rollback."""
    story = await Story(live=EDITED).begin()
    fate = Fate(story, mishaps)
    await play(story, goes_back)
    left = story.leftovers()
    story.cluster.deliver()
    late = [one for one in story.leftovers() if one not in left and "extra-config" not in one and not one.startswith("lock")]
    assert late == [], "only a create can arrive after the end: of a lock, which a run that is through does not hold, or of a new object"
    state, reason = story.status.state, story.status.reason
    assert edits_in(story) == fate.edits
    conflicts = {"db.pool", "new.flag"} & fate.edits.keys()
    match state:
        case S.SUCCEEDED | S.ROLLED_BACK:
            assert left == []
            assert (state is S.ROLLED_BACK) == goes_back or conflicts
            images = {"api": story.image("api"), "worker": story.image("worker")}
            version = "2.4.0" if state is S.SUCCEEDED else "2.3.1"
            assert images == {name: f"shop/{name}:{version}" for name in images}
        case S.HELD:
            assert (reason == FailReason.CONFIG_CONFLICT and conflicts) or (reason == FailReason.AMBIGUOUS and fate.is_stripped)
        case S.ROLLBACK_FAILED:
            assert reason == FailReason.AMBIGUOUS
            assert fate.is_stripped
        case _:
            raise AssertionError(f"{state}: {reason}: {story.status.message}")


async def play(story: Story, goes_back: bool) -> None:
    """Play until the tenant rests; order it back from its soak."""
    for _ in range(120):
        state = story.status.state
        if state is S.SOAKING and goes_back:
            story.order_back()
        elif state not in (S.PREFLIGHT, S.APPLYING, S.CONVERGING, S.SOAKING, S.ROLLING_BACK):
            return
        try:
            await story.step()
        except CrashNow:
            story.restart()
        except (Conflict, Unavailable, OutcomeUnknown):
            continue


def edits_in(story: Story) -> dict[str, str]:
    """Return the values in the ConfigMap that only the tenant's edits can have brought."""
    return {key: value for key, value in story.data("app-config").items() if value.startswith("edit ")}
