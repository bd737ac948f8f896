"""Runs the examples: as they are, and each with a mutation under which its test fails."""
