"""What the shim costs: `python -m benchmarks`. Figures, and how they were made, are in README.md beside this file."""
