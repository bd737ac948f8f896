"""Prepare the environments of all clients: `python -m tests.clients`."""

from __future__ import annotations

from tests.clients.program import install

if __name__ == "__main__":
    install()
