"""LangGraph's API servers, and Aegra, which has the same API."""

from ap_resume_shim.backends.langgraph.aegra import Aegra
from ap_resume_shim.backends.langgraph.dialect import LangGraph

__all__ = ["Aegra", "LangGraph"]
