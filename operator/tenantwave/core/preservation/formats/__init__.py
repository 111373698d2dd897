"""The formats that preservation reads: which one a key has, and how each is parsed. A new format is one parser and one line here."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tenantwave.core.preservation.formats import ini, json, properties, toml, yaml
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
    Format.TOML: Syntax(toml.parse_toml, toml.GAP),
    Format.INI: Syntax(ini.parse_ini, ini.GAP),
    Format.PROPERTIES: Syntax(properties.parse_properties, properties.GAP),
}

_BY_SUFFIX = {
    "yaml": Format.YAML,
    "yml": Format.YAML,
    "json": Format.JSON,
    "jsonc": Format.JSON,
    "toml": Format.TOML,
    "ini": Format.INI,
    "env": Format.INI,
    "properties": Format.PROPERTIES,
}
"""Not here, because many grammars share the suffix: `.conf` and `.cfg` (nginx, HAProxy, HOCON, Apache, INI); a rule can say Ini. And not
units of systemd: a repeated key is a list there and an empty one clears it, so a key's name alone does not say which setting it is."""


def format_of(key: str, stated: Format) -> Format:
    """Return how the key is read: as a rule states, else by its suffix, else as Text."""
    if stated is Format.AUTO:
        return _BY_SUFFIX.get(key.rpartition(".")[2].lower() if "." in key else "", Format.TEXT)
    return stated
