"""Checks the site that `make docs` builds."""
