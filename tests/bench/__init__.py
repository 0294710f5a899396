"""Benchmarks: ``python -m tests.bench`` prints tables. Nothing here is asserted; ratios hold, seconds vary."""
