"""A throw-away certificate authority, made with the `openssl` command: good for one cluster on 127.0.0.1 for a month."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

VALID_DAYS = "30"
SERVER_NAMES = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.0.0.1"

CLIENTS = {
    "admin": "/O=system:masters/CN=localcluster-admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "pod-player": "/O=system:masters/CN=localcluster-pod-player",
    "traffic": "/O=system:masters/CN=localcluster-traffic",
}
"""Who talks to the API server with a certificate of ours. `system:masters` bypasses RBAC and fairness, so the operator is not in here."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the files lie: `<folder>/<name>.crt` and `<folder>/<name>.key`."""

    folder: Path

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def make_certificates(folder: Path) -> Certificates:
    """Make the authority, the API server's certificate, one per client, and the key that signs ServiceAccount tokens."""
    if shutil.which("openssl") is None:
        raise RuntimeError(
            "the command `openssl` is missing; install it (Debian: apt-get install openssl) to make the cluster's certificates"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Certificates(folder)
    names = ["ca", "apiserver", "service-accounts", *CLIENTS]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(partial(_make_key, made), names))
        _openssl(
            "req", "-x509", "-new", "-key", str(made.key("ca")), "-subj", "/CN=localcluster-ca", "-days", VALID_DAYS,
            "-out", str(made.certificate("ca")), "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        server = pool.submit(
            _sign, made, "apiserver", "/CN=kube-apiserver", f"extendedKeyUsage=serverAuth\nsubjectAltName={SERVER_NAMES}\n"
        )
        clients = [pool.submit(_sign, made, name, subject, "extendedKeyUsage=clientAuth\n") for name, subject in CLIENTS.items()]
        for signed in (server, *clients):
            signed.result()
    return made


def _make_key(made: Certificates, name: str) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(made.key(name)))


def _sign(made: Certificates, name: str, subject: str, extensions: str) -> None:
    request, extension_file = made.folder / f"{name}.csr", made.folder / f"{name}.ext"
    extension_file.write_text(extensions)
    _openssl("req", "-new", "-key", str(made.key(name)), "-subj", subject, "-out", str(request))
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(made.certificate("ca")), "-CAkey", str(made.key("ca")), "-days", VALID_DAYS,
        "-set_serial", str(1 + sum(name.encode())), "-extfile", str(extension_file), "-out", str(made.certificate(name)),
    )  # fmt: skip


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
