"""ag_ui."""
