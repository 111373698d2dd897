"""Plain selectors: `name` or `name{label op "value", ...}`, read by a strict grammar of our own and printed with our own quoting.

What is not plain is refused, not repaired: a modifier, a function or a forgotten quote would change what a query sees, and so who is
blamed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_CHARACTERS: Final = 1024
MAX_MATCHERS: Final = 16

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
WORDS = frozenset({"on", "ignoring", "group_left", "group_right", "bool", "atan2", "smoothed", "anchored", "inf", "nan"})
"""What PromQL reads as a word or a number of its own, in whatever case, wherever a metric's name may stand."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_SPACE = re.compile(r"\s*")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}
_PRINTED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class SelectorError(ValueError):
    """The text is no plain selector. The message says where, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label. `operator` is one of `= != =~ !~`; `value` is the plain text, without quoting."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        """Print it as PromQL."""
        return f"{self.label}{self.operator}{quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's name and the conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        """Print it as PromQL; reading that gives an equal selector."""
        return f"{self.name}{{{','.join(map(str, self.matchers))}}}" if self.matchers else self.name

    def where(self, *matchers: Matcher) -> Selector:
        """Return the selector with further conditions."""
        return Selector(self.name, (*self.matchers, *matchers))

    def with_suffix(self, suffix: str) -> Selector:
        """Return the selector of a series of the same histogram, such as `_bucket`."""
        return Selector(self.name + suffix, self.matchers)


def quoted(value: str) -> str:
    """Return `value` as a PromQL string."""
    return '"' + "".join(_PRINTED.get(character, character) for character in value) + '"'


def parse_selector(text: str, *, reserved: str) -> Selector:
    """Read a plain selector that says nothing about the label `reserved`, which names the tenant and is the operator's to match.

    Raises: SelectorError, with the mend.
    """
    if len(text) > MAX_CHARACTERS:
        raise SelectorError(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are allowed; shorten its matchers")
    selector = _Reader(text).selector()
    if len(selector.matchers) > MAX_MATCHERS:
        raise SelectorError(f"it has {len(selector.matchers)} matchers, at most {MAX_MATCHERS} are allowed; combine some into one =~")
    for matcher in selector.matchers:
        if matcher.label == reserved:
            raise SelectorError(f"it matches on {reserved}, which names the tenant and is matched by the operator; remove {matcher}")
        if matcher.label == "__name__":
            raise SelectorError(f"it matches on __name__; write the metric's name in front of the braces and remove {matcher}")
    return selector


class _Reader:
    """Reads a selector from left to right. `_at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selector(self) -> Selector:
        self._skip_space()
        name = self._take(_NAME)
        if name is None:
            raise self._error("a selector begins with a metric's name, such as http_requests_total")
        if name.lower() in WORDS:
            raise SelectorError(f"{name} is a word of PromQL and no metric's name; record the series under another name")
        self._skip_space()
        matchers = self._matchers() if self._next("{") else ()
        self._skip_space()
        if self._at < len(self._text):
            raise self._error(
                'a plain selector ends here: no functions, ranges, offsets, @, "or" or operators. '
                'Write name{label="value"} alone, or use `query` for more'
            )
        return Selector(name, matchers)

    def _matchers(self) -> tuple[Matcher, ...]:
        matchers: list[Matcher] = []
        while True:
            self._skip_space()
            if self._next("}"):
                return tuple(matchers)
            matchers.append(self._matcher())
            self._skip_space()
            if not self._next(","):
                if self._next("}"):
                    return tuple(matchers)
                raise self._error('expected "," or "}" after a matcher')

    def _matcher(self) -> Matcher:
        label = self._take(_LABEL)
        if label is None:
            raise self._error("expected a label's name (quoted names are not supported)")
        self._skip_space()
        operator = self._take(_OPERATOR)
        if operator is None:
            raise self._error("expected one of = != =~ !~")
        self._skip_space()
        return Matcher(label, operator, self._string())

    def _string(self) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote not in ('"', "'"):
            raise self._error('expected a value in double quotes, such as "5.."')
        self._at += 1
        value: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == quote:
                return self._checked("".join(value))
            if character == "\n":
                raise self._error("a value must not contain a line break; write \\n")
            if character == "\\":
                escaped = self._text[self._at : self._at + 1]
                if escaped not in _ESCAPES or not escaped:
                    raise self._error("only \\\\ \\\" \\' \\n \\t \\r are known after a backslash; in a regular expression write \\\\")
                self._at += 1
                character = _ESCAPES[escaped]
            value.append(character)
        raise self._error("the value's closing quote is missing")

    def _checked(self, value: str) -> str:
        if any(0xD800 <= ord(character) <= 0xDFFF or (character < " " and character not in "\n\t\r") for character in value):
            raise self._error("a value must not contain control characters or lone surrogates")
        return value

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match.group()

    def _next(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _skip_space(self) -> None:
        self._take(_SPACE)

    def _error(self, message: str) -> SelectorError:
        return SelectorError(f"at character {self._at + 1}: {message}")
