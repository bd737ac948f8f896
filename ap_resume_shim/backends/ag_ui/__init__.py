"""AG-UI: a single endpoint that runs an agent and streams its events."""

from ap_resume_shim.backends.ag_ui.dialect import AgUi

__all__ = ["AgUi"]
