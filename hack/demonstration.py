"""The demo: what tenantwave does, on a real API server and a real Prometheus, in under three minutes.

Adopt 2.3.1, upgrade twelve tenants to 2.4.0 in three waves, then try 2.5.0, which becomes Ready and answers errors: its gate fails and the wave is
taken back, with everything that the tenants had changed themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from localcluster.access import RequestError
from localcluster.binaries import resolve
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster
from localcluster.monitoring import Monitoring

ROOT = Path(__file__).resolve().parents[1]
SYSTEM = "tenantwave-system"
GROUP = "tenantwave.io/v1alpha1"
IMAGE = "registry.example.com/shop/api"
HELM_FOLDERS = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "KUBECACHEDIR")
"""What helm keeps. It shares the last with kubectl, which would take over that the cluster does not serve our resources: so it was before."""

TENANTS: Mapping[str, str] = {
    "acme": "canary", "bolt": "canary",
    "corgi": "friendly", "delta": "friendly", "ember": "friendly",
    "fjord": "", "gusto": "", "haven": "", "iris": "", "jolt": "", "kiosk": "", "lumen": "",
}  # fmt: skip
OWN_EDITS: Mapping[str, Mapping[str, str]] = {
    "acme": {"page.title": "Acme Shop"},
    "delta": {"page.size": "50"},
    "kiosk": {"page.title": "Kiosk", "feature.coupons": "off"},
}

Object = dict[str, Any]


def properties(**changes: str) -> str:
    """Return the configuration of a version, as the catalogue has it."""
    lines = {"page.title": "Shop", "page.size": "20", "db.pool": "10", **{key.replace("_", "."): value for key, value in changes.items()}}
    return "# Settings of the shop\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


PRISTINE: Mapping[str, str] = {
    "2.3.1": properties(),
    "2.4.0": properties(db_pool="20", cache="on"),
    "2.5.0": properties(db_pool="40", cache="on", search="beta"),
}


def say(line: str = "") -> None:
    """Print a line at once."""
    print(line, flush=True)


def headline(text: str) -> None:
    """Print what comes next."""
    say(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


# What is applied.


def tenant_objects(name: str, ring: str) -> Iterator[Object]:
    """Return a tenant: its namespace, its configuration with its own edits, its workload."""
    labels = {"tenantwave.io/product-shop": "true"} | ({"tenantwave.io/ring": ring} if ring else {})
    text = PRISTINE["2.3.1"]
    for key, value in OWN_EDITS.get(name, {}).items():
        known = [line for line in text.splitlines() if line.startswith(f"{key}=")]
        text = text.replace(known[0], f"{key}={value}") if known else f"{text}{key}={value}\n"
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shop-config", "namespace": name},
        "data": {"shop.properties": text},
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "api", "image": f"{IMAGE}:2.3.1", "envFrom": [{"configMapRef": {"name": "shop-config"}}]}],
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": pod},
        },
    }


def catalogue_entry(version: str) -> Object:
    """Return the pristine configuration of a version."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"shop-{version}-config",
            "namespace": SYSTEM,
            "labels": {"tenantwave.io/product": "shop", "tenantwave.io/version": version},
            "annotations": {"tenantwave.io/target": "shop-config"},
        },
        "data": {"shop.properties": PRISTINE[version]},
    }


def policy(prometheus: str) -> Object:
    """Return how to roll out: three waves, one gate on errors and one on latency, short times."""
    return {
        "apiVersion": GROUP,
        "kind": "RolloutPolicy",
        "metadata": {"name": "demo"},
        "spec": {
            "waves": [
                {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": 2, "soak": "10s"},
                {"name": "friendly", "selector": {"matchLabels": {"tenantwave.io/ring": "friendly"}}, "maxParallel": 3, "soak": "8s"},
                {"name": "rest", "maxParallel": 7, "soak": "8s"},
            ],
            "prometheus": {"url": prometheus},
            "gates": [
                {"name": "errors", "ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"},
                {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "above": "0.5"}, "max": "5%"},
            ],
            "evaluation": {"interval": "1s", "warmUp": "1s"},
            "maintenance": {"whenNoWindow": "Open"},
            "onFailure": {"wave": "RollbackWave"},
        },
    }


def upgrade(version: str, image: str, **spec: Any) -> Object:
    """Return what to roll out."""
    return {
        "apiVersion": GROUP,
        "kind": "TenantUpgrade",
        "metadata": {"name": f"shop-{version.replace('.', '-')}"},
        "spec": {
            "policyRef": {"name": "demo"},
            "tenantSelector": {"matchLabels": {"tenantwave.io/product-shop": "true"}},
            "release": {"product": "shop", "version": version},
            "components": [
                {"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": image}]}}
            ],
        }
        | spec,
    }


# What is shown.


def condition(body: Object, kind: str) -> Object:
    """Return a condition, or {}."""
    return next((dict(one) for one in (body.get("status") or {}).get("conditions", []) if one["type"] == kind), {})


def table(body: Object, runs: Sequence[Object], started: float) -> list[str]:
    """Return waves, gate values, tenants and reasons as lines."""
    status, ready = body.get("status") or {}, condition(body, "Ready")
    stands = f"{ready['reason']}: {ready['message']}" if ready else "just applied; the operator has not seen it yet"
    lines = [f"{body['metadata']['name']}  {int(time.monotonic() - started):3d} s  {stands}"]
    states = {run["metadata"]["labels"].get("tenantwave.io/tenant"): run.get("status") or {} for run in runs}
    for wave in status.get("waves", []):
        gate = wave.get("gate") or {}
        values = ", ".join(
            f"{metric['name']} {100 * float(metric['value']):.2f}% of {float(metric['total']):.0f} (limit {100 * float(metric['limit']):.0f}%)"
            for metric in gate.get("metrics", [])
            if metric.get("value") is not None and metric.get("total") is not None
        )
        verdict = gate["verdict"] + (f": {values}" if values else "") if gate else ""
        lines.append(f"  {wave['name']:<9} {wave['state']:<12} {wave['succeeded']}/{wave['total']} done  {verdict}")
        members = [name for name, run in states.items() if run.get("wave") == wave["name"]]
        shown = [
            f"{name} {states[name].get('state', '')}" + (f" ({states[name]['reason']})" if told(states[name]) else "")
            for name in sorted(members)
        ]
        lines += ["            " + "  ".join(shown[start : start + 4]) for start in range(0, len(shown), 4)]
    return [line[: _columns()] for line in lines]


def told(run: Object) -> bool:
    """Tell whether the reason of a tenant's state says more than the state."""
    return run.get("state") in ("Waiting", "Held", "RollingBack", "RolledBack", "RollbackFailed", "Skipped") and bool(run.get("reason"))


def _columns() -> int:
    return os.get_terminal_size().columns if sys.stdout.isatty() else 200


async def watch(kube: KubeClient, name: str, *reasons: str, timeout: float = 120) -> Object:
    """Show the table until Ready has one of these reasons. Without a terminal only what changes is printed."""
    started, drawn, before = time.monotonic(), 0, ""
    while True:
        body = await kube.get(f"{GROUP}/TenantUpgrade", name)
        runs = await kube.list(f"{GROUP}/TenantRun", SYSTEM, labels=f"tenantwave.io/upgrade={name}")
        lines = table(body, runs, started)
        if sys.stdout.isatty():
            say((f"\033[{drawn}A" if drawn else "") + "\n".join(f"\033[2K{line}" for line in lines) + "\033[J")
            drawn = len(lines)
        elif (shown := json.dumps([line.split(" s  ", 1)[-1] for line in lines])) != before:
            say("\n".join(lines))
            before = shown
        if condition(body, "Ready").get("reason") in reasons:
            return body
        if time.monotonic() - started > timeout:
            raise TimeoutError(f"{name} did not become {' or '.join(reasons)} within {timeout:.0f} s; the last table is above")
        await asyncio.sleep(0.5)


async def proof(kube: KubeClient) -> dict[str, tuple[str, str]]:
    """Return tenant -> (version that its Deployment runs, digest of its configuration)."""
    found = {}
    for name in TENANTS:
        deployment = await kube.get("apps/v1/Deployment", "api", name)
        data = (await kube.get("ConfigMap", "shop-config", name))["data"]["shop.properties"]
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        found[name] = (image.rsplit(":", 1)[1], hashlib.sha256(data.encode()).hexdigest()[:12])
    return found


# The story.


async def tell(kube: KubeClient, monitoring: Monitoring) -> int:
    """Tell the story. Returns the exit code: 0 if everything was as it should be."""
    headline("Twelve tenants run shop 2.3.1; acme, delta and kiosk have changed their configuration")
    for name, ring in TENANTS.items():
        for body in tenant_objects(name, ring):
            await kube.apply(body)
    for version in PRISTINE:
        await kube.apply(catalogue_entry(version))
    await kube.apply(policy(monitoring.url))
    for name in TENANTS:
        await kube.wait_until("apps/v1/Deployment", "api", name, lambda body: body.get("status", {}).get("readyReplicas") == 1, timeout=60)

    headline("Adopt what runs: an upgrade with `suspend: true` records 2.3.1 and writes nothing to any tenant")
    await kube.apply(upgrade("2.3.1", f"{IMAGE}:2.3.1", suspend=True))
    await watch(kube, "shop-2-3-1", "Succeeded")

    headline("Upgrade to 2.4.0: canary, friendly, rest; each wave must stay healthy on Prometheus evidence")
    await kube.apply(upgrade("2.4.0", f"{IMAGE}:2.4.0"))
    await watch(kube, "shop-2-4-0", "Succeeded")
    before = await proof(kube)

    headline("Upgrade to 2.5.0: it becomes Ready, and then answers 30% of its requests with errors")
    await kube.apply(upgrade("2.5.0", f"{IMAGE}:2.5.0-err"))
    ended = await watch(kube, "shop-2-5-0", "RolledBack", "Succeeded", "RollbackFailed", "Held")
    after = await proof(kube)

    headline("The proof: version and configuration of every tenant, before 2.5.0 and after it was taken back")
    for name in TENANTS:
        edits = ", ".join(f"{key}={value}" for key, value in OWN_EDITS.get(name, {}).items())
        same = "same" if before[name] == after[name] else f"DIFFERENT: {before[name]}"
        say(f"  {name:<6} {after[name][0]:<10} sha256:{after[name][1]}  {same}" + (f"   own edits: {edits}" if edits else ""))
    kept = [await edits_are_kept(kube, name) for name in OWN_EDITS]
    good = before == after and all(kept) and condition(ended, "Ready")["reason"] == "RolledBack"
    say()
    say("Every tenant runs what it ran before, and keeps what it had changed." if good else "Something is not as it should be: see above.")
    return 0 if good else 1


async def edits_are_kept(kube: KubeClient, name: str) -> bool:
    """Tell whether a tenant's own edits are all there."""
    text = (await kube.get("ConfigMap", "shop-config", name))["data"]["shop.properties"]
    return all(f"{key}={value}\n" in text for key, value in OWN_EDITS[name].items())


async def run(keep: bool) -> int:
    """Start everything, tell the story, stop everything."""
    folder = Path(tempfile.mkdtemp(prefix="tenantwave-demo-"))
    headline("A real control plane, a real Prometheus, the operator with the rights of its chart")
    with LocalCluster(folder, say=say) as cluster, Monitoring(folder, folder / "traffic.kubeconfig", rate=60) as monitoring:
        helm = [str(resolve("helm")), "install", "tenantwave", str(ROOT / "charts/tenantwave"), "--namespace", SYSTEM, "--create-namespace"]
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)} | dict.fromkeys(HELM_FOLDERS, str(folder))
        install = [*helm, "--set", "replicas=0", "--wait"]
        await asyncio.to_thread(subprocess.run, install, check=True, env=environment, stdout=subprocess.DEVNULL)
        wait_for_kinds(cluster)
        operator = start_operator(cluster.kubeconfig_for(SYSTEM, "tenantwave"), folder / "operator.log")
        try:
            async with KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="demo") as kube:
                code = await while_it_runs(operator, folder / "operator.log", tell(kube, monitoring))
            look_around(cluster.kubeconfig, folder / "operator.log", keep)
            if keep:
                say("\nThe cluster stays up. Ctrl-C ends it.")
                await until_interrupted()
        finally:
            operator.send_signal(signal.SIGTERM)
            operator.wait(timeout=20)
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"What every process said is in {folder}")
    return code


def wait_for_kinds(cluster: LocalCluster) -> None:
    """Wait until the API server serves what the chart has just defined: it needs a moment after `helm install` has returned."""
    until = time.monotonic() + 30
    for plural in ("tenantupgrades", "rolloutpolicies", "upgradeactions", "tenantprofiles", "tenantdecisions", "tenantruns"):
        while True:
            try:
                cluster.request("GET", f"/apis/{GROUP}/{plural}")
                break
            except RequestError as error:
                if error.status not in (404, 429, 503) or time.monotonic() > until:
                    raise
                time.sleep(0.2)


def start_operator(kubeconfig: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the operator as a process, with the token of the chart's ServiceAccount."""
    command = [
        sys.executable,
        "-m",
        "tenantwave.shell.main",
        "--namespace",
        SYSTEM,
        "--kubeconfig",
        str(kubeconfig),
        "--listen",
        "127.0.0.1:0",
    ]
    with log.open("wb") as out:
        # It looks every second instead of every half minute, so it may ask more often than a user's Prometheus is asked.
        environment = os.environ | {"PYTHONPATH": str(ROOT / "operator"), "TENANTWAVE_QUERIES_PER_MINUTE": "6000"}
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment)


async def while_it_runs(operator: subprocess.Popen[bytes], log: Path, story: Coroutine[Any, Any, int]) -> int:
    """Tell the story as long as the operator runs. Returns its exit code. Raises RuntimeError, with the operator's last words, if it ends first."""
    telling = asyncio.create_task(story)
    while not telling.done():
        if operator.poll() is not None:
            telling.cancel()
            raise RuntimeError(f"the operator ended with exit code {operator.returncode}; the end of {log}:\n{last_words(log)}")
        await asyncio.wait([telling], timeout=0.5)
    return telling.result()


def last_words(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text().splitlines()[-5:])


async def until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def look_around(kubeconfig: Path, log: Path, keep: bool) -> None:
    """Print the commands to look around with."""
    headline("To look around" if keep else "To look around, start it with --keep: the cluster then stays up, and these commands show it")
    if keep:
        say(f"  export KUBECONFIG={kubeconfig} PATH={resolve('kubectl').parent}:$PATH")
    say("  kubectl get tenantwave")
    say("  kubectl describe tenantupgrade shop-2-5-0")
    say(f"  kubectl get tenantruns -n {SYSTEM} -l tenantwave.io/upgrade=shop-2-5-0 -o wide")
    say("  kubectl get tenantprofile tenant -n acme -o yaml")
    say("  kubectl explain tenantupgrade.spec.components")
    if keep:
        say(f"  less {log}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up until Ctrl-C")
    keep = parser.parse_args().keep
    try:
        sys.exit(asyncio.run(run(keep)))
    except KeyboardInterrupt:
        sys.exit(130)
    except (TimeoutError, RuntimeError) as error:
        sys.exit(f"hack/demo: {error}")


if __name__ == "__main__":
    main()
