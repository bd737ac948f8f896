"""The scenarios on an agentseek server, which finds their graph by its manifest (`AGENTSEEK_GRAPHS`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.servers.apps.families import scenarios


def prepare(payload: dict[str, Any]) -> dict[str, Any]:
    """The run's input as the graph's."""
    return payload


def write_manifest(workdir: Path) -> None:
    """Settings by which the server finds the graphs, and keeps its tables in the work folder."""
    workdir.mkdir(parents=True, exist_ok=True)
    symbols = {"graph": f"{scenarios.__name__}:build", "prepare_input": f"{__name__}:prepare"}
    told = {"extract_output": "agentseek_api.services.sample_graphs:_extract_interrupt_output"}
    manifest = workdir / "graphs.json"
    manifest.write_text(json.dumps({"graphs": {"scenarios": {**symbols, **told}}}))
    os.environ |= {
        "AGENTSEEK_GRAPHS": str(manifest),
        # The timeout is that of a lock, in seconds: the machine is busy.
        "METADATA_DB_URL": f"sqlite+aiosqlite:///{workdir / 'agentseek.db'}?timeout=60",
        "LANGSMITH_TRACING": "false",
    }
