"""Backends that are described by TOML: the schema, and the dialect that is made from it."""
