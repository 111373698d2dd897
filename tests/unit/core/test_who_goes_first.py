"""The guide on who goes first is planned again: a table or a manifest that is wrong fails here."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from builders import NOON, a_policy, a_spec, a_tenant, a_world, an_upgrade
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.core.planner import decide
from tenantwave.core.world import Policy

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "who-goes-first.md").read_text()
NEVER_FIRST = "example.com/never-first"


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table whose header begins so."""
    _, _, rest = PAGE.partition(f"\n| {heading}")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rest.split("\n\n")[0].splitlines()[2:]]


FLEET = {name: dict(label.split("=") for label in re.findall(r"`(\S+)`", labels)) for name, labels in table("Tenant | Labels")}


@cache
def policies() -> dict[str, Policy]:
    """Return the policies of the page by name."""
    bodies = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)]
    made = a_policy()
    return {body["metadata"]["name"]: Policy("standard", 1, made.digest, RolloutPolicySpec.model_validate(body["spec"])) for body in bodies}


def plan(policy: str, version: str = "2.4.0") -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Return wave -> tenants, tenant -> why it is there, and what the plan warns of."""
    tenants = [a_tenant(name, labels=labels) for name, labels in FLEET.items()]
    made = decide(a_world(tenants, policy=policies()[policy], upgrade=an_upgrade(a_spec(version))), NOON)
    assert made.journal is not None
    waves = {wave.name: list(wave.tenants) for wave in made.journal.run.waves}
    return waves, {move.tenant: move.status.explain for move in made.moves}, list(made.journal.run.warnings)


@pytest.mark.parametrize("policy", ["named", "drawn", "combined"])
def test_the_waves_of_a_policy_are_those_of_its_table(policy: str) -> None:
    """All eight tenants, each in its wave and at its place, and nothing to warn of."""
    waves, _, warnings = plan(policy)
    assert waves == {wave: tenants.split() for wave, tenants in table(f"Wave of `{policy}`")}
    assert sorted(name for names in waves.values() for name in names) == sorted(FLEET)
    assert warnings == []


def test_who_is_never_first_goes_last_whatever_it_is_labelled_with_besides() -> None:
    """The canary ring included: that is what the page promises."""
    waves, _, _ = plan("named")
    assert FLEET["gulf"]["tenantwave.io/ring"] == "canary"
    assert waves["rest"] == [name for name, labels in FLEET.items() if NEVER_FIRST in labels]


def test_nobody_without_the_label_is_drawn() -> None:
    """As long as there are enough with it."""
    waves, _, _ = plan("drawn")
    assert all("tenantwave.io/early" in FLEET[name] for name in (*waves["canary"], *waves["early"]))


@pytest.mark.parametrize(("release", "canaries"), table("Release | Canaries"), ids=lambda cell: cell.replace(" ", "-"))
def test_canaries_take_turns(release: str, canaries: str) -> None:
    """Release by release, as the table shows."""
    waves, _, _ = plan("turns", release.removeprefix("shop "))
    assert waves["canary"] == canaries.split()


@pytest.mark.parametrize(("tenant", "why"), table("Tenant | Why"), ids=lambda cell: cell.split(" ")[0])
def test_each_tenant_says_why_it_is_where_it_is(tenant: str, why: str) -> None:
    """Word for word as on the page."""
    assert plan("drawn")[1][tenant] == why
