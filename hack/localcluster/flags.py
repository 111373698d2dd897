"""The command lines of the control plane, and its audit policy: what each flag is for, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.certificates import Certificates

OPERATOR_NAMESPACE = "tenantwave-system"
SERVICE_NETWORK = "10.0.0.0/16"

CONTROLLERS = (
    "namespace", "serviceaccount", "serviceaccount-token", "deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob",
    "garbage-collector", "resourcequota", "endpointslice", "disruption", "pod-garbage-collector", "clusterrole-aggregation",
    "node-lifecycle", "taint-eviction", "ttl-after-finished", "validatingadmissionpolicy-status",
)  # fmt: skip
"""What the product's own behaviour depends on; everything about volumes, clouds and certificates is left out."""


@dataclass(frozen=True, slots=True)
class Plane:
    """The facts that the command lines share."""

    run_dir: Path
    certificates: Certificates
    etcd_port: int
    etcd_peer_port: int
    api_port: int
    has_audit: bool
    is_unlimited: bool

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def audit_log(self) -> Path:
        return self.run_dir / "audit.jsonl"


def etcd(binary: Path, plane: Plane) -> list[str]:
    peer = f"http://127.0.0.1:{plane.etcd_peer_port}"
    return [
        str(binary),
        "--name=default",
        f"--data-dir={plane.run_dir / 'etcd'}",
        f"--listen-client-urls={plane.etcd_url}",
        f"--advertise-client-urls={plane.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # the data does not outlive the run
        "--log-level=warn",
    ]


def api_server(binary: Path, plane: Plane) -> list[str]:
    made = plane.certificates
    command = [
        str(binary),
        f"--etcd-servers={plane.etcd_url}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={plane.api_port}",
        "--endpoint-reconciler-type=none",  # loopback is no endpoint that it would accept
        f"--tls-cert-file={made.certificate('apiserver')}",
        f"--tls-private-key-file={made.key('apiserver')}",
        f"--client-ca-file={made.certificate('ca')}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={made.key('service-accounts')}",
        f"--service-account-signing-key-file={made.key('service-accounts')}",
        "--service-account-extend-token-expiration=false",  # a token ends when it says so
        "--disable-admission-plugins=TaintNodesByCondition",  # our nodes are Ready from their first moment
        "--profiling=false",
        "--shutdown-send-retry-after=false",
    ]
    if plane.has_audit:
        command += [
            f"--audit-policy-file={plane.run_dir / 'audit-policy.json'}",
            f"--audit-log-path={plane.audit_log}",
            "--audit-log-maxsize=10000",
        ]
    if plane.is_unlimited:
        command += ["--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0"]
    return command


def controller_manager(binary: Path, plane: Plane) -> list[str]:
    names = ",".join((*(f"{name}-controller" for name in CONTROLLERS), "root-ca-certificate-publisher-controller"))
    return [
        str(binary),
        f"--kubeconfig={plane.run_dir / 'controller-manager.kubeconfig'}",
        f"--controllers={names}",
        "--use-service-account-credentials=true",  # without it nothing may create pods
        f"--service-account-private-key-file={plane.certificates.key('service-accounts')}",
        f"--root-ca-file={plane.certificates.certificate('ca')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
        "--node-monitor-grace-period=10m",  # an outage of the API server that a test makes is no death of nodes
        "--concurrent-deployment-syncs=10",
        "--concurrent-replicaset-syncs=10",
        "--concurrent-namespace-syncs=20",
    ]


def scheduler(binary: Path, plane: Plane) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={plane.run_dir / 'scheduler.kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
    ]


def audit_policy() -> dict[str, Any]:
    """Return the policy: the operator's writes with both bodies, its reads by their metadata, other people's writes by their metadata.

    A policy cannot select by field manager; the event's `requestURI` tells it. The cluster's own components stay out.
    """
    operator = [f"system:serviceaccounts:{OPERATOR_NAMESPACE}"]
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "RequestResponse", "userGroups": operator, "verbs": writes, "omitManagedFields": True},
            {"level": "Metadata", "userGroups": operator},
            {
                "level": "None",
                "users": [
                    "localcluster-pod-player", "localcluster-traffic", "system:apiserver", "system:kube-controller-manager",
                    "system:kube-scheduler",
                ],
            },
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "verbs": writes},
        ],
    }  # fmt: skip
