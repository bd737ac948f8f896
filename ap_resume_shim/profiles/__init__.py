"""Backends described by TOML: the schema of profiles, and the dialect that is built from one. Pure."""
