"""A driver: how a test brings a real server to its question, by the server's own API, and what the server can show.

`tests/e2e/drivers.py` and `tests/families/drivers` hold one for each server and way to resume it.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import httpx

from ap_resume_shim.backends import load_backend


class Driver:
    """A subject of a suite. Scenarios are what every server's agents do alike:

    - `ask`: asks one question, ends with the answer. More spellings of it (`asks`) where questions are of many kinds.
    - `two`: asks, then asks again.
    - `par`: asks two questions at once.
    - `slow`: asks nothing, and takes `secs` seconds.
    - `slowask`: asks; takes `secs` seconds after the answer.
    - `boom`: asks; fails after the answer.

    Only the servers of `tests/e2e` return a thread's values and runs, which the methods at the end of this class read.
    """

    name: ClassVar[str]
    """The subject's, such as `agno-workflow`."""
    backend: ClassVar[str]
    """The shim's `backend`."""
    server: ClassVar[str]
    """The server, as `tests.servers` starts it."""
    options: ClassVar[dict[str, str]] = {}
    """Options of the backend."""
    resume_at: ClassVar[str | None] = None
    """The place of the answer in a profile's request, if it is not the usual one."""
    initial: ClassVar[dict[str, Any]] = {"secs": 0.0}
    """The state that a run starts with, unless a test sets another one."""
    witness: ClassVar[bool] = True
    """Whether the agents record what they receive, for the tests to read (`/__witness`)."""
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
        """`client` is connected to the shim, which passes the server's own API through."""
        self.client = client

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """Run a scenario on a new thread, or `on` one; with `wait`, until it asks. Returns the id for `thread_id`."""
        raise NotImplementedError

    def unknown(self) -> str:
        """An id that no thread has."""
        return str(uuid.uuid4())

    def resumes(self, seen: dict[str, Any]) -> bool:
        """Whether a request that reached the server, `{"method", "path", "body"}`, resumes a run.

        On a server that has one route for starting a run and for resuming it, both count.
        """
        raise NotImplementedError

    def is_over(self, thread: str, run_id: str) -> bool:
        """Whether a run has ended, or the server does not show it."""
        return True

    def agent_id(self, scenario: str) -> Any:
        """The `agent_id` of a scenario's agent, a string; None where the backend has no agents."""
        return None

    def forget(self) -> None:
        """Delete the threads that were made, where the server keeps too many of them."""

    def thread(self) -> str:
        """A new thread, without a run."""
        raise NotImplementedError

    def status(self, thread: str) -> str:
        """The thread's status."""
        raise NotImplementedError

    def values(self, thread: str) -> dict[str, Any]:
        """The thread's values."""
        raise NotImplementedError

    def runs(self, thread: str) -> list[dict[str, Any]]:
        """The thread's runs, the newest first."""
        raise NotImplementedError

    def cancel(self, thread: str, run_id: str) -> None:
        """Cancel a run."""
        raise NotImplementedError

    def exists(self, thread: str) -> bool:
        """Whether the thread is still there."""
        raise NotImplementedError
