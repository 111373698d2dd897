"""What a Secret says about how to reach a Prometheus, and that none of it is ever shown.

Keys: `token`, or `username` and `password`; `ca.crt` adds a root that is trusted; `tls.crt` and `tls.key` are our own certificate (mTLS).
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

HIDDEN = "***"
SHORTEST_HIDDEN = 4
"""A shorter secret stands in too many harmless words; hiding it would spell it out by the gaps."""


class SecretError(Exception):
    """The Secret cannot be used. The message names it and the mend, and nothing of its content."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a Secret says. Nothing of it is shown by `repr`. `hidden` are the texts that must not appear anywhere, longest first."""

    authorization: str | None = field(default=None, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    root: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def identity(self) -> str:
        """Return what tells apart TLS settings, so that a renewed certificate gets connections of its own."""
        parts = (self.root, self.certificate, self.key)
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def hide(self, text: str) -> str:
        """Return the text with our credentials blotted out."""
        for secret in self.hidden:
            text = text.replace(secret, HIDDEN)
        return text


NO_CREDENTIALS = Credentials()


def credentials_of(name: str, data: Mapping[str, bytes]) -> Credentials:
    """Return what the Secret `name` says. Raises: SecretError, with the mend."""
    token, username, password = (_text(name, data, key) for key in ("token", "username", "password"))
    certificate, key = data.get("tls.crt", b""), data.get("tls.key", b"")
    if token and (username or password):
        raise SecretError(f"the Secret {name} has both token and username with password; remove one of the two")
    if bool(username) != bool(password):
        raise SecretError(f"the Secret {name} has only one of username and password; add the other one")
    if bool(certificate) != bool(key):
        raise SecretError(f"the Secret {name} has only one of tls.crt and tls.key; add the other one")
    pair = base64.b64encode(f"{username}:{password}".encode()).decode() if username else ""
    authorization = f"Bearer {token}" if token else f"Basic {pair}" if pair else None
    hidden = sorted((text for text in (token, password, pair) if len(text) >= SHORTEST_HIDDEN), key=len, reverse=True)
    return Credentials(authorization, tuple(hidden), data.get("ca.crt", b""), certificate, key)


def tls_context(secret_name: str | None, credentials: Credentials) -> ssl.SSLContext:
    """Return TLS settings: the system's roots and that of `ca.crt`, always verified; our certificate, if there is one.

    Raises: SecretError for what is no PEM.
    """
    context = ssl.create_default_context()
    try:
        if credentials.root:
            context.load_verify_locations(cadata=credentials.root.decode())
        if credentials.certificate:
            with tempfile.TemporaryDirectory(prefix="tenantwave-") as folder:  # the ssl module reads client certificates from files alone
                chain = os.path.join(folder, "chain.pem")
                with open(os.open(chain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(credentials.certificate + b"\n" + credentials.key)
                context.load_cert_chain(chain)
    except (ssl.SSLError, ValueError):
        raise SecretError(f"ca.crt, tls.crt or tls.key of the Secret {secret_name} is no valid PEM; store it again") from None
    return context


def _text(name: str, data: Mapping[str, bytes], key: str) -> str:
    try:
        text = data.get(key, b"").decode().strip()
    except UnicodeDecodeError:
        raise SecretError(f"{key} of the Secret {name} is not text; store it as UTF-8") from None
    if not text.isprintable() or (key == "token" and not text.isascii()):
        raise SecretError(f"{key} of the Secret {name} contains line breaks or characters that no header may carry; store it without them")
    return text
