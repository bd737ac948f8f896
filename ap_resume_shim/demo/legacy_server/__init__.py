"""An agent server without resume routes: it takes the answer in a field of the create-run body."""
