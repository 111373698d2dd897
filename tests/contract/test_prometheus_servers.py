"""What a real Prometheus of either line answers when something is wrong, and how it is reached where it is locked."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from localcluster.certificates import make_certificates

from support.preloaded_prometheus import START, asking, is_left_open, preload, running, steady
from tenantwave.core.gates import Answer, FailureKind, QueryFailure, Rows, Source

TIMEOUT = timedelta(seconds=10)
NOW = START + timedelta(minutes=10)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a counter and a gauge of a hundred tenants."""
    names = ("requests_total", "lag")
    preload(tmp_path, {f'{name}{{namespace="tenant-{number}"}}': steady(0, 30, 100, 3) for name in names for number in range(100)})
    return tmp_path


async def asked(url: str, promql: str, secret: dict[str, bytes] | None = None) -> Answer:
    """Ask one question."""
    async with asking(secret) as metrics:
        return await metrics.query(Source(url, secret_name="prometheus-auth" if secret else None), promql, NOW, TIMEOUT)


async def test_what_a_server_says_when_a_query_is_too_large_or_wrong(prometheus_binary: Path, data: Path) -> None:
    """Its real words are those that the adapter knows."""
    with running(prometheus_binary, data, "--query.max-samples=50") as url:
        too_large = await asked(url, "sum by (namespace) (increase(requests_total[10m]))")
        fits = await asked(url, 'sum by (namespace) (increase(requests_total{namespace="tenant-1"}[10m]))')
        wrong = await asked(url, "sum by (namespace) (no_such_function(requests_total))")
        no_vector = await asked(url, 'requests_total{namespace="tenant-1"}[1m]')
        twice = await asked(url, '{namespace="tenant-1"} * on (namespace) {namespace="tenant-1"}')
    assert isinstance(fits, Rows)
    assert isinstance(too_large, QueryFailure)
    assert (too_large.kind, too_large.can_split) == (FailureKind.QUERY_INVALID, True)
    for answer in (wrong, no_vector, twice):
        assert isinstance(answer, QueryFailure), answer
        assert (answer.kind, answer.can_split) == (FailureKind.QUERY_INVALID, False), answer


async def test_advice_about_a_query_is_recorded_and_changes_nothing(prometheus_binary: Path, data: Path) -> None:
    """3.x says that a gauge may be no counter, and answers all the same; 2.x has nothing to say."""
    with running(prometheus_binary, data) as url:
        answer = await asked(url, "sum by (namespace) (rate(lag[5m]))")
    assert isinstance(answer, Rows), answer
    assert len(answer.rows) == 100
    assert bool(answer.warnings) == is_left_open(prometheus_binary)
    assert all(warning.startswith("PromQL info:") for warning in answer.warnings)


async def test_a_server_that_wants_certificates_is_reached_with_ours_and_not_without(
    prometheus_binary: Path, data: Path, tmp_path: Path
) -> None:
    """Mutual TLS as Prometheus does it. Without ours it says why it hangs up; without its root we do."""
    made = make_certificates(tmp_path / "made")
    config = data / "web.yml"
    config.write_text(
        f"tls_server_config: {{cert_file: {made.certificate('apiserver')}, key_file: {made.key('apiserver')}, "
        f"client_auth_type: RequireAndVerifyClientCert, client_ca_file: {made.certificate('ca')}}}"
    )
    tls = ssl.create_default_context(cafile=made.certificate("ca"))
    tls.load_cert_chain(made.certificate("admin"), made.key("admin"))
    root = {"ca.crt": made.certificate("ca").read_bytes()}
    ours = {"tls.crt": made.certificate("traffic").read_bytes(), "tls.key": made.key("traffic").read_bytes()}
    with running(prometheus_binary, data, f"--web.config.file={config}", tls=tls) as url:
        with_both = await asked(url, "lag", root | ours)
        without_ours = await asked(url, "lag", root)
        without_its = await asked(url, "lag", ours)
        in_the_clear = await asked(url.replace("https:", "http:"), "lag")
    assert isinstance(with_both, Rows), with_both
    assert isinstance(without_ours, QueryFailure)
    assert without_ours.kind is FailureKind.TLS_FAILED, without_ours
    assert "put it into tls.crt and tls.key of the Secret prometheus-auth" in without_ours.message
    assert isinstance(without_its, QueryFailure)
    assert (without_its.kind, "ca.crt of the Secret" in without_its.message) == (FailureKind.TLS_FAILED, True)
    assert isinstance(in_the_clear, QueryFailure)
    assert in_the_clear.kind is FailureKind.NOT_PROMETHEUS
