"""Our own writes and the watch tell the same story in different order; the cache must end at its end, and never go back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenantwave.adapters.kube.client import WatchEvent, Written
from tenantwave.adapters.kube.overlay import ECHO_SECONDS, Overlay
from tenantwave.adapters.kube.reflector import Reflector
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.telemetry import Silent

HERE = ("acme", "a")


def test_an_event_older_than_our_write_is_withheld_and_the_echo_is_not() -> None:
    overlay = Overlay()
    assert overlay.wrote(HERE, "u", "7", base_version="5", cached_version="3", now=0)
    assert not overlay.accepts(HERE, "u", "4", deleted=False), "before the version we wrote on"
    assert not overlay.accepts(HERE, "u", "5", deleted=False), "the version we wrote on"
    assert HERE in overlay
    assert overlay.accepts(HERE, "u", "7", deleted=False), "our echo"
    assert HERE not in overlay


def test_after_the_version_we_wrote_on_everything_is_newer() -> None:
    overlay = Overlay()
    overlay.wrote(HERE, "u", "7", base_version="5", cached_version="5", now=0)
    assert overlay.accepts(HERE, "u", "9", deleted=False)
    assert HERE not in overlay


def test_an_echo_that_was_faster_than_the_reply_is_no_news() -> None:
    overlay = Overlay()
    assert overlay.accepts(HERE, "u", "7", deleted=False)
    assert overlay.accepts(HERE, "u", "8", deleted=False)
    assert not overlay.wrote(HERE, "u", "7", base_version="5", cached_version="8", now=0)


def test_what_we_deleted_does_not_come_back() -> None:
    overlay = Overlay()
    overlay.wrote(HERE, "u", "", base_version="", cached_version="5", now=0)
    assert not overlay.accepts(HERE, "u", "6", deleted=False)
    assert overlay.accepts(HERE, "u", "7", deleted=True)


def test_the_end_of_an_older_object_does_not_remove_the_one_we_made() -> None:
    overlay = Overlay()
    overlay.wrote(HERE, "new", "9", base_version="", cached_version="", now=0)
    assert not overlay.accepts(HERE, "old", "8", deleted=True)
    assert overlay.accepts(HERE, "new", "9", deleted=False)


def test_nobody_waits_for_an_echo_for_ever() -> None:
    overlay = Overlay()
    overlay.wrote(HERE, "u", "7", base_version="5", cached_version="3", now=0)
    assert overlay.expire(ECHO_SECONDS) == []
    assert overlay.expire(ECHO_SECONDS + 1) == [HERE]
    assert HERE not in overlay


class OneObject(RuleBasedStateMachine):
    """One object, written by us and by others; replies and events arrive in their own order each, and mixed at will."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 100
        self.stored: dict[str, Any] | None = None
        self.events: list[WatchEvent] = []
        self.replies: list[Written] = []
        self.shown = 0
        self.reflector: Reflector[int] = Reflector(
            source=None,  # type: ignore[arg-type]  # nothing is listed or watched here
            kind=CONFIG_MAP,
            project=lambda body: int(body["metadata"]["resourceVersion"]),
            on_change=self.look,
            telemetry=Silent(),
        )

    def look(self, old: int | None, new: int | None) -> None:
        if new is not None:
            assert new > self.shown, f"{new} came after {self.shown}"
            self.shown = new

    def change(self, *, delete: bool) -> Mapping[str, Any]:
        self.clock += 1
        uid = self.stored["metadata"]["uid"] if self.stored else f"uid-{self.clock}"
        metadata = {"name": "a", "namespace": "acme", "uid": uid, "resourceVersion": str(self.clock)}
        event = "DELETED" if delete else "MODIFIED" if self.stored else "ADDED"
        body = {"metadata": metadata}
        self.stored = None if delete else body
        self.events.append(WatchEvent(event, body))
        return body

    @rule()
    def others_write(self) -> None:
        self.change(delete=False)

    @precondition(lambda self: self.stored)
    @rule()
    def others_delete(self) -> None:
        self.change(delete=True)

    @rule(has_precondition=st.booleans())
    def we_write(self, has_precondition: bool) -> None:
        """What we wrote upon is what was stored, else it would have been refused. One write at a time, as the engine does it."""
        if self.replies:
            return
        base = self.stored["metadata"]["resourceVersion"] if self.stored and has_precondition else ""
        self.replies.append(Written(CONFIG_MAP, "acme", "a", self.change(delete=False), base))

    @precondition(lambda self: self.stored and not self.replies)
    @rule()
    def we_delete(self) -> None:
        gone = self.change(delete=True)
        self.replies.append(Written(CONFIG_MAP, "acme", "a", None, uid=gone["metadata"]["uid"]))

    @precondition(lambda self: self.replies)
    @rule()
    def a_reply_arrives(self) -> None:
        self.reflector.wrote(self.replies.pop(0))

    @precondition(lambda self: self.events)
    @rule()
    def an_event_arrives(self) -> None:
        self.reflector._take(self.events.pop(0))

    @invariant()
    def the_cache_is_right_once_all_has_arrived(self) -> None:
        if not self.events and not self.replies:
            expected = int(self.stored["metadata"]["resourceVersion"]) if self.stored else None
            assert self.reflector.get("acme", "a") == expected


TestOneObject = OneObject.TestCase
TestOneObject.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
