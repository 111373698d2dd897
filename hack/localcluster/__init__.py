"""A real Kubernetes control plane on 127.0.0.1 for tests, demo and benchmarks: no containers, no kubelets, no cloud.

- `cluster.LocalCluster` starts and stops it; `access.Cluster` is what it has in common with a cluster that was there already.
- `monitoring.Monitoring` adds Prometheus and `traffic`, the one exporter that plays all tenants.
- `pods` stands in for the kubelets; its docstring has the rules (`-bad` images and so on).
- `binaries.resolve` finds, fetches or builds what all this consists of; `tools` pins the versions.
- `client.KubeClient` is a small client for tests and tools.

By hand: `hack/cluster up`, `hack/cluster down`.
"""

from localcluster.cluster import LocalCluster as LocalCluster
from localcluster.monitoring import Monitoring as Monitoring
