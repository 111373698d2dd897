"""How reasons are said: one sentence of at most 256 characters, local time with its zone first, then UTC."""

from datetime import timedelta

from tenantwave.core.calendar.zones import nearest_name

LONGEST_SENTENCE = 256
LONGEST_QUOTE = 80


def sentence(text: str) -> str:
    """Cut a sentence to what status can hold."""
    return text if len(text) <= LONGEST_SENTENCE else text[: LONGEST_SENTENCE - 1] + "…"


def plain(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Make text that somebody else wrote fit for a sentence of ours: one line, nothing that a terminal would obey, not too long."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def unknown_zone(name: str, mend: str) -> str:
    """Say that a time zone is none, with the nearest one that is."""
    return sentence(f'closed: "{plain(name)}" is no IANA time zone; {mend}, for example {nearest_name(name)}')


def length(duration: timedelta) -> str:
    """Write a duration as manifests do: `15m`, `1h30m`; seconds are rounded up."""
    seconds = -(-duration // timedelta(seconds=1))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
