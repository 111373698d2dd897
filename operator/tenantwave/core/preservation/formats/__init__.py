"""The formats that preservation reads: which one a key has, and how each is parsed. A new format is one parser and one line here."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tenantwave.core.preservation.formats import json, properties, yaml
from tenantwave.core.preservation.rules import Format
from tenantwave.core.preservation.tree import Node


@dataclass(frozen=True, slots=True)
class Syntax:
    """How to read a format: `parse` (raises UnparsableError), and what may stand between two entries in brackets."""

    parse: Callable[[str], Node]
    gap: re.Pattern[str]


SYNTAXES = {
    Format.YAML: Syntax(yaml.parse_yaml, yaml.GAP),
    Format.JSON: Syntax(json.parse_json, json.GAP),
    Format.PROPERTIES: Syntax(properties.parse_properties, properties.GAP),
}
"""Toml and Ini have no line yet, so Auto reads them as Text; api refuses them by name."""

_BY_SUFFIX = {
    "yaml": Format.YAML,
    "yml": Format.YAML,
    "json": Format.JSON,
    "jsonc": Format.JSON,
    "properties": Format.PROPERTIES,
}


def format_of(key: str, stated: Format) -> Format:
    """Return how the key is read: as a rule states, else by its suffix, else as Text."""
    if stated is Format.AUTO:
        return _BY_SUFFIX.get(key.rpartition(".")[2].lower() if "." in key else "", Format.TEXT)
    return stated
