"""The models take every valid sample, and refuse of the invalid ones those whose fault one value shows."""

import pytest
from pydantic import ValidationError

from support.samples import Sample, samples
from tenantwave.api.definitions import DEFINITIONS

SPECS = {definition.kind.name: definition.spec for definition in DEFINITIONS}


@pytest.mark.parametrize("sample", samples("valid"), ids=lambda sample: sample.name)
def test_the_models_take_a_valid_manifest_and_write_it_back(sample: Sample) -> None:
    """Reading, writing and reading again gives the same value."""
    for document in sample.documents:
        model = SPECS[document["kind"]]
        read = model.model_validate(document["spec"])
        assert model.model_validate(read.document()) == read


@pytest.mark.parametrize("sample", samples("invalid"), ids=lambda sample: sample.name)
def test_the_models_agree_with_what_the_sample_says_of_them(sample: Sample) -> None:
    """A fault inside one value is seen by the models, too; what spans fields is the API server's (CEL)."""
    document = sample.documents[-1]
    model = SPECS[document["kind"]]
    assert sample.expected
    if sample.refused_by_models:
        with pytest.raises(ValidationError):
            model.model_validate(document["spec"])
    else:
        model.model_validate(document["spec"])


def test_every_kind_has_a_valid_sample() -> None:
    """Nobody has to guess what a manifest of a kind looks like."""
    assert {document["kind"] for sample in samples("valid") for document in sample.documents} == set(SPECS)
