"""Kubeconfig files: writing ours (JSON, which is YAML too), and reading anybody's into what an HTTP client needs."""

from __future__ import annotations

import base64
import json
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.certificates import Certificates

CONTEXT = "tenantwave-local"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server: base URL, TLS, and extra headers (a bearer token, if that is how we log in)."""

    url: str
    tls: ssl.SSLContext | None
    headers: dict[str, str]


def with_certificate(url: str, certificates: Certificates, client: str) -> dict[str, Any]:
    """Return a kubeconfig that logs in with one of the cluster's client certificates, self-contained."""
    user = {
        "client-certificate-data": _base64(certificates.certificate(client).read_bytes()),
        "client-key-data": _base64(certificates.key(client).read_bytes()),
    }
    return _kubeconfig(url, certificates.certificate("ca").read_bytes(), client, user)


def with_token(url: str, authority: bytes, user: str, token: str, namespace: str = "default") -> dict[str, Any]:
    """Return a kubeconfig that logs in with a bearer token, self-contained."""
    return _kubeconfig(url, authority, user, {"token": token}, namespace)


def write(path: Path, kubeconfig: dict[str, Any]) -> Path:
    """Write the file, readable by its owner alone, in one step (a reader never sees half of it)."""
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(kubeconfig, file, indent=1)
    temporary.replace(path)
    return path


def read(path: Path) -> Access:
    """Return the access that the file's current context describes.

    Certificates (embedded or as files) and tokens are understood. Raises ValueError for logins by a plugin command: such a cluster gives a
    token with `kubectl create token`, to be put into a kubeconfig of its own.
    """
    text = path.read_text()
    config = json.loads(text) if text.lstrip().startswith("{") else _read_yaml(text)
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        raise ValueError(
            f"{path}: user {context['user']!r} logs in through a plugin command; use a kubeconfig with a certificate or a token"
        )
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(user)) else {}
    return Access(cluster["server"].rstrip("/"), _tls(cluster, user) if cluster["server"].startswith("https") else None, headers)


def _kubeconfig(url: str, authority: bytes, user_name: str, user: dict[str, str], namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": url, "certificate-authority-data": _base64(authority)}}],
        "users": [{"name": user_name, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user_name, "namespace": namespace}}],
        "current-context": CONTEXT,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read_yaml(text: str) -> Any:
    from ruamel.yaml import YAML  # only for clusters that we did not start ourselves

    return YAML(typ="safe", pure=True).load(text)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


def _token(user: dict[str, Any]) -> str | None:
    if "tokenFile" in user:
        return Path(user["tokenFile"]).read_text().strip()
    return user.get("token")


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    if authority := cluster.get("certificate-authority-data"):
        context.load_verify_locations(cadata=base64.b64decode(authority).decode())
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as pair:  # Python loads key pairs from files only
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    return context
