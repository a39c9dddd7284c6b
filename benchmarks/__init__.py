"""Measured ratios: what edgeseal costs and yields, beside a peer or a bare loop, in one run (docs/benchmarks.md)."""
