"""Mastra's workflows and agents."""

from ap_resume_shim.backends.mastra.agent import MastraAgent
from ap_resume_shim.backends.mastra.workflow import Mastra

__all__ = ["Mastra", "MastraAgent"]
