"""How the process starts where something is missing. On the fake API server, as a process of its own."""

from __future__ import annotations

import signal
from pathlib import Path

from support.fake_kube import FakeKube
from support.operators import an_operator
from tenantwave.api.kinds import GROUP, OWN_KINDS, VERSION

DISCOVERY = f"/apis/{GROUP}/{VERSION}"
PLURALS = [kind.plural for kind in OWN_KINDS]


async def test_missing_crds_are_named_in_one_line_and_end_it_with_code_1(fake: FakeKube, tmp_path: Path) -> None:
    fake.groups[DISCOVERY] = [plural for plural in PLURALS if plural not in ("tenantruns", "upgradeactions")]
    async with an_operator(fake.kubeconfig(tmp_path), "tenantwave-system", tmp_path) as operator:
        assert await operator.ends() == 1
        lines = [line for line in operator.log.splitlines() if "ERROR" in line]
    (line,) = lines
    assert "upgradeactions.tenantwave.io, tenantruns.tenantwave.io; apply the folder crds/" in line


async def test_missing_rights_are_named_and_it_is_alive_but_not_ready_until_they_are_granted(fake: FakeKube, tmp_path: Path) -> None:
    fake.groups[DISCOVERY] = PLURALS
    fake.denied = {("create", "leases"), ("watch", "namespaces")}
    async with an_operator(fake.kubeconfig(tmp_path), "tenantwave-system", tmp_path) as operator:
        await operator.says("these rights are missing")
        (line,) = [line for line in operator.log.splitlines() if "ERROR" in line]
        assert "create leases.coordination.k8s.io in tenantwave-system" in line
        assert "watch namespaces" in line
        assert (await operator.ask("/healthz"))[0] == 200
        code, text = await operator.ask("/readyz")
        assert code == 503
        assert "watch namespaces" in text
        fake.denied.clear()
        await operator.says("all caches are warm")
        assert (await operator.ask("/readyz"))[0] == 200
        operator.signal(signal.SIGTERM)
        assert await operator.ends() == 0


async def test_an_api_server_that_is_away_is_waited_for(fake: FakeKube, tmp_path: Path) -> None:
    kubeconfig = fake.kubeconfig(tmp_path)
    await fake.__aexit__(None, None, None)
    async with an_operator(kubeconfig, "tenantwave-system", tmp_path) as operator:
        await operator.says("asking again")
        assert (await operator.ask("/healthz"))[0] == 200
        assert (await operator.ask("/readyz"))[0] == 503
        operator.signal(signal.SIGTERM)
        assert await operator.ends() == 0
    await fake.__aenter__()


async def test_without_an_api_server_to_ask_it_says_how_to_name_one(tmp_path: Path) -> None:
    async with an_operator(tmp_path / "missing", "tenantwave-system", tmp_path) as operator:
        assert await operator.ends() == 1
        assert "missing cannot be used" in operator.log
        assert "Traceback" not in operator.log


async def test_a_port_that_is_taken_is_named(fake: FakeKube, tmp_path: Path) -> None:
    async with an_operator(fake.kubeconfig(tmp_path), "tenantwave-system", tmp_path, "--listen", f"127.0.0.1:{fake.port}") as operator:
        assert await operator.ends() == 1
        assert "choose another --listen" in operator.log
