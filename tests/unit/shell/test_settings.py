"""The flags of the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenantwave.shell.settings import Settings, Tuning, parse

PLAIN = ["--namespace", "tenantwave-system"]


def test_the_defaults_are_those_of_the_contract() -> None:
    assert parse(PLAIN, {}) == Settings("tenantwave-system", "", "", 8080, "text", "INFO", True, Tuning())


def test_every_flag_arrives() -> None:
    flags = ["--kubeconfig", "k", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--no-leader-election"]
    assert parse(PLAIN + flags, {}) == Settings("tenantwave-system", "k", "127.0.0.1", 0, "json", "DEBUG", False, Tuning())


def test_tuning_comes_from_the_environment() -> None:
    tuning = parse(PLAIN, {"TENANTWAVE_WRITES_PER_SECOND": "2000", "TENANTWAVE_LEASE_DURATION": "5", "TENANTWAVE_WORKER_COUNT": "4"}).tuning
    assert (tuning.writes_per_second, tuning.lease_duration, tuning.worker_count) == (2000.0, timedelta(seconds=5), 4)


@pytest.mark.parametrize(
    ("flags", "environment", "sentence"),
    [
        ([], {}, "--namespace"),
        ([*PLAIN, "--listen", "8080"], {}, "no HOST:PORT"),
        ([*PLAIN, "--listen", ":99999"], {}, "no HOST:PORT"),
        ([*PLAIN, "--log-level", "loud"], {}, "invalid choice"),
        (PLAIN, {"TENANTWAVE_RESYNC": "soon"}, "TENANTWAVE_RESYNC='soon' is no number above 0"),
        (PLAIN, {"TENANTWAVE_RESYNC": "-1"}, "is no number above 0"),
    ],
    ids=["no namespace", "no colon", "port too large", "unknown level", "tuning no number", "tuning negative"],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(
    flags: list[str], environment: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(flags, environment)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
