"""Log lines carry no secrets, in either format."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from tenantwave.shell import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.NOISY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("tenantwave.engine").exception("it failed for %s", "acme")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry["level"] == "ERROR"
    assert entry["logger"] == "tenantwave.engine"
    assert entry["message"].startswith("it failed for acme\nTraceback")
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("headers: Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("cannot reach https://admin:hunter2@prometheus:9090/api", "hunter2"),
        ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ],
    ids=["bearer", "json web token", "password in an address", "basic"],
)
def test_credentials_in_other_peoples_messages_are_blotted_out(
    log_format: str, message: str, secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(log_format, "INFO")
    logging.getLogger("tenantwave").warning("%s", message)
    text = capsys.readouterr().err
    assert "***" in text
    assert secret not in text


def test_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "INFO")
    logging.getLogger("kopf.objects").info("an event")
    logging.getLogger("kopf.objects").warning("a warning")
    text = capsys.readouterr().err
    assert "an event" not in text
    assert "a warning" in text


TICK = {"tick": {"upgrade": "shop", "questions": 7, "problems": ["refused: Bearer abcdef0123456789", 1.5]}}


def test_fields_of_a_line_stand_in_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO")
    logging.getLogger("tenantwave").info("a tick", extra={"fields": TICK | {"level": "LOUD"}})
    entry = json.loads(capsys.readouterr().err)
    assert entry["tick"] == {"upgrade": "shop", "questions": 7, "problems": ["refused: Bearer ***", 1.5]}
    assert (entry["message"], entry["level"]) == ("a tick", "INFO")


@pytest.mark.parametrize(("log_format", "level", "lines"), [("text", "INFO", 2), ("json", "INFO", 3), ("text", "DEBUG", 3)])
def test_what_is_no_news_is_for_machines_and_who_looks_for_a_fault(
    log_format: str, level: str, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(log_format, level)
    for extra in ({"is_news": True}, {"is_news": False}, {}):
        logging.getLogger("tenantwave").info("a tick", extra=extra)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_words_of_others_forge_no_lines_and_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "INFO")
    logging.getLogger("tenantwave.test").info("paused by ann: %s", "a look\n2026-01-01T00:00:00.000Z CRITICAL all is lost\x1b[2J")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith("a look\\n2026-01-01T00:00:00.000Z CRITICAL all is lost\\x1b[2J\n")
