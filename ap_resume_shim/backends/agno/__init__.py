"""agno."""
