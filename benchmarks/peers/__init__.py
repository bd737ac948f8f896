"""Proxies to compare with: each a script that is given the upstream's address and its own port."""
