"""Which ConfigMaps a pod template names, and the patch that has it name others: volumes, projected volumes, envFrom and env."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tenantwave.core.ownership import escaped

CONTAINER_LISTS = ("containers", "initContainers")

PodSpec = Mapping[str, Any]


def references_in(spec: PodSpec) -> set[str]:
    """Return the ConfigMaps that a pod spec names."""
    return {_name(reference) for _, reference in _places(spec)} - {""}


def needed_in(spec: PodSpec) -> set[str]:
    """Return the ConfigMaps without which its pods do not start: those that it names otherwise than as `optional`."""
    return {_name(reference) for _, reference in _places(spec) if not reference.get("optional")} - {""}


def places_of(spec: PodSpec, names: Collection[str]) -> tuple[str, ...]:
    """Return where a pod spec has one of these names, as JSON Pointers below it: for looking up who manages these fields."""
    return tuple(sorted({place for place, reference in _places(spec) if _name(reference) in names}))


def repointed(spec: PodSpec, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the strategic merge patch of a pod spec that puts other names in the place of these (old -> new), and nothing else.

    Volumes, containers and env merge by name; the sources of a projected volume and envFrom do not, so these lists are sent whole.
    """
    patch: dict[str, Any] = {}
    if volumes := [changed for volume in spec.get("volumes") or () if (changed := _volume(volume, names))]:
        patch["volumes"] = volumes
    for key in CONTAINER_LISTS:
        if containers := [changed for one in spec.get(key) or () if (changed := _container(one, names))]:
            patch[key] = containers
    return patch


def _places(spec: PodSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each reference to a ConfigMap with where its name stands."""
    for volume in spec.get("volumes") or ():
        place = f"/volumes/{escaped(str(volume.get('name')))}"
        if volume.get("configMap"):
            yield f"{place}/configMap/name", volume["configMap"]
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("configMap"):
                yield f"{place}/projected/sources", source["configMap"]
    for key in CONTAINER_LISTS:
        for container in spec.get(key) or ():
            place = f"/{key}/{escaped(str(container.get('name')))}"
            for one in container.get("envFrom") or ():
                if one.get("configMapRef"):
                    yield f"{place}/envFrom", one["configMapRef"]
            for one in container.get("env") or ():
                if reference := (one.get("valueFrom") or {}).get("configMapKeyRef"):
                    yield f"{place}/env/{escaped(str(one.get('name')))}/valueFrom/configMapKeyRef/name", reference


def _volume(volume: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if name := _new_name(volume.get("configMap"), names):
        changed["configMap"] = {"name": name}
    sources = (volume.get("projected") or {}).get("sources") or ()
    if any(_new_name(source.get("configMap"), names) for source in sources):
        changed["projected"] = {"sources": [_renamed(source, "configMap", names) for source in sources]}
    return {"name": volume["name"]} | changed if changed else {}


def _container(container: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    env_from = container.get("envFrom") or ()
    if any(_new_name(one.get("configMapRef"), names) for one in env_from):
        changed["envFrom"] = [_renamed(one, "configMapRef", names) for one in env_from]
    env = [
        {"name": one["name"], "valueFrom": {"configMapKeyRef": {"name": name}}}
        for one in container.get("env") or ()
        if (name := _new_name((one.get("valueFrom") or {}).get("configMapKeyRef"), names))
    ]
    if env:
        changed["env"] = env
    return {"name": container["name"]} | changed if changed else {}


def _renamed(holder: Mapping[str, Any], key: str, names: Mapping[str, str]) -> dict[str, Any]:
    name = _new_name(holder.get(key), names)
    return {**holder, key: {**holder[key], "name": name}} if name else dict(holder)


def _new_name(reference: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    """Return by which other name a reference is to go; '' where it stays."""
    name = _name(reference) if reference else ""
    return names.get(name, "") if names.get(name) != name else ""


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference.get("name", ""))
