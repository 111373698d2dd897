"""What a write is, in words that are the same for every case: whose it is, and which step of an upgrade or of a way back."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from support.between import Call

Object = dict[str, Any]

NAMED = re.compile(r"case-\d+-[0-9a-f]{6}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"(fixed-config)-[0-9a-f]{10}")
JOB = re.compile(r"up-(?:CASE|case-\d+-[0-9a-f]{6})-[0-9a-z]{5}-\d+-a\d+-([a-z-]+?)(-[0-9a-f]{10})?(?=/|$)")
"""The Job of a hook: its run, the hook, and a digest where there may be several."""
MARKER = "tenantwave.io/intent"


def case_of(call: Call, uids: Mapping[str, str]) -> str:
    """Return which case a write is for, '' for none. Args: uids: UID of a namespace -> case."""
    text = call.path + call.body.decode(errors="replace")
    if found := NAMED.search(text) or NAMED.search(_saved(call)):
        return found[0]
    return next((case for uid, case in uids.items() if uid in text), "")


def label_of(call: Call, case: str) -> str:
    """Return which step a write is: its place, and as much of its content as tells it from other writes to that place."""
    place = call.path.replace(case, "CASE")
    place = re.sub(r"/(tenant|record-[0-9a-f]+)-[0-9a-f-]{36}", r"/\1", place).removeprefix("/api/v1/namespaces/")
    place = (
        re.sub(r"^/apis/[^/]+/[^/]+/(namespaces/)?", "", place).replace("tenantwave-system/", "").replace("/CASE", "").replace("CASE/", "")
    )
    return f"{call.method} {_plain(place)} {_content(call, case)}".strip()


def _plain(name: str) -> str:
    """Return a name without what differs from case to case: a hook for its Job, a target for what was made of it."""
    return VERSION.sub(r"\1-VERSION", JOB.sub(r"\1", name))


def _content(call: Call, case: str) -> str:
    try:
        body = json.loads(call.body or b"{}")
    except ValueError:
        return ""
    if "/tenantruns" in call.path:
        return _of_run(body.get("status") or {})
    if call.path.endswith("/secrets"):
        return _of_saved(_saved(call), case)
    if "/tenantupgrades/" in call.path:
        conditions = (body.get("status") or {}).get("conditions") or []
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), "")
    if "/tenantprofiles/" in call.path:
        return str(((body.get("status") or {}).get("upgrade") or {}).get("state", ""))
    if f"/{case}/" in call.path:
        return _of_marker((body.get("metadata") or {}).get("annotations") or {}, call)
    return ""


def _of_run(status: Object) -> str:
    """Return state, component, hooks, and the last intent with what became of it: `api+Landed`, `api-Issued again`."""
    hooks = [f"{one['name']}:{one.get('state', '')}" for one in status.get("hooks") or []]
    return " ".join([status.get("state", ""), f"#{status.get('component', 0)}", *hooks, _last(status.get("intents") or [])])


def _last(intents: Sequence[Object]) -> str:
    if not intents:
        return ""
    last = intents[-1]
    sign = {"Forward": "+", "Rollback": "-"}[last.get("direction", "Forward")]
    again = any(one["target"] == last["target"] and one.get("state") == "Superseded" for one in intents[:-1])
    return f"{_plain(last['target']['name'])}{sign}{last.get('state', 'Issued')}{' again' if again else ''}"


def _of_marker(annotations: Object, call: Call) -> str:
    if call.method == "POST":
        return "create"
    if MARKER not in annotations:
        return ""
    marker = annotations[MARKER]
    return "unmark" if marker is None else "fence" if marker.endswith("/fence") else "write"


def _of_saved(text: str, case: str) -> str:
    """Return whose blob it is: an object as it was, or some content of ours by its digest, for cases differ in their names alone."""
    try:
        body = json.loads(text)
    except ValueError:
        return ""
    if isinstance(body, dict) and isinstance(body.get("metadata"), dict) and "uid" in body["metadata"]:
        return f"{body.get('kind', '')}/{body['metadata']['name']}"
    return hashlib.sha256(DIGEST.sub("", text.replace(case, "CASE")).encode()).hexdigest()[:8]


def _saved(call: Call) -> str:
    """Return what a Secret with one chunk saves, '' for any other write."""
    if b'"chunk"' not in call.body:
        return ""
    return gzip.decompress(b64decode(json.loads(call.body)["data"]["chunk"])).decode()
