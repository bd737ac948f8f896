"""The sidecar's command line, settings and process."""
