"""Profiles: loading them, and the dialects made from them."""
