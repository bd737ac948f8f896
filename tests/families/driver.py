"""A driver: how a test brings a real server to its question, by the server's own API, and what it can show.

One per subject (`tests/families/drivers`). All else that the suite does goes through the shim and the witness.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import httpx

from ap_resume_shim.backends import load_backend

PATIENCE = 30.0
"""Seconds until something has to have happened."""


def eventually(happened: Callable[[], Any], why: str) -> Any:
    """Poll until it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := happened():
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {PATIENCE} s: {why}")


class Driver:
    """A subject of the suite. Scenarios are what every server's agents do alike:

    - `ask`: asks one question, ends with the answer. More spellings of it (`asks`) where questions are of many kinds.
    - `two`: asks, then asks again.
    - `par`: asks two questions at once.
    - `slow`: asks nothing, and takes `secs` seconds.
    - `slowask`: asks; takes `secs` seconds after the answer.
    - `boom`: asks; fails after the answer.
    """

    name: ClassVar[str]
    """Of the subject, such as `agno-workflow`."""
    backend: ClassVar[str]
    """What `backend=` takes."""
    server: ClassVar[str]
    """What `tests.servers` starts."""
    options: ClassVar[dict[str, str]] = {}
    """Options of the backend."""
    resume_at: ClassVar[str | None] = None
    """Where a profile puts the answer, if not in its usual place."""
    shows: ClassVar[frozenset[str]] = frozenset({"ask", "two", "par", "slow", "slowask", "boom"})
    """The scenarios that this server can show."""
    asks: ClassVar[tuple[str, ...]] = ("ask",)
    """Scenarios with one question, one for each kind of question that takes other values."""
    yes: ClassVar[Any] = "yes"
    """An answer to `ask`, as the agent hears it."""
    no: ClassVar[Any] = "no"
    """Another."""
    typed: ClassVar[tuple[str, Any] | None] = None
    """A scenario whose question carries the schema of its answer, and an answer that certainly violates it."""
    wrong: ClassVar[tuple[Any, ...]] = ()
    """Answers to `ask` that the server itself would refuse, or misunderstand: wrong in shape, or for its schema."""
    agents: ClassVar[bool] = True
    """Whether `agent_id` can name who runs."""
    ids: ClassVar[bool] = True
    """Whether the server's questions have ids."""
    one_at_a_time: ClassVar[bool] = False
    """Whether one of several questions is answered by each resume, and never two."""
    mixes: ClassVar[bool] = True
    """Whether one resume may answer one of several questions with `yes` and another with `no`."""
    cancels: ClassVar[bool] = True
    """Whether a run that was resumed can be stopped."""
    recognised: ClassVar[bool] = True
    """Whether `auto` can tell the server from others."""
    restarts: ClassVar[bool] = False
    """Whether a thread whose run has ended takes another run (`start` with `on`)."""
    fresh: ClassVar[bool] = True
    """Whether a shim can resume a thread of which it has seen nothing."""
    has_lookup: ClassVar[bool] = True
    """Whether the server can be asked about a thread that the shim never saw."""

    keeps_contents: ClassVar[bool] = False
    """Whether what the server says of a thread is known from its runs' traffic alone."""

    @classmethod
    def has(cls) -> frozenset[str]:
        """What a test may need beside a scenario; `commits`: the backend declares that it commits with its answer."""
        needs = ("ids", "agents", "wrong", "cancels", "recognised", "restarts", "fresh", "keeps_contents", "typed")
        commits = load_backend(cls.backend, options=cls.options, resume_at=cls.resume_at).commit == "with_answer"
        return frozenset(name for name in needs if getattr(cls, name)) | ({"commits"} if commits else set())

    def __init__(self, client: httpx.Client) -> None:
        """`client` speaks to the shim, which passes all of the server's own API through."""
        self.client = client

    def start(self, scenario: str, ref: str, *, secs: float = 0.0, wait: bool = True, on: str | None = None) -> str:
        """Run a scenario on a new thread, or `on` one; with `wait`, until it asks. The id, as `thread_id` names it."""
        raise NotImplementedError

    def unknown(self) -> str:
        """An id that no thread has."""
        return str(uuid.uuid4())

    def resumes(self, seen: dict[str, Any]) -> bool:
        """Whether a request that reached the server, `{"method", "path", "body"}`, resumes a run."""
        raise NotImplementedError

    def agent_id(self, scenario: str) -> str | None:
        """What `agent_id` names the scenario's agent; None where the backend has no agents."""
        return None
