"""What README.md and the pages under docs/ promise is there: files, links, commands, manifests, limits."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantwave.api.conditions import ReadyReason
from tenantwave.api.definitions import DEFINITIONS
from tenantwave.api.limits import NOT_YET_IN_UPGRADES, unsupported_fields
from tenantwave.api.upgrade import TenantUpgradeSpec

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "charts/tenantwave/README.md", ROOT / "crds/README.md"]
MODELS = {definition.kind.name: definition.spec for definition in DEFINITIONS}
SNIPPETS = ROOT / "docs/snippets"


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file or folder of the repository, and to a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}, which has no such heading"


def commands() -> Iterator[str]:
    """Return every line of README's shell blocks, and what it shows behind a `$`."""
    for page in PAGES[:-2]:
        for block in blocks(page, "bash"):
            yield from block.replace("\\\n", " ").splitlines()
        for block in blocks(page, "console"):
            yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def test_every_script_and_file_that_a_command_names_exists() -> None:
    """And what is called like a script can be run."""
    named = {word for line in commands() for word in re.findall(r"(?<![\w/.~-])(?:\./)?(?:hack|charts|crds|docs|operator)/[\w./-]*", line)}
    assert {"./hack/demo", "./hack/test", "charts/tenantwave", "crds/", "hack/kind.yaml"} <= named
    for word in named:
        assert (ROOT / word).exists(), word
        assert not word.startswith("./hack/") or (ROOT / word).stat().st_mode & 0o111, f"{word} cannot be run"


def test_every_path_that_the_text_names_exists() -> None:
    """Paths stand in backquotes."""
    for word in re.findall(r"`(?:\./)?((?:hack|charts|crds|docs|operator|tests)/[\w./-]+)[^`]*`", README.read_text()):
        assert (ROOT / word).exists(), word


def test_every_kind_that_kubectl_is_asked_for_exists() -> None:
    """By its plural, its singular or its short name."""
    ours = {name for one in DEFINITIONS for name in (one.kind.plural, one.kind.name.lower(), one.short_name)} | {"tenantwave"}
    asked = {match for line in commands() for match in re.findall(r"kubectl (?:get|describe|patch|wait|delete) ([a-z]+)", line)}
    assert asked & ours
    assert asked - ours <= {"configmap", "crd", "namespace"}, asked


def documents(page: Path) -> list[dict[str, Any]]:
    """Return the objects of our kinds that a page shows."""
    found = [document for block in blocks(page, "yaml") for document in yaml.safe_load_all(block)]
    return [document for document in found if str(document.get("apiVersion", "")).startswith("tenantwave.io/")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_manifest_is_valid_and_supported(page: Path) -> None:
    """By the models, and by what this build can do."""
    for document in documents(page):
        spec = MODELS[document["kind"]].model_validate(document["spec"])
        if isinstance(spec, TenantUpgradeSpec):
            assert unsupported_fields(spec) == []


def test_readme_shows_a_policy_an_upgrade_and_actions() -> None:
    """Otherwise the test above would have nothing to look at."""
    assert {document["kind"] for document in documents(README)} == {"RolloutPolicy", "TenantUpgrade", "UpgradeAction"}


def test_readme_names_what_is_not_supported_and_nothing_else() -> None:
    """The table of README and `limits.py` agree."""
    [section] = re.findall(r"<!-- limits -->\n(.*)\n<!-- /limits -->", README.read_text(), re.DOTALL)
    rows = {kind: re.findall(r"`([^`]+)`", fields) for kind, fields in re.findall(r"^\| (\w+) \| (.*) \|$", section, re.MULTILINE)}
    assert rows["TenantUpgrade"] == [row.field.removeprefix("spec.") for row in NOT_YET_IN_UPGRADES]
    assert list(rows) == ["Kind", "TenantUpgrade"], "the head of the table, and one row"


def test_readme_names_no_folder_of_a_machine() -> None:
    """Samples come from a real run, without its paths."""
    for page in PAGES:
        assert not re.search(r"/(root|home|work)/|\.venv|/tmp/tenantwave-demo", page.read_text()), page.name


def test_samples_fit_a_terminal() -> None:
    """Tables of kubectl have at most 120 columns; sentences of Events may be longer."""
    for block in blocks(README, "console"):
        wide = [line for line in block.splitlines() if len(line) > 120 and "TenantUpgrade/" not in line]
        assert wide == []


# docs/snippets: health.lua was tried with Lua 5.1 by hand; here only what can drift is held together.

WAITING = {"WaitingForWindow", "NoticePeriod", "AwaitingConsent", "TenantBusy", "AwaitingApproval", "Paused", "Suspended"}
"""The reasons of Ready with which an upgrade only waits for time, another upgrade or a person: Argo CD shows Suspended."""


def test_the_health_script_knows_the_waiting_reasons() -> None:
    """They are reasons of Ready, and the script's list is the table of the status."""
    script = (SNIPPETS / "health.lua").read_text()
    [listed] = re.findall(r"local waits = \{(.*?)\}", script, re.DOTALL)
    assert set(re.findall(r"(\w+) = true", listed)) == WAITING
    assert {reason.value for reason in ReadyReason} >= WAITING


def test_the_patch_for_argocd_cm_has_the_health_script() -> None:
    """Word by word."""
    patch = yaml.safe_load((SNIPPETS / "argocd-cm.yaml").read_text())
    assert patch == {"data": {"resource.customizations.health.tenantwave.io_TenantUpgrade": (SNIPPETS / "health.lua").read_text()}}


def test_the_health_checks_for_flux_name_our_kind() -> None:
    """With the three expressions that Flux wants."""
    [check] = yaml.safe_load((SNIPPETS / "flux-health-checks.yaml").read_text())["spec"]["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == ("tenantwave.io/v1alpha1", "TenantUpgrade")
    assert {"inProgress", "failed", "current"} <= set(check)
