"""Log lines: text for people or JSON for machines, on stderr, without secrets; and the change record, always as JSON, on stdout."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

SECRETS = re.compile(
    r"(?i)(?<=bearer )[\w.~+/=-]{8,}|(?<=basic )[\w+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
"""Credentials that an error message of somebody else may carry: bearer and basic tokens, JSON web tokens, passwords in addresses."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What would begin a line of its own, or what a terminal obeys: it may come from whoever wrote the words that a message repeats."""

NOISY = {
    "kopf.objects": logging.WARNING,  # an INFO line per event
    "kopf": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "kubernetes": logging.WARNING,
}


CHANGES = "tenantwave.changes"
"""The logger of the change record: each change in a tenant, one line each, for whatever keeps lines for long."""


class _Text(logging.Formatter):
    """`2026-02-03T04:05:06.789Z INFO  tenantwave.engine.queue: sentence`"""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_instant(record)} {record.levelname:<7} {record.name}: {_sentence(self, record)}"


class _Json(logging.Formatter):
    """One object per line: time, level, logger, message, and the fields that the line was given as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _instant(record), "level": record.levelname, "logger": record.name, "message": _sentence(self, record)}
        return json.dumps(_blotted(getattr(record, "fields", {})) | line, ensure_ascii=False)


class _Change(logging.Formatter):
    """One object per line: the fields that the line was given, and nothing else."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_blotted(getattr(record, "fields", {})), ensure_ascii=False)


def _is_for_people(record: logging.LogRecord) -> bool:
    """Tell whether a line belongs into the text format: machines also get those that repeat what was said (`extra={"is_news": False}`)."""
    return bool(getattr(record, "is_news", True))


def configure(log_format: str, level: str) -> None:
    """Send all log lines of the process to stderr in this format, from this level on; the change record to stdout, whatever the level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    if log_format != "json" and level != "DEBUG":
        handler.addFilter(_is_for_people)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    changes = logging.getLogger(CHANGES)
    kept = logging.StreamHandler(sys.stdout)
    kept.setFormatter(_Change())
    changes.handlers[:] = [kept]
    changes.propagate = False
    changes.setLevel(logging.INFO)
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _blotted(value: Any) -> Any:
    """Return a field without credentials, in whatever it is nested."""
    match value:
        case str():
            return SECRETS.sub("***", value)
        case dict():
            return {name: _blotted(each) for name, each in value.items()}
        case list() | tuple():
            return [_blotted(each) for each in value]
    return value


def _sentence(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = CONTROL.sub(lambda found: repr(found.group())[1:-1], record.getMessage())
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return SECRETS.sub("***", text)
