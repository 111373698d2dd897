"""TenantUpgrade: this release, to those tenants, by that policy. What people write; `upgrade_status` has what the operator answers."""

from typing import Annotated

from tenantwave.api.delivery import (
    ArgoApplication,
    Component,
    ContainerImage,
    CustomResource,
    FluxImage,
    FluxKustomization,
    HelmParameter,
    HelmRelease,
    ReadyConditionRule,
    Workload,
    WorkloadKind,
)
from tenantwave.api.meta import LabelSelector, PolicyReference
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Digest, Instant, JsonObject, LabelValue, Name, Pointer, PositiveDuration, parse_duration
from tenantwave.api.upgrade_status import (
    Counts,
    GateStatus,
    MetricStatus,
    Next,
    PolicySeen,
    RunStatus,
    TenantException,
    TenantUpgradeStatus,
    Verdict,
    VersionCount,
    WaveState,
    WaveStatus,
)

__all__ = [
    "ArgoApplication",
    "Component",
    "ConfigFormat",
    "ContainerImage",
    "Counts",
    "CustomResource",
    "Evidence",
    "FluxImage",
    "FluxKustomization",
    "GateStatus",
    "Health",
    "HelmParameter",
    "HelmRelease",
    "Hook",
    "HookTime",
    "ListRule",
    "MetricStatus",
    "Next",
    "Notice",
    "OnConflict",
    "OnUnknownBase",
    "PolicySeen",
    "Preservation",
    "PreservationRule",
    "ReadyConditionRule",
    "Release",
    "RunStatus",
    "SecretHandling",
    "TenantException",
    "TenantUpgradeSpec",
    "TenantUpgradeStatus",
    "Urgency",
    "Verdict",
    "VersionCount",
    "WaveState",
    "WaveStatus",
    "Workload",
    "WorkloadKind",
]


_COMPARISON = "(>=|<=|!=|==|=|>|<)? *[A-Za-z0-9][-A-Za-z0-9_.+]*"


class SecretHandling(Choice):
    """What happens with a tenant's Secrets."""

    IGNORE = "Ignore", "they are not read"
    DIGEST_ONLY = "DigestOnly", "a change since the first write is told; needs `rbac.tenantSecrets: Read` of the chart"
    SNAPSHOT = "Snapshot", "besides, a rollback puts back one that was deleted; needs `rbac.tenantSecrets: ReadWrite`"


class OnConflict(Choice):
    """What follows when the tenant and the release changed the same place."""

    HALT = "Halt", "the tenant is Held before any write, reason ConfigConflict"
    TENANT_WINS = "TenantWins", "the tenant's value stays"
    RELEASE_WINS = "ReleaseWins", "the release's value is written"


class OnUnknownBase(Choice):
    """What follows when it is not known which configuration the tenant started from."""

    HALT = "Halt", "the tenant is Held before any write, reason UnknownBase"
    ASSUME_LIVE_IS_BASE = "AssumeLiveIsBase", "what is live counts as unedited"
    TENANT_WINS = "TenantWins", "what is live stays; only new keys are added"


class ConfigFormat(Choice):
    """How a key of a ConfigMap is read."""

    AUTO = "Auto", "by the key's extension"
    YAML = "Yaml", "YAML, comments and order kept"
    JSON = "Json", "JSON, order kept"
    TOML = "Toml", "TOML"
    INI = "Ini", "INI"
    PROPERTIES = "Properties", "Java properties"
    TEXT = "Text", "line by line"
    OPAQUE = "Opaque", "the whole key as one value"


class HookTime(Choice):
    """When a hook runs."""

    PRE_APPLY = "PreApply", "before a component is written"
    POST_APPLY = "PostApply", "after a component converged, before the soak"
    ON_ROLLBACK = "OnRollback", "before a tenant is taken back"


class Urgency(Choice):
    """How long the notice is."""

    ROUTINE = "Routine", "`notice.lead` of the policy"
    SECURITY = "Security", "the shorter of `notice.lead` and `notice.emergencyLead`; nothing else"


class Evidence(ApiModel):
    """A proof about the release: recorded and shown, not checked."""

    type: Annotated[str, about("What kind of proof.", example="SecurityTest", min_length=1, max_length=63)]
    url: Annotated[
        str, about("Where it can be read.", example="https://ci.example.com/reports/42", absent="no address is shown", max_length=1024)
    ] = ""
    digest: Annotated[Digest | None, about("Digest of the proof.", example="sha256:" + "0" * 64, absent="no digest is shown")] = None
    passed_time: Annotated[Instant | None, about("When it passed; UTC.", example="2026-11-20T09:00:00Z", absent="no time is shown")] = None


class Release(ApiModel):
    """What the tenants are to run."""

    product: Annotated[LabelValue, about("The product; versions are tracked per product and tenant. A label value.", example="shop")]
    version: Annotated[
        LabelValue, about("The version; the catalogue's entries for it are the new configuration. A label value.", example="2.4.0")
    ]
    assumed_version: Annotated[
        LabelValue | None,
        about(
            "What tenants without a version record are taken to run. A label value.",
            example="2.3.1",
            absent="unknown, and `preservation.onUnknownBase` decides",
        ),
    ] = None
    from_versions: Annotated[
        str | None,
        about(
            "Which versions may be upgraded, as comparisons joined by commas; other tenants are skipped with reason IncompatibleVersion.",
            example=">=2.2,<2.4",
            absent="every lower version and the same one where both are semantic versions, else every version",
            min_length=1,
            max_length=256,
            rules=(
                Rule(
                    f"self.matches(r'^ *{_COMPARISON}( *, *{_COMPARISON})* *$')",
                    'must be comparisons joined by commas, such as ">=2.2,<2.4"',
                ),
            ),
        ),
    ] = None
    evidence: Annotated[
        tuple[Evidence, ...],
        about(
            "Proofs about the release: recorded and shown, not checked.",
            example=[{"type": "SecurityTest", "url": "https://ci.example.com/reports/42"}],
            absent="none are shown",
            max_length=16,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class ListRule(ApiModel):
    """How entries of one list inside a structured key are told apart."""

    rules = (
        Rule(
            "has(self.by) != (has(self.asSet) && self.asSet)",
            "must have exactly one of `by` (the field that names an entry) and `asSet: true`",
        ),
    )

    path: Annotated[Pointer, about("JSON pointer to the list.", example="/servers")]
    by: Annotated[
        str | None, about("The field that names an entry.", example="name", absent="`asSet` is given", min_length=1, max_length=253)
    ] = None
    as_set: Annotated[bool | None, about("Whether the entries are a set of scalars.", example=True, absent="`by` is given")] = None


class PreservationRule(ApiModel):
    """How one ConfigMap, one key of it, or one path in that key is merged."""

    rules = (Rule("!has(self.path) || has(self.key)", "must have `key` when it has `path`: a path is inside one key"),)

    config_map: Annotated[str, about("The ConfigMap's name in the tenant.", example="app-config", min_length=1, max_length=253)]
    key: Annotated[str | None, about("The key.", example="application.yaml", absent="all keys", min_length=1, max_length=253)] = None
    path: Annotated[Pointer | None, about("JSON pointer to a place in the key.", example="/tls/minVersion", absent="the whole key")] = None
    format: Annotated[ConfigFormat | None, about("How the key is read.", example="Yaml", absent="Auto")] = None
    lists: Annotated[
        tuple[ListRule, ...],
        about(
            "How entries of lists in the key are told apart.",
            example=[{"path": "/servers", "by": "name"}],
            absent="a changed list is one value",
            max_length=32,
            keys=("path",),
        ),
    ] = ()
    on_conflict: Annotated[
        OnConflict | None,
        about("What follows when both sides changed this place.", example="ReleaseWins", absent="`preservation.onConflict`"),
    ] = None


class Preservation(ApiModel):
    """How the tenants' own edits are kept."""

    config_maps: Annotated[
        LabelSelector | None,
        about(
            "Which ConfigMaps of the tenant are preserved.",
            example={"matchLabels": {"app": "shop"}},
            absent="all that the tenant's workloads refer to",
        ),
    ] = None
    secrets: Annotated[SecretHandling, about("What happens with the tenant's Secrets.", example="Ignore")] = SecretHandling.IGNORE
    on_conflict: Annotated[OnConflict, about("What follows when the tenant and the release changed the same place.", example="Halt")] = (
        OnConflict.HALT
    )
    on_unknown_base: Annotated[OnUnknownBase, about("What follows when it is not known what the tenant started from.", example="Halt")] = (
        OnUnknownBase.HALT
    )
    rules_: Annotated[
        tuple[PreservationRule, ...],
        about(
            "Exceptions for single ConfigMaps, keys and paths; the most exact one counts.",
            example=[{"configMap": "app-config", "key": "application.yaml", "format": "Yaml"}],
            absent="no exceptions",
            max_length=64,
            extra={"x-kubernetes-list-type": "atomic"},
            alias="rules",
        ),
    ] = ()


class Hook(ApiModel):
    """A Job in the tenant's namespace. Hooks of one place run in list order. A Retry runs hooks again: make them idempotent."""

    rules = (
        Rule(
            "self.at != 'PreApply' || has(self.irreversible)",
            "must have `irreversible` (true or false) with `at: PreApply`: say whether the tenant can still be taken back after it",
        ),
    )

    name: Annotated[Name, about("A unique name.", example="migrate")]
    at: Annotated[HookTime, about("When it runs.", example="PreApply")]
    component: Annotated[
        Name | None,
        about("Before which component (PostApply: after which).", example="api", absent="the first component (PostApply: the last)"),
    ] = None
    irreversible: Annotated[
        bool | None,
        about("Whether nothing but Resolve takes a tenant back once the Job exists. Required for PreApply.", example=True, absent="false"),
    ] = None
    timeout: Annotated[PositiveDuration | None, about("How long the Job may run.", example="10m", absent="10m")] = None
    job_template: Annotated[
        JsonObject,
        about(
            "A Job template (`batch/v1`); `{tenant}` and `{version}` are replaced.",
            example={"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
        ),
    ]


class Health(ApiModel):
    """When a tenant counts as converged."""

    timeout: Annotated[PositiveDuration, about("How long each component of a tenant may take to converge.", example="10m")] = (
        parse_duration("10m")
    )


class Notice(ApiModel):
    """What tenants are told."""

    title: Annotated[str, about("One line.", example="Shop 2.4", absent="product and version", max_length=200)] = ""
    changes: Annotated[str, about("What changes.", example="A new basket page.", absent="nothing is said", max_length=4000)] = ""
    benefits: Annotated[str, about("Why it is good.", example="Faster checkout.", absent="nothing is said", max_length=4000)] = ""
    risks: Annotated[
        str, about("What might go wrong.", example="Old bookmarks are redirected.", absent="nothing is said", max_length=4000)
    ] = ""
    url: Annotated[
        str, about("Where to read more.", example="https://status.example.com/shop-2-4", absent="no address is given", max_length=1024)
    ] = ""


class TenantUpgradeSpec(ApiModel):
    """This release, to those tenants, by that policy."""

    rules = (
        Rule(
            "!has(self.forceTime) || !has(self.deadlineTime) || self.forceTime >= self.deadlineTime",
            "must have `forceTime` not before `deadlineTime`",
            ".forceTime",
        ),
        Rule(
            "!has(self.hooks) || self.hooks.all(h, !has(h.component) || self.components.exists(c, c.name == h.component))",
            "must name in `hooks[].component` an entry of `components`",
            ".hooks",
        ),
    )

    policy_ref: Annotated[PolicyReference, about("The policy to roll out by.", example={"name": "standard"})]
    tenant_selector: Annotated[
        LabelSelector,
        about(
            "Which Namespaces are the tenants; at least one `matchLabels` entry or an In or Exists expression.",
            example={"matchLabels": {"tenantwave.io/product-shop": "true"}},
            rules=(
                Rule(
                    "(has(self.matchLabels) && size(self.matchLabels) > 0)"
                    " || (has(self.matchExpressions) && self.matchExpressions.exists(e, e.operator in ['In', 'Exists']))",
                    "must have at least one `matchLabels` entry or an In or Exists expression, for example"
                    ' `matchLabels: {tenantwave.io/product-shop: "true"}`: an empty selector, or one that only excludes,'
                    " would take every namespace",
                ),
            ),
        ),
    ]
    release: Annotated[Release, about("What the tenants are to run.", example={"product": "shop", "version": "2.4.0"})]
    components: Annotated[
        tuple[Component, ...],
        about(
            "The parts of the release, in apply order; a rollback reverses it.",
            example=[{"name": "api", "workload": {"kind": "Deployment", "name": "api"}}],
            min_length=1,
            max_length=16,
            keys=("name",),
        ),
    ]
    preservation: Annotated[Preservation, about("How the tenants' own edits are kept.", example={"onConflict": "Halt"})] = Preservation()
    hooks: Annotated[
        tuple[Hook, ...],
        about(
            "Jobs around the upgrade of each tenant.",
            example=[{"name": "smoke", "at": "PostApply", "jobTemplate": {"spec": {}}}],
            absent="no hooks",
            max_length=16,
            keys=("name",),
        ),
    ] = ()
    health: Annotated[Health, about("When a tenant counts as converged.", example={"timeout": "10m"})] = Health()
    urgency: Annotated[Urgency, about("How long the notice is.", example="Routine")] = Urgency.ROUTINE
    notice: Annotated[Notice | None, about("What tenants are told.", example={"title": "Shop 2.4"}, absent="the version alone is told")] = (
        None
    )
    deadline_time: Annotated[
        Instant | None,
        about(
            "Tenants' decisions lapse here, and the first opening after it is used; UTC.",
            example="2027-03-20T00:00:00Z",
            absent="decisions do not lapse",
        ),
    ] = None
    force_time: Annotated[
        Instant | None,
        about(
            "From here on the tenant's windows and freezes no longer count; UTC; not before `deadlineTime`.",
            example="2027-04-10T00:00:00Z",
            absent="windows always count",
        ),
    ] = None
    suspend: Annotated[
        bool | None,
        about(
            "Whether only the plan is made: shown and recorded, nobody is told, nothing starts. Set in mid-run it acts like Pause.",
            example=True,
            absent="false",
        ),
    ] = None
