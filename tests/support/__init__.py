"""Helpers for tests: servers, clients, faults and processes."""
