"""Recordings: what the shim asked real servers, what they answered, and what the client got for it.

`python -m tests.recordings.record` makes them, one file for each case of `cases.CASES` on each backend;
`tests/backends/test_recordings.py` replays them. A file looks like this:

    {"backend", "server": its version, "settle": seconds,
     "client": {"mode", "headers", "body"},
     "exchanges": [[{"request": {"method", "target", "body"}, "response": {"status", "headers", "body"}}, ...], ...],
     "reply": {"status", "headers", "body"}}

`exchanges` has a list for each step: what stands in one list was asked side by side. A body is JSON, a list of chunks
where it is a stream, else text. A response that is `late` began when the shim did not wait for it any more. Ids and
times are numbered (`tidy`), so that recording again changes little.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.protocol import Mode

HERE = Path(__file__).parent
BACKENDS = ("langgraph", "langgraph-old", "langgraph-js", "aegra", "agent-protocol")
KEPT = ("content-type", "content-location", "retry-after", "www-authenticate", "ap-resume-ignored")
"""The header fields that a recording keeps, of the server's answers and of the shim's."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One file."""

    backend: str
    case: str
    document: Document

    def __str__(self) -> str:
        return f"{self.backend}/{self.case}"

    @property
    def path(self) -> Path:
        """Where the file is."""
        return HERE / self.backend / f"{self.case}.json"

    @property
    def mode(self) -> Mode:
        """Which of the three routes was asked."""
        return Mode[self.document["client"]["mode"].upper()]

    @property
    def headers(self) -> dict[str, str]:
        """The client's header fields, as far as they are ours."""
        headers: dict[str, str] = self.document["client"]["headers"]
        return headers

    @property
    def body(self) -> bytes:
        """The client's body."""
        return strictjson.dumps(self.document["client"]["body"])

    @property
    def settle(self) -> float:
        """The shim's setting."""
        settle: float = self.document["settle"]
        return settle

    @property
    def exchanges(self) -> list[list[Document]]:
        """Step by step: what was asked side by side."""
        exchanges: list[list[Document]] = self.document["exchanges"]
        return exchanges

    @property
    def reply(self) -> Document:
        """What the client got."""
        reply: Document = self.document["reply"]
        return reply


@cache
def load_dialect(backend: str) -> Dialect[Any]:
    """Who speaks to a backend: one dialect to all of LangGraph's servers.

    None looks for its commit, since such lookups run beside the flow, so that their place in a recording is by chance.
    """
    dialect = load_backend("langgraph" if backend.startswith("langgraph") else backend)
    dialect.commit = "with_answer"
    return dialect


def load_all() -> list[Recording]:
    """Every recording there is."""
    paths = sorted(HERE.glob("*/*.json"))
    return [Recording(path.parent.name, path.stem, json.loads(path.read_text("utf-8"))) for path in paths]


def is_stream(headers: dict[str, str]) -> bool:
    """Whether an answer with these header fields is a stream of events."""
    return headers.get("content-type", "").startswith("text/event-stream")


def write_message(status: int, headers: dict[str, str], chunks: list[bytes]) -> Document:
    """An answer as a recording has it."""
    message: Document = {"status": status, "headers": {name: headers[name] for name in KEPT if name in headers}}
    if is_stream(message["headers"]):
        return {**message, "body": [chunk.decode() for chunk in chunks if chunk]}
    text = b"".join(chunks).decode()
    return {**message, "body": strictjson.read(text) if _is_json(message) else text}


def read_chunks(message: Document) -> list[bytes]:
    """The bytes of a recorded answer: those of a stream as they came, others in one piece."""
    body = message["body"]
    if is_stream(message["headers"]):
        return [chunk.encode() for chunk in body]
    return [strictjson.dumps(body) if _is_json(message) else body.encode()]


def _is_json(message: Document) -> bool:
    return "json" in message["headers"].get("content-type", "")
