"""Benchmarks: `make bench`. Never part of the tests; every figure is taken beside a baseline in the same run."""
