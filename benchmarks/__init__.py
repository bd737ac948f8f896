"""Benchmarks of the shim: `python -m benchmarks`. README.md has the figures and describes how they are measured."""
