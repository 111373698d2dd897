"""What preservation sees of a raw ConfigMap, its digests and its limits."""

import pytest

from tenantwave.core.preservation import (
    ConfigMapContent,
    body_of,
    changes,
    content_of,
    digest,
    matching_fields,
    same_configuration,
    touched_fields,
    values_digest,
    why_never_touched,
    why_too_large,
)

RAW = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "app-config",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {
            "app": "shop",
            "app.kubernetes.io/managed-by": "Helm",
            "kustomize.toolkit.fluxcd.io/name": "shop",
            "argocd.argoproj.io/instance": "shop",
            "tenantwave.io/version": "2.4.0",
        },
        "annotations": {
            "note": "mine",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "meta.helm.sh/release-name": "shop",
            "argocd.argoproj.io/tracking-id": "x",
            "tenantwave.io/intent": "u/1",
            "example.com/meta.helm.sh": "stays",
        },
    },
    "data": {"a": "1"},
    "binaryData": {"b": "AP8="},
    "immutable": False,
}


def test_what_belongs_to_other_tools_is_not_seen() -> None:
    """Labels and annotations of kubectl, Helm, Flux, Argo CD and ourselves are never merged."""
    assert content_of(RAW) == ConfigMapContent(
        data={"a": "1"},
        binary_data={"b": b"\x00\xff"},
        labels={"app": "shop"},
        annotations={"note": "mine", "example.com/meta.helm.sh": "stays"},
        immutable=False,
    )


def test_an_empty_config_map_has_an_empty_content() -> None:
    """Absent and null parts are empty."""
    assert content_of({"metadata": {"name": "x"}, "data": None}) == ConfigMapContent()


def test_a_value_that_is_no_base64_is_named() -> None:
    """The API server never stores one; a file given by hand might hold one."""
    with pytest.raises(ValueError, match=r'binaryData key "b" is no base64 .* write it as base64, or move the text to data'):
        content_of({"binaryData": {"b": "%"}})


def test_a_digest_is_stable() -> None:
    """Stored objects are named by it, so it must never change."""
    assert digest(ConfigMapContent({"a": "1"})) == "sha256:bb4ea10d0b7d33b84cbe8e872cf8c3d3b50e88d41eeb3f7874ed99a3cf3764e6"


def test_the_digest_of_values_is_what_pods_see() -> None:
    """Labels and the room do not count for pods; a byte does."""
    plain = ConfigMapContent({"a": "1"})
    moved = ConfigMapContent(binary_data={"a": b"1"}, labels={"x": "y"})
    assert values_digest(plain) == values_digest(moved)
    assert same_configuration(plain, moved)
    assert digest(plain) != digest(moved)
    assert values_digest(plain) != values_digest(ConfigMapContent({"a": "1\n"}))
    assert not same_configuration(plain, None)
    assert same_configuration(None, None)


def test_a_body_leaves_out_what_is_not_set() -> None:
    """A created object has no empty maps that a diff tool would show."""
    assert body_of(ConfigMapContent({"a": "1"}, labels={"x": "y"})) == {"metadata": {"labels": {"x": "y"}}, "data": {"a": "1"}}


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"name": "app-config"}, None),
        ({"name": "kube-root-ca.crt"}, "kube-root-ca.crt holds certificates that the cluster writes"),
        (
            {"name": "ca", "annotations": {"service.beta.openshift.io/inject-cabundle": "true"}},
            "ca holds certificates that the cluster writes",
        ),
        ({"name": "lock", "annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, "lock is the lock of a leader election"),
        (
            {"name": "x", "ownerReferences": [{"kind": "Kafka", "name": "main", "controller": True}]},
            "x is written by its controller, Kafka main",
        ),
        ({"name": "x", "ownerReferences": [{"kind": "Kafka", "name": "main"}]}, None),
    ],
)
def test_some_config_maps_are_never_touched(metadata: dict[str, object], why: str | None) -> None:
    """Even where a catalogue names them."""
    assert why_never_touched({"metadata": metadata}) == why


@pytest.mark.parametrize(
    ("content", "annotations", "expected"),
    [
        pytest.param(ConfigMapContent({"a": "x" * 1_048_576}), {}, None, id="values at the limit"),
        pytest.param(
            ConfigMapContent({"a": "x" * 1_048_576}, {"b": b"1"}),
            {},
            "app-config would hold 1048577 bytes in data and binaryData",
            id="beyond",
        ),
        pytest.param(ConfigMapContent({"a": "é" * 600_000}), {}, "would hold 1200000 bytes", id="bytes, not characters"),
        pytest.param(ConfigMapContent(annotations={"n": "x" * 262_059}), {}, None, id="annotations with room for the marker"),
        pytest.param(ConfigMapContent(annotations={"n": "x" * 262_130}), {}, "bytes of annotations with our marker", id="no room for it"),
        pytest.param(
            ConfigMapContent(annotations={"n": "x" * 200_000}),
            {"kubectl.kubernetes.io/last-applied-configuration": "y" * 100_000, "n": "old"},
            "bytes of annotations with our marker",
            id="what other tools keep there counts",
        ),
    ],
)
def test_sizes_are_known_before_a_write(content: ConfigMapContent, annotations: dict[str, str], expected: str | None) -> None:
    """P14: the API server's limits, in its own way of counting."""
    why = why_too_large("app-config", content, annotations)
    assert (why is None) if expected is None else (why is not None and expected in why)


BEFORE = ConfigMapContent({"a": "1", "gone": "x", "same": "s"}, labels={"l": "1"}, immutable=None)
AFTER = ConfigMapContent({"a": "2", "same": "s"}, {"new/key": b"\x00"}, labels={"l": "1", "m": "2"}, immutable=True)


def test_a_patch_holds_the_changed_keys_alone() -> None:
    """Null takes a key away; unchanged ones are not mentioned, so nobody else's write to them is undone."""
    assert changes(BEFORE, AFTER) == {
        "data": {"a": "2", "gone": None},
        "binaryData": {"new/key": "AA=="},
        "metadata": {"labels": {"m": "2"}},
        "immutable": True,
    }
    assert changes(AFTER, AFTER) == {}


def test_touched_fields_are_pointers() -> None:
    """What an intent records."""
    fields = touched_fields(BEFORE, AFTER)
    assert fields == ("/binaryData/new~1key", "/data/a", "/data/gone", "/immutable", "/metadata/labels/m")
    assert touched_fields(None, ConfigMapContent({"a": "1"})) == ("/data/a",)


def test_a_replaced_object_still_shows_that_our_write_had_landed() -> None:
    """Some fields equal ours although the marker is gone: the restart must not guess."""
    replaced = ConfigMapContent({"a": "2", "gone": "x"})
    assert matching_fields(replaced, AFTER, touched_fields(BEFORE, AFTER)) == ("/data/a",)
