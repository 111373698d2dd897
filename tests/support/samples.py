"""The one table of manifests: crds/samples. Each is tried on the models and on a real API server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SAMPLES = Path(__file__).resolve().parents[2] / "crds" / "samples"


class _Manifests(yaml.SafeLoader):
    """Reads YAML as kubectl does: a date is a string."""


_Manifests.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of manifests. Of an invalid one the last document must be refused with `expected`; those before it are created."""

    name: str
    documents: tuple[dict[str, Any], ...]
    expected: str = ""
    refused_by_models: bool = False


def read(path: Path) -> Sample:
    """Read one file with its `# expect:` and `# models:` lines."""
    text = path.read_text()
    notes = dict(line.removeprefix("# ").split(": ", 1) for line in text.splitlines()[:2] if line.startswith(("# expect: ", "# models: ")))
    documents = tuple(yaml.load(text, Loader=_Manifests) for text in text.split("\n---\n"))
    return Sample(path.stem, documents, notes.get("expect", ""), notes.get("models") == "refuse")


def samples(folder: str) -> list[Sample]:
    """Return the samples of `valid` or `invalid`, by name."""
    return [read(path) for path in sorted((SAMPLES / folder).glob("*.yaml"))]
