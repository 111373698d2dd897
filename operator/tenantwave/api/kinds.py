"""The kinds of objects that the operator reads or writes, and the names that it puts on them."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "tenantwave.io"
VERSION = "v1alpha1"
FIELD_MANAGER = "tenantwave"

UPGRADE_LABEL = f"{GROUP}/upgrade"
RUN_LABEL = f"{GROUP}/run"
WAVE_LABEL = f"{GROUP}/wave"
TENANT_LABEL = f"{GROUP}/tenant"
PRODUCT_LABEL = f"{GROUP}/product"
VERSION_LABEL = f"{GROUP}/version"
ROLE_LABEL = f"{GROUP}/role"
"""What an object in our own namespace is for: `journal`, `record` or `snapshot`."""

SNAPSHOT_ROLE = "snapshot"

INTENT_ANNOTATION = f"{GROUP}/intent"
CONFIG_DIGEST_ANNOTATION = f"{GROUP}/config-digest"
TARGET_ANNOTATION = f"{GROUP}/target"
REMOVED_ANNOTATION = f"{GROUP}/removed"
AUTHORIZED_PRODUCT_ANNOTATION = f"{GROUP}/authorized-product"
FINALIZER = f"{GROUP}/cleanup"
SNAPSHOT_TYPE = f"{GROUP}/snapshot.v1"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the Kubernetes API. `plural` is the name in its path."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return what stands in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


TENANT_UPGRADE = Kind(GROUP, VERSION, "tenantupgrades", "TenantUpgrade", namespaced=False)
ROLLOUT_POLICY = Kind(GROUP, VERSION, "rolloutpolicies", "RolloutPolicy", namespaced=False)
UPGRADE_ACTION = Kind(GROUP, VERSION, "upgradeactions", "UpgradeAction", namespaced=False)
TENANT_PROFILE = Kind(GROUP, VERSION, "tenantprofiles", "TenantProfile")
TENANT_DECISION = Kind(GROUP, VERSION, "tenantdecisions", "TenantDecision")
TENANT_RUN = Kind(GROUP, VERSION, "tenantruns", "TenantRun")
OWN_KINDS = (TENANT_UPGRADE, ROLLOUT_POLICY, UPGRADE_ACTION, TENANT_PROFILE, TENANT_DECISION, TENANT_RUN)

NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
SECRET = Kind("", "v1", "secrets", "Secret")
POD = Kind("", "v1", "pods", "Pod")
RESOURCE_QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENT = Kind("events.k8s.io", "v1", "events", "Event")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SET = Kind("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SET = Kind("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SET = Kind("apps", "v1", "daemonsets", "DaemonSet")
CRON_JOB = Kind("batch", "v1", "cronjobs", "CronJob")
JOB = Kind("batch", "v1", "jobs", "Job")
CUSTOM_RESOURCE_DEFINITION = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
SELF_SUBJECT_ACCESS_REVIEW = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)

WORKLOAD_KINDS = {kind.name: kind for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB)}
