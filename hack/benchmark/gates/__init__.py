"""Benchmarks of the gates: what they decide about simulated fleets, and what a tick costs on a real Prometheus."""
