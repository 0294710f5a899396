"""Benchmarks: ``python -m tests.bench`` prints tables. Nothing is asserted; ratios hold, seconds vary."""
