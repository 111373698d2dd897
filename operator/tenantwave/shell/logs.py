"""Log lines: text for people or JSON for machines, on stderr, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

SECRETS = re.compile(
    r"(?i)(?<=bearer )[\w.~+/=-]{8,}|(?<=basic )[\w+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
"""Credentials that an error message of somebody else may carry: bearer and basic tokens, JSON web tokens, passwords in addresses."""

NOISY = {
    "kopf.objects": logging.WARNING,  # an INFO line per event
    "kopf": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "kubernetes": logging.WARNING,
}


class _Text(logging.Formatter):
    """`2026-02-03T04:05:06.789Z INFO  tenantwave.engine.queue: sentence`"""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_instant(record)} {record.levelname:<7} {record.name}: {_sentence(self, record)}"


class _Json(logging.Formatter):
    """One object per line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _instant(record), "level": record.levelname, "logger": record.name, "message": _sentence(self, record)}
        return json.dumps(line, ensure_ascii=False)


def configure(log_format: str, level: str) -> None:
    """Send all log lines of the process to stderr in this format, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sentence(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return SECRETS.sub("***", text)
