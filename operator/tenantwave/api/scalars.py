"""Scalars of the contract: durations, shares, instants, names. Each knows its text form, its Python value and its schema."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

DURATION_PATTERN = r"^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
PERCENT_PATTERN = r"^(100|[1-9]?[0-9])%$"
SHARE_PATTERN = r"^([0-9]{1,15}(\.[0-9]{1,9})?|(100|[1-9]?[0-9])(\.[0-9]{1,9})?%)$"
DECIMAL_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?$"
LABEL_VALUE_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
TEMPLATE_NAME_PATTERN = r"^([a-z0-9.-]|\{tenant\}|\{version\})+$"
POINTER_PATTERN = r"^(/([^~/]|~[01])*)+$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
DATE_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
MONTH_DAY_PATTERN = r"^(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])$|^(0[469]|11)-(0[1-9]|[12][0-9]|30)$|^02-(0[1-9]|1[0-9]|2[0-9])$"
TIME_OF_DAY_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

_DURATION = re.compile(DURATION_PATTERN)
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


def one_line(text: str) -> str:
    """Return what a person wrote as one line without anything that a terminal would obey: it goes into messages, Events and the log."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `30s`, `1h30m` or `7d`. Raises ValueError, with the mend, for anything else."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'"{text}" is no duration: write it like 30s, 10m, 1h30m or 7d (days, hours, minutes, seconds, in this order)')
    numbers = (int(group[:-1]) if group else 0 for group in match.groups())
    return sum((number * unit for number, (_, unit) in zip(numbers, _UNITS, strict=True)), timedelta())


def format_duration(value: timedelta) -> str:
    """Write a duration in the shortest form that `parse_duration` reads back; whole seconds, the rest is cut off."""
    left = int(value.total_seconds())
    if left < 0:
        raise ValueError(f"a duration of the contract is never negative: {value}")
    parts = []
    for letter, unit in _UNITS:
        number, left = divmod(left, int(unit.total_seconds()))
        if number:
            parts.append(f"{number}{letter}")
    return "".join(parts) or "0s"


def _duration_of(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"{value!r} is no duration: write it as a string like 30s, 10m, 1h30m or 7d")


_CEL_SECONDS = (
    "(self.contains('d') ? int(self.find('^[0-9]+')) : 0) * 86400"
    " + (self.matches(r'[hms]$') ? duration(self.find('([0-9]+[hms])+$')).getSeconds() : 0)"
)
"""CEL for a duration's length in seconds. CEL's own reader knows no days. Cheap by the API server's estimate, which `split` is not."""

_DURATION_RULE = {
    "rule": f"self.matches(r'{DURATION_PATTERN}')",
    "message": "must be a duration such as 30s, 10m, 1h30m or 7d (days, hours, minutes, seconds, in this order)",
}


def _duration_schema(*rules: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "string",
        "minLength": 2,
        "maxLength": 28,
        "pattern": DURATION_PATTERN,
        "x-kubernetes-validations": [_DURATION_RULE, *rules],
    }


_ABOVE_ZERO = {"rule": "self.matches(r'[1-9]')", "message": "must be longer than 0s, for example 30s"}
_WINDOW_LENGTH = {
    "rule": f"!self.matches(r'{DURATION_PATTERN}') || (self.matches(r'[1-9]') && {_CEL_SECONDS} <= 604800)",
    "message": "must be above 0s and at most 7d; for longer times use several windows",
}


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("must be longer than 0s, for example 30s")
    return value


def _window_length(value: timedelta) -> timedelta:
    if not timedelta() < value <= timedelta(days=7):
        raise ValueError("must be above 0s and at most 7d; for longer times use several windows")
    return value


_as_text = PlainSerializer(format_duration, return_type=str)
Duration = Annotated[timedelta, BeforeValidator(_duration_of), _as_text, WithJsonSchema(_duration_schema())]
"""A length of time, Prometheus style: `30s`, `10m`, `1h30m`, `7d`. Zero is allowed."""

PositiveDuration = Annotated[
    timedelta,
    BeforeValidator(_duration_of),
    AfterValidator(_positive),
    _as_text,
    WithJsonSchema(_duration_schema(_ABOVE_ZERO)),
]
"""A length of time above zero."""

WindowDuration = Annotated[
    timedelta,
    BeforeValidator(_duration_of),
    AfterValidator(_window_length),
    _as_text,
    WithJsonSchema(_duration_schema(_WINDOW_LENGTH)),
]
"""How long a window stays open: elapsed time, above zero, at most seven days."""


@dataclass(frozen=True, slots=True)
class IntOrPercent:
    """A number of tenants (`5`) or a share of them (`"10%"`)."""

    number: int
    is_percent: bool = False

    @classmethod
    def parse(cls, value: object) -> "IntOrPercent":
        """Read `5` or `"10%"`. Raises ValueError, with the mend, for anything else."""
        if isinstance(value, IntOrPercent):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        if isinstance(value, str) and re.fullmatch(PERCENT_PATTERN, value):
            return cls(int(value[:-1]), is_percent=True)
        raise ValueError(
            f'{value!r} is neither a number nor a percentage: write a whole number like 5, or a percentage from "0%" to "100%"'
        )

    def of(self, total: int, up: bool = False, floor: int = 0) -> int:
        """Return how many of `total` tenants this is: a share is rounded down (or `up`), and never below `floor`."""
        if not self.is_percent:
            return max(floor, self.number)
        whole, rest = divmod(total * self.number, 100)
        return max(floor, whole + (1 if up and rest else 0))

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percent else str(self.number)

    def wire(self) -> int | str:
        """Return the value as it stands in a manifest."""
        return f"{self.number}%" if self.is_percent else self.number

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read and write it by the two functions above."""
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.wire()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Describe it as the API server's int-or-string, with a sentence for what is neither."""
        return {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": 1_000_000,
            "maxLength": 4,
            "pattern": PERCENT_PATTERN,
            "x-kubernetes-validations": [
                {
                    "rule": f"type(self) == int || self.matches(r'{PERCENT_PATTERN}')",
                    "message": 'must be a whole number like 5, or a percentage from "0%" to "100%"',
                }
            ],
        }


@dataclass(frozen=True, slots=True)
class _AlsoHolds:
    """One more CEL rule for a scalar that has rules of its own."""

    expression: str
    message: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described: JsonSchemaValue = handler(schema)
        rules = described.get("x-kubernetes-validations", [])
        return {**described, "x-kubernetes-validations": [*rules, {"rule": self.expression, "message": self.message}]}


def _at_least_one(value: IntOrPercent) -> IntOrPercent:
    if not value.is_percent and value.number < 1:
        raise ValueError("must be at least 1, or a percentage")
    return value


TenantCount = Annotated[
    IntOrPercent,
    AfterValidator(_at_least_one),
    _AlsoHolds("type(self) == string || self >= 1", "must be at least 1, or a percentage"),
]
"""A number of tenants that is never zero, or a share of them."""


def parse_share(value: object) -> Decimal:
    """Read a limit of a gate exactly: an integer, a decimal string (`"0.05"`) or a percentage (`5%`). Raises ValueError with the mend."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        return Decimal(value[:-1]) / 100 if value.endswith("%") else Decimal(value)
    raise ValueError(f'{value!r} is no limit: write a whole number like 2, a decimal as a string like "0.05", or a percentage like 5%')


def format_decimal(value: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


Share = Annotated[
    Decimal,
    BeforeValidator(parse_share),
    PlainSerializer(format_decimal, return_type=str),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maxLength": 26,
            "pattern": SHARE_PATTERN,
            "x-kubernetes-validations": [
                {
                    "rule": f"type(self) == int || self.matches(r'{SHARE_PATTERN}')",
                    "message": 'must be a whole number like 2, a decimal as a string like "0.05", or a percentage like 5%',
                }
            ],
        }
    ),
]
"""A limit of a gate: exact, never a float."""


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""People write 9999-12-31 for "never". What lies outside means the nearer end, so that any sum of an instant and a duration stays in the calendar."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must carry a zone: write an instant like 2026-12-20T00:00:00Z")
    try:
        return min(max(value.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:  # an offset that leads out of the calendar
        return EARLIEST if value.year == 1 else LATEST


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 35}),
]
"""A point in time; aware, UTC in Python, RFC 3339 on the wire; from 1970 to 2999, what lies outside means the nearer end."""

JsonObject = Annotated[dict[str, JsonValue], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""A free-form object that belongs to somebody else's schema (Helm values, a Job template)."""

JsonAnything = Annotated[JsonValue, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""A free-form value of somebody else's schema."""


_DNS_LABEL = "must be lower-case letters, digits and dashes, with a letter or digit at both ends, such as canary-1"
_DNS_NAME = "must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends, such as standard"
_TEMPLATE = "must be a name of lower-case letters, digits, dashes and dots; of braces only {tenant} and {version} are known"
_LABEL_VALUE = (
    "must be a label value: at most 63 letters, digits, dashes, underscores and dots, with a letter or digit at both ends, such as 2.4.0"
)


def bounded_text(limit: int, pattern: str, message: str) -> tuple[StringConstraints, WithJsonSchema]:
    """Return what checks a text in Python and what describes it to the API server, with a sentence for one that does not fit."""
    schema = {
        "type": "string",
        "minLength": 1,
        "maxLength": limit,
        "pattern": pattern,
        "x-kubernetes-validations": [{"rule": f"self.matches(r'{pattern}')", "message": message}],
    }
    return StringConstraints(min_length=1, max_length=limit, pattern=pattern), WithJsonSchema(schema)


Name = Annotated[str, *bounded_text(63, NAME_PATTERN, _DNS_LABEL)]
"""A name of ours inside an object (wave, gate, component, window): a DNS label."""
ShortName = Annotated[str, *bounded_text(40, NAME_PATTERN, _DNS_LABEL)]
"""A name that becomes part of a label value: a DNS label of at most 40 characters."""
ObjectName = Annotated[str, *bounded_text(253, OBJECT_NAME_PATTERN, _DNS_NAME)]
"""The name of a Kubernetes object."""
TemplateName = Annotated[str, *bounded_text(253, TEMPLATE_NAME_PATTERN, _TEMPLATE)]
"""The name of a Kubernetes object, in which `{tenant}` and `{version}` are replaced."""
LabelValue = Annotated[str, *bounded_text(63, LABEL_VALUE_PATTERN, _LABEL_VALUE)]
"""A text that is valid as the value of a label."""
Digest = Annotated[str, *bounded_text(71, DIGEST_PATTERN, "must be a digest such as sha256: and 64 hexadecimal digits")]
"""A content digest."""
Pointer = Annotated[
    str, *bounded_text(512, POINTER_PATTERN, "must be a JSON pointer such as /spec/version; `/` in a name is written ~1, `~` is ~0")
]
"""A place in a document: a JSON pointer (RFC 6901), never the whole document."""
SeriesLabel = Annotated[
    str,
    *bounded_text(
        128, r"^[a-zA-Z_][a-zA-Z0-9_]*$", "must be a label name of Prometheus: letters, digits and underscores, such as namespace"
    ),
]
"""The name of a label of a series."""
ZoneName = Annotated[str, *bounded_text(64, r"^[A-Za-z][A-Za-z0-9_+/-]*$", "must be an IANA time zone such as Europe/Berlin, or UTC")]
"""An IANA zone's name; only the operator can tell whether it exists."""
Sentence = Annotated[str, StringConstraints(max_length=1024)]
"""A sentence for people."""
