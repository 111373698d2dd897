"""Credentials come from where kubectl takes them, and follow the files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tenantwave.adapters.kube.access import Access, AccessError


def a_kubeconfig(folder: Path, user: dict[str, object], server: str = "http://127.0.0.1:1", **cluster: object) -> Path:
    path = folder / "kubeconfig"
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "me", "user": user}],
    }
    path.write_text(json.dumps(config))
    return path


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-token\n")
    access = await Access.load(str(a_kubeconfig(tmp_path, {"tokenFile": str(token)})))
    assert access.headers == {"Authorization": "Bearer first-token"}
    token.write_text("second-token\n")
    await access.refresh()
    assert access.headers == {"Authorization": "Bearer second-token"}


async def test_many_refusals_of_the_same_credentials_cause_one_reading(tmp_path: Path) -> None:
    access = await Access.load(str(a_kubeconfig(tmp_path, {"token": "a-token"})))
    generation = access.generation
    for _ in range(5):
        await access.refresh(after_generation=generation)
    assert access.generation == generation + 1


async def test_a_plugin_is_run_once_and_again_after_a_refusal(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    program = tmp_path / "plugin.py"
    program.write_text(
        f"import json, pathlib\nruns = pathlib.Path({str(runs)!r})\n"
        "count = len(runs.read_text()) + 1 if runs.exists() else 1\nruns.write_text('.' * count)\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': {'token': f'token-{count}'}}))\n"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(program)],
        "interactiveMode": "Never",
    }
    access = await Access.load(str(a_kubeconfig(tmp_path, {"exec": plugin})))
    assert access.headers == {"Authorization": "Bearer token-1"}
    await access.refresh(after_generation=access.generation)
    assert access.headers == {"Authorization": "Bearer token-2"}


async def test_a_file_that_breaks_later_leaves_the_present_credentials_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = a_kubeconfig(tmp_path, {"token": "a-token"})
    access = await Access.load(str(path))
    path.write_text("not: [yaml")
    await access.refresh()
    assert access.headers == {"Authorization": "Bearer a-token"}
    assert "the present ones stay in use" in caplog.text


async def test_kubeconfig_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path, {"token": "a-token"})))
    assert (await Access.load()).server == "http://127.0.0.1:1"


async def test_outside_of_a_cluster_without_a_file_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AccessError, match="pass --kubeconfig FILE, set KUBECONFIG, or run in a pod"):
        await Access.load()


@pytest.mark.parametrize(
    ("no_proxy", "proxy"),
    [("", "http://proxy.example:3128"), ("api.example", None), ("other.example", "http://proxy.example:3128")],
    ids=["proxy", "excepted", "something else excepted"],
)
async def test_the_proxy_of_the_environment_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxy: str | None
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    path = a_kubeconfig(tmp_path, {"token": "a-token"}, server="https://api.example:6443", **{"insecure-skip-tls-verify": True})
    assert (await Access.load(str(path))).proxy == proxy
