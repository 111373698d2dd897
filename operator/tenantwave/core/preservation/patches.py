"""What to send for a merged ConfigMap, and how to find one's own write again after a restart."""

from collections.abc import Iterable, Mapping

from tenantwave.core.preservation.content import ConfigMapContent, encoded

_Field = str | bool | None


def changes(before: ConfigMapContent, after: ConfigMapContent) -> dict[str, object]:
    """Return the JSON merge patch (RFC 7396) from `before` to `after`: only changed keys, null for a removed one, {} for none.

    It touches `data`, `binaryData`, `metadata.labels`, `metadata.annotations` and `immutable` and nothing else, so what is never
    merged stays as it is. The caller adds `metadata.resourceVersion` and the marker.
    """
    changed = _changed(before, after)

    def part(section: str) -> dict[str, dict[str, _Field]]:
        values = {key: value for name, key, value in changed if name == section}
        return {section: values} if values else {}

    metadata = part("labels") | part("annotations")
    immutable = {name: value for name, _, value in changed if name == "immutable"}
    return {**part("data"), **part("binaryData"), **({"metadata": metadata} if metadata else {}), **immutable}


def touched_fields(before: ConfigMapContent | None, after: ConfigMapContent | None) -> tuple[str, ...]:
    """Return the fields that a write from `before` to `after` sets, as JSON Pointers, sorted: what an intent records as `fields`."""
    return tuple(sorted(_pointer(section, key) for section, key, _ in _changed(before or ConfigMapContent(), after or ConfigMapContent())))


def field_values(content: ConfigMapContent | None) -> Mapping[str, str | bool | None]:
    """Return what stands in each field that there is, by the same JSON Pointers; bytes in base64."""
    return _by_pointer(content or ConfigMapContent())


def matching_fields(content: ConfigMapContent, after: ConfigMapContent, fields: Iterable[str]) -> tuple[str, ...]:
    """Return those of `fields` (see `touched_fields`) in which `content` equals `after`; a field that both lack is equal.

    A restart that finds no marker asks this: none equal means that the write did not land; one equal means that somebody replaced the
    object after it had landed (`Ambiguous`).
    """
    seen, wanted = _by_pointer(content), _by_pointer(after)
    return tuple(name for name in fields if seen.get(name) == wanted.get(name))


def matches(content: ConfigMapContent, after: ConfigMapContent, fields: Iterable[str]) -> bool:
    """Tell whether `content` equals `after` in every one of `fields`: the check of a reply, and of a rollback."""
    asked = tuple(fields)
    return matching_fields(content, after, asked) == asked


def _sections(content: ConfigMapContent) -> dict[str, Mapping[str, _Field]]:
    return {
        "data": content.data,
        "binaryData": {key: encoded(value) for key, value in content.binary_data.items()},
        "labels": content.labels,
        "annotations": content.annotations,
        "immutable": {} if content.immutable is None else {"": content.immutable},
    }


def _changed(before: ConfigMapContent, after: ConfigMapContent) -> list[tuple[str, str, _Field]]:
    """Return (section, key, new value or None) of everything that differs, in a fixed order."""
    old, new = _sections(before), _sections(after)
    return [
        (section, key, new[section].get(key))
        for section in old
        for key in sorted(old[section].keys() | new[section].keys())
        if old[section].get(key) != new[section].get(key)
    ]


def _by_pointer(content: ConfigMapContent) -> dict[str, _Field]:
    return {_pointer(section, key): value for section, part in _sections(content).items() for key, value in part.items()}


def _pointer(section: str, key: str) -> str:
    if section == "immutable":
        return "/immutable"
    parent = f"/metadata/{section}" if section in ("labels", "annotations") else f"/{section}"
    return f"{parent}/{key.replace('~', '~0').replace('/', '~1')}"
