"""The same bytes through the sidecar, nginx, HAProxy and Caddy to one origin that records what reaches it."""
