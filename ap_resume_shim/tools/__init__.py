"""`explain` and `backends`: what a resume would send, and what a backend can do."""
