"""Kopf is the doorbell: it tells that something about an upgrade, a policy or an action changed. What changed does not matter.

The only module that imports kopf. Nothing else of it is used: no state, diffs, annotations, timers, daemons or indices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import kopf

from tenantwave.api.kinds import GROUP, ROLLOUT_POLICY, TENANT_UPGRADE, UPGRADE_ACTION, VERSION


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Who is to be told. Each is called with a name and returns at once."""

    upgrade: Callable[[str], None]
    policy: Callable[[str], None]
    action: Callable[[str], None]
    """Called with the upgrade that the action names."""


@dataclass(frozen=True, slots=True)
class Login:
    """How Kopf reaches the API server, with a connection pool of its own: it closes it on exit, and must not close ours."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool
    authorization: str
    proxy: str | None


async def run(
    doorbell: Doorbell, login: Callable[[], Awaitable[Login]], *, stop: asyncio.Event, on_started: Callable[[], None] = lambda: None
) -> None:
    """Ring until `stop` is set. `on_started` is called once Kopf has taken the signal handlers, so that they can be taken back.

    `login` is asked at the start, and again each time the API server refuses what it gave.
    Tasks that are created after this was called are cancelled when it ends.
    """
    ours = {task for task in asyncio.all_tasks() if not task.done()}
    tasks = await kopf.spawn_tasks(
        registry=_registry(doorbell, login), settings=_settings(), memo=kopf.Memo(doorbell=doorbell), clusterwide=True, stop_flag=stop
    )
    on_started()
    await kopf.run_tasks(tasks, ignored=ours)


def _registry(doorbell: Doorbell, login: Callable[[], Awaitable[Login]]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()  # never the global one, which mixes what different tests register

    @kopf.on.login(registry=registry)
    async def on_login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(await login())

    @kopf.on.event(GROUP, VERSION, TENANT_UPGRADE.plural, registry=registry)
    async def on_upgrade(name: str | None, **_: Any) -> None:
        doorbell.upgrade(str(name))

    @kopf.on.event(GROUP, VERSION, ROLLOUT_POLICY.plural, registry=registry)
    async def on_policy(name: str | None, **_: Any) -> None:
        doorbell.policy(str(name))

    @kopf.on.event(GROUP, VERSION, UPGRADE_ACTION.plural, registry=registry)
    async def on_action(spec: Mapping[str, Any], **_: Any) -> None:
        if upgrade := cast(str, spec.get("upgrade") or ""):
            doorbell.action(upgrade)

    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = settings.scanning.disabled = True  # no peering, no watches of CRDs and namespaces
    settings.posting.enabled = False  # our own event recorder
    settings.watching.server_timeout, settings.watching.connect_timeout = 290, 10
    settings.networking.request_timeout, settings.networking.enforce_retry_after = 30, True
    settings.persistence.finalizer = f"{GROUP}/kopf"  # never used, but ours if it ever were
    settings.process.ultimate_exiting_timeout = 20
    return settings


def _connection(login: Login) -> kopf.ConnectionInfo:
    scheme, _, token = login.authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=login.server,
        ca_path=login.ca_path,
        insecure=login.insecure or None,
        scheme=scheme or None,
        token=token or None,
        certificate_path=login.certificate_path,
        private_key_path=login.private_key_path,
        proxy_url=login.proxy,
        trust_env=False,
    )
