"""What tests and tools do with any cluster, started or found: requests as administrator, and logins for ServiceAccounts."""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from localcluster import kubeconfig


class RequestError(RuntimeError):
    """The API server refused a request: `status` is the HTTP code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Cluster:
    """A cluster that is there. Everything here waits for the answer (client.py has the asynchronous client).

    Args:
        kubeconfig: the administrator's. RBAC does not bind `system:masters`, so the operator runs with `kubeconfig_for`.
        run_dir: an existing folder for what is made for this cluster, such as further kubeconfigs.
    """

    def __init__(self, kubeconfig: Path, run_dir: Path) -> None:
        self.kubeconfig = kubeconfig
        self.run_dir = run_dir

    @property
    def url(self) -> str:
        return self._access.url

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send one request as administrator. `body`: an object, or text as it is.

        Raises RequestError if it is refused, OSError or HTTPException if nobody answers.
        """
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        connection = self._connection()
        try:
            headers = {"Content-Type": content_type, "Accept": "application/json", **self._access.headers}
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RequestError(answer.status, f"{method} {path}: {answer.status} {text.strip()}")
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def apply_manifest(self, manifest: str | dict[str, Any], path: str) -> None:
        """Apply one object, as a dict or as YAML text, at its URL path (server-side, by force)."""
        self.request("PATCH", f"{path}?fieldManager=localcluster&force=true", manifest, "application/apply-patch+yaml")

    def apply_namespace(self, name: str) -> None:
        """Create the namespace if it is not there."""
        self.apply_manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, f"/api/v1/namespaces/{name}")

    def apply_definitions(self, folder: Path) -> list[str]:
        """Apply the CustomResourceDefinitions of a folder, one per `*.yaml` file. Return their names; they are served a moment later."""
        names = []
        for file in sorted(folder.glob("*.yaml")):
            manifest = file.read_text()
            if found := re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", manifest, re.MULTILINE):
                self.apply_manifest(manifest, f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{found[1]}")
                names.append(found[1])
        return names

    def is_established(self, definition: str) -> bool:
        """Tell whether the objects of a CustomResourceDefinition are served."""
        found = self.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}")
        return any(one["type"] == "Established" and one["status"] == "True" for one in found.get("status", {}).get("conditions", ()))

    def token_for(self, namespace: str, service_account: str, lifetime: timedelta = timedelta(hours=1)) -> str:
        """Return a token of an existing ServiceAccount. The API server gives none for less than 10 minutes."""
        spec = {"expirationSeconds": int(lifetime.total_seconds())}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.request("POST", path, request)["status"]["token"])

    def kubeconfig_for(self, namespace: str, service_account: str, lifetime: timedelta = timedelta(hours=1)) -> Path:
        """Return a new kubeconfig that logs in with a token of an existing ServiceAccount, as a pod of it would."""
        token = self.token_for(namespace, service_account, lifetime)
        config = kubeconfig.with_token(self.url, self._authority(), service_account, token, namespace)
        return kubeconfig.write(self.run_dir / f"{namespace}-{service_account}.kubeconfig", config)

    @cached_property
    def _access(self) -> kubeconfig.Access:
        return kubeconfig.read(self.kubeconfig)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self.url)
        if self._access.tls is None:
            return http.client.HTTPConnection(parts.netloc, timeout=30)
        return http.client.HTTPSConnection(parts.netloc, context=self._access.tls, timeout=30)

    def _authority(self) -> bytes:
        """Return the certificate of the cluster's authority, which every cluster publishes to its pods."""
        published = self.request("GET", "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")
        return str(published["data"]["ca.crt"]).encode()
