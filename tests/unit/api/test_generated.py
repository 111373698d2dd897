"""What hack/generate writes is committed as it would write it now."""

from pathlib import Path

import generate
import pytest


def test_generated_files_are_fresh() -> None:
    """Otherwise: run hack/generate and commit what it writes."""
    assert generate.stale_files() == []


def test_a_stale_file_is_named(tmp_path: Path) -> None:
    """In an empty repository everything is stale."""
    assert set(generate.stale_files(tmp_path)) == set(generate.generated_files())


@pytest.mark.parametrize(
    "path", [path for path in generate.generated_files() if path.parent.name == "crds" and path.suffix == ".yaml"], ids=str
)
def test_a_crd_fits_into_the_annotation_of_kubectl_apply(path: Path) -> None:
    """kubectl keeps the whole object in one annotation of at most 256 KiB."""
    assert len(generate.generated_files()[path].encode()) < 200_000
