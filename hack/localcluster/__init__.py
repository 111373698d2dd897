"""A real Kubernetes control plane on 127.0.0.1 for tests, demo and benchmarks."""

from localcluster.cluster import LocalCluster as LocalCluster
