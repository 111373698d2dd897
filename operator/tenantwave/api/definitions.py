"""The six CustomResourceDefinitions: one row per kind, made out of the models."""

from dataclasses import dataclass
from typing import Any

from tenantwave.api.action import UpgradeActionSpec, UpgradeActionStatus
from tenantwave.api.decision import TenantDecisionSpec, TenantDecisionStatus
from tenantwave.api.kinds import ROLLOUT_POLICY, TENANT_DECISION, TENANT_PROFILE, TENANT_RUN, TENANT_UPGRADE, UPGRADE_ACTION, Kind
from tenantwave.api.meta import CATEGORY
from tenantwave.api.model import ApiModel, Rule
from tenantwave.api.policy import RolloutPolicySpec, RolloutPolicyStatus
from tenantwave.api.profile import TenantProfileSpec, TenantProfileStatus
from tenantwave.api.schema import Schema, structural_schema
from tenantwave.api.tenant_run import TenantRunSpec, TenantRunStatus
from tenantwave.api.upgrade import TenantUpgradeSpec, TenantUpgradeStatus


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`. `priority` 1 is shown with `-o wide` only. Future times are strings: a date column cannot show them."""

    name: str
    path: str
    meaning: str
    type: str = "string"
    priority: int = 0

    def schema(self) -> Schema:
        """Return the column as the CRD has it."""
        wide = {"priority": self.priority} if self.priority else {}
        return {"name": self.name, "type": self.type, "description": self.meaning, "jsonPath": self.path} | wide


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind: its names, its models, its columns, and rules about its metadata."""

    kind: Kind
    short_name: str
    meaning: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    needs_spec: bool = True

    def manifest(self) -> dict[str, Any]:
        """Return the CustomResourceDefinition."""
        kind = self.kind
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind.plural}.{kind.group}"},
            "spec": {
                "group": kind.group,
                "names": {
                    "kind": kind.name,
                    "listKind": f"{kind.name}List",
                    "plural": kind.plural,
                    "singular": kind.name.lower(),
                    "shortNames": [self.short_name],
                    "categories": [CATEGORY],
                },
                "scope": "Namespaced" if kind.namespaced else "Cluster",
                "versions": [
                    {
                        "name": kind.version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": self.schema()},
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [column.schema() for column in (*self.columns, AGE)],
                    }
                ],
            },
        }

    def schema(self) -> Schema:
        """Return the schema of the whole object."""
        spec = structural_schema(self.spec, "spec", takes_defaults=True)
        status = structural_schema(self.status, "status", takes_defaults=False)
        status["default"] = {"observedGeneration": -1}
        spec["description"] = f"{spec['description']} {'Required.' if self.needs_spec else 'If absent: nothing is asked for.'}"
        status["description"] = f"{status['description']} Written by the operator alone. Default: {{observedGeneration: -1}}."
        required = {"required": ["spec"]} if self.needs_spec else {}
        rules = {"x-kubernetes-validations": [rule.schema() for rule in self.rules]} if self.rules else {}
        return {
            "description": self.meaning,
            "type": "object",
            **required,
            "properties": {
                "apiVersion": {
                    "type": "string",
                    "description": f"Always {self.kind.api_version}. Required. Example: {self.kind.api_version}",
                },
                "kind": {"type": "string", "description": f"Always {self.kind.name}. Required. Example: {self.kind.name}"},
                # The name is declared only so that a rule can point at it.
                "metadata": {"type": "object"} | ({"properties": {"name": {"type": "string"}}} if self.rules else {}),
                "spec": spec,
                "status": status,
            },
            **rules,
        }


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _label(name: str) -> str:
    return f".metadata.labels['tenantwave\\.io/{name}']"


AGE = Column("Age", ".metadata.creationTimestamp", "When it was created.", "date")

UPGRADE_DEFINITION = Definition(
    TENANT_UPGRADE,
    "tupg",
    "TenantUpgrade: this release, to those tenants, by that policy. Keep one per release in git; editing it in mid-run supersedes the run.",
    TenantUpgradeSpec,
    TenantUpgradeStatus,
    (
        Column("Product", ".spec.release.product", "The product."),
        Column("Version", ".spec.release.version", "The version that the tenants are to run."),
        Column("Wave", ".status.run.currentWave", "The wave that is at work."),
        Column("Done", ".status.run.progress", "Tenants done, of all."),
        Column("Ready", _condition("Ready"), "Whether the upgrade is done."),
        Column("Status", _condition("Ready", "reason"), "Where it stands, and what it waits for."),
        Column("Failed", ".status.counts.failed", "How many tenants failed.", "integer", 1),
        Column("Held", ".status.counts.held", "How many tenants wait for a person.", "integer", 1),
        Column("Next", ".status.next.time", "When something happens next by itself; UTC.", priority=1),
        Column("Policy", ".spec.policyRef.name", "The policy that it is rolled out by.", priority=1),
        Column("Message", _condition("Ready", "message"), "Where it stands, in a sentence.", priority=1),
    ),
    (
        Rule(
            "self.metadata.name.size() <= 40 && self.metadata.name.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must have a name of at most 40 lower-case letters, digits and dashes, for it becomes part of a label value:"
            " shorten `metadata.name`",
            ".metadata.name",
        ),
    ),
)

POLICY_DEFINITION = Definition(
    ROLLOUT_POLICY,
    "rpol",
    "RolloutPolicy: how to roll out. Waves, gates, windows, notice and failure handling; one policy serves many upgrades.",
    RolloutPolicySpec,
    RolloutPolicyStatus,
    (
        Column("Consent", ".spec.consent", "Whether tenants decide."),
        Column("Tenant-Fails", ".spec.onFailure.tenant", "What follows when one tenant fails."),
        Column("Wave-Fails", ".spec.onFailure.wave", "What follows when a wave fails."),
        Column("Notice", ".spec.notice.lead", "How long before its start a tenant is told."),
        Column("No-Window", ".spec.maintenance.whenNoWindow", "What holds for tenants without any window."),
        Column("Ready", _condition("Ready"), "Whether the policy can be used."),
        Column("Zone", ".spec.maintenance.defaultTimeZone", "The zone of default windows and freezes.", priority=1),
        Column("Prometheus", ".spec.prometheus.url", "Where the gates get their numbers.", priority=1),
    ),
)

PROFILE_DEFINITION = Definition(
    TENANT_PROFILE,
    "tprof",
    "TenantProfile: when suits a tenant, and where it stands. The tenant writes `spec`, the operator `status`. Always named `tenant`.",
    TenantProfileSpec,
    TenantProfileStatus,
    (
        Column("Versions", ".status.versions", "Products and versions that the tenant runs."),
        Column("Upgrade", ".status.upgrade.name", "The upgrade that has the tenant, or comes next."),
        Column("Wave", ".status.upgrade.wave", "The tenant's wave."),
        Column("State", ".status.upgrade.state", "Where the tenant stands."),
        Column("Reason", ".status.upgrade.reason", "Why."),
        Column("Open", ".status.window.open", "Whether the tenant may start now, as far as the calendar goes.", "boolean"),
        Column("Next-Open", ".status.window.nextOpenTime", "When its door opens next; UTC."),
        Column("Zone", ".spec.timeZone", "The tenant's zone.", priority=1),
        Column("Windows-Valid", _condition("WindowsValid"), "Whether its windows can be used.", priority=1),
        Column("Message", ".status.upgrade.message", "Where the tenant stands, in a sentence.", priority=1),
    ),
    (
        Rule(
            "self.metadata.name == 'tenant'",
            "must be named `tenant`: there is one TenantProfile in a namespace; set `metadata.name: tenant`",
            ".metadata.name",
        ),
    ),
    needs_spec=False,
)

DECISION_DEFINITION = Definition(
    TENANT_DECISION,
    "tdec",
    "TenantDecision: what a tenant wants for one upgrade. Immutable; the newest one counts.",
    TenantDecisionSpec,
    TenantDecisionStatus,
    (
        Column("Upgrade", ".spec.upgrade", "The upgrade that it is about."),
        Column("Type", ".spec.type", "What is decided."),
        Column("Until", ".spec.untilTime", "Until when; UTC."),
        Column("Accepted", _condition("Accepted"), "Whether it counts."),
        Column("Status", _condition("Accepted", "reason"), "Why."),
        Column("Reason", ".spec.reason", "Why the tenant decided so.", priority=1),
        Column("Message", _condition("Accepted", "message"), "The answer, in a sentence.", priority=1),
    ),
)

ACTION_DEFINITION = Definition(
    UPGRADE_ACTION,
    "uact",
    "UpgradeAction: one order of the platform to one run, and its audit record. Immutable.",
    UpgradeActionSpec,
    UpgradeActionStatus,
    (
        Column("Upgrade", ".spec.upgrade", "The upgrade that it is about."),
        Column("Run", ".spec.run", "The run that it is about."),
        Column("Type", ".spec.type", "What is ordered."),
        Column("Wave", ".spec.wave", "The wave that it is about."),
        Column("Accepted", _condition("Accepted"), "Whether the order is taken."),
        Column("Status", _condition("Accepted", "reason"), "Why."),
        Column("Completed", _condition("Completed"), "Whether the order has had its whole effect."),
        Column("Expires", ".spec.expireTime", "When an override ends; UTC.", priority=1),
        Column("Reason", ".spec.reason", "Why it was ordered.", priority=1),
        Column("Message", _condition("Accepted", "message"), "The answer, in a sentence.", priority=1),
    ),
)

RUN_DEFINITION = Definition(
    TENANT_RUN,
    "trun",
    "TenantRun: the journal of one tenant in one upgrade. Written by the operator alone, in its own namespace; read it, never change it.",
    TenantRunSpec,
    TenantRunStatus,
    (
        Column("Tenant", _label("tenant"), "The tenant."),
        Column("Upgrade", _label("upgrade"), "The upgrade."),
        Column("Wave", _label("wave"), "The tenant's wave."),
        Column("State", ".status.state", "Where the tenant stands."),
        Column("Reason", ".status.reason", "Why."),
        Column("Attempt", ".status.attempt", "Which attempt.", "integer", 1),
        Column("Conflicts", ".status.conflictCount", "How many places the tenant and the release both changed.", "integer", 1),
        Column("Settled", ".status.settledCount", "How many such places a rule or a rollback has settled.", "integer", 1),
        Column("Preview", ".status.previewProblem", "Why a suspended upgrade would be held here.", priority=1),
        Column("Run", _label("run"), "The run.", priority=1),
        Column("Message", ".status.message", "Where the tenant stands, in a sentence.", priority=1),
    ),
)

DEFINITIONS = (POLICY_DEFINITION, UPGRADE_DEFINITION, PROFILE_DEFINITION, DECISION_DEFINITION, ACTION_DEFINITION, RUN_DEFINITION)
