"""An agent server from before the resume routes: it takes the answer in a field of create-run."""
