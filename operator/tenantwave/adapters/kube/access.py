"""Where the API server is and how we prove who we are. The `kubernetes` package reads kubeconfig files, plugins and mounted tokens for us.

What may change while we run (a rotated token, a new client certificate) is read again every 60 s and after a 401; the address is not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import urllib.request
from typing import Any

from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
PLUGIN_SECONDS = 60.0
"""A credential plugin that takes longer than this is given up; the credentials that we have stay in use."""


class AccessError(Exception):
    """The configuration that names the API server cannot be used. The message says which one, why, and how to mend it."""


class Access:
    """One API server with our credentials. `server`, `proxy` stay; `headers`, `ssl` follow the files."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._loader: Any = None
        self._material: tuple[object, ...] = ()
        self._refreshing = asyncio.Lock()
        self._generation = 0
        self.server = ""
        self.server_hostname: str | None = None
        self.proxy: str | None = None
        self.ssl: ssl.SSLContext | None = None
        self.headers: dict[str, str] = {}
        self.configuration = Configuration()

    @classmethod
    async def load(cls, kubeconfig: str = "") -> Access:
        """Read `kubeconfig` (or the file or files of KUBECONFIG, or the in-cluster configuration). Raises AccessError."""
        access = cls(kubeconfig or os.environ.get("KUBECONFIG", ""))
        await access._read(force=True)
        access.proxy = access.configuration.proxy or _proxy_of(access.server)
        return access

    @property
    def generation(self) -> int:
        """Return a number that grows each time credentials are read again."""
        return self._generation

    async def refresh(self, after_generation: int | None = None) -> None:
        """Read the credentials again; a 401 passes the generation that was refused, so that many refusals cause one reading."""
        async with self._refreshing:
            if after_generation is not None and after_generation != self._generation:
                return
            try:
                await self._read(force=after_generation is not None)
            except AccessError as error:
                log.warning("credentials cannot be read again, the present ones stay in use: %s", error)

    async def keep_fresh(self) -> None:
        """Read the credentials again every 60 s, for ever."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    async def _read(self, *, force: bool) -> None:
        configuration = Configuration()
        configuration.proxy = None
        source = self._kubeconfig or "the in-cluster configuration"
        try:
            if not self._kubeconfig:
                kubernetes_config.load_incluster_config(client_configuration=configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
            elif self._plugin_is_fresh() and not force:
                await self._loader.load_and_set(configuration)
            else:
                async with asyncio.timeout(PLUGIN_SECONDS):
                    self._loader = await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                        config_file=self._kubeconfig, client_configuration=configuration, persist_config=False
                    )
        except TimeoutError as error:
            problem = f"its credential plugin took longer than {PLUGIN_SECONDS:.0f} s; run it by hand to see why"
            raise AccessError(f"{source}: {problem}") from error
        except Exception as error:
            mend = "correct the file" if self._kubeconfig else "pass --kubeconfig FILE, set KUBECONFIG, or run in a pod"
            raise AccessError(f"{source} cannot be used: {error}; {mend}") from error
        self._adopt(configuration)

    def _plugin_is_fresh(self) -> bool:
        """Tell whether an exec plugin gave credentials that still hold (or that name no end: those are kept until a 401)."""
        user = getattr(self._loader, "_user", None)
        return user is not None and "exec" in user

    def _adopt(self, configuration: Configuration) -> None:
        token = str(configuration.api_key.get("BearerToken") or "").strip()
        self.headers = {"Authorization": token} if token else {}
        self.configuration = configuration
        self.server = str(configuration.host).rstrip("/")
        self.server_hostname = configuration.tls_server_name or None
        if self.server.startswith("https://"):
            files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
            material = (configuration.verify_ssl, *map(_content, files))
            if material != self._material:
                self.ssl = _tls(configuration)
                self._material = material
        self._generation += 1


def _content(path: str | None) -> bytes:
    """Return what stands in the file, so that a file rotated in place is noticed."""
    if not path:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_of(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY and NO_PROXY ask for. Asked once: aiohttp's `trust_env` would look it up on each request."""
    scheme, _, rest = server.partition("://")
    host = rest.split("/")[0]
    if urllib.request.proxy_bypass_environment(host):  # type: ignore[attr-defined]
        return None
    return urllib.request.getproxies_environment().get(scheme)
