"""A backend made of nothing but threads and gates: it takes what arrives, and writes down what it did with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ap_resume_shim.core.dialect import Found, GoOn, Verdict
from ap_resume_shim.core.exchange import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from tests.core.driving import RUN_ENDED, RUN_GOES_ON, Plain

GATES = 4
"""Questions that an agent asks, one after the other, before it is done."""


@dataclass(frozen=True)
class Kind:
    """What backends differ in."""

    ids: bool
    """Whether answers are keyed by the question's id, and one for a question that is not pending is not heard."""
    refuses: bool
    """Whether a second run is refused while one goes on; else it waits, and then answers whatever is pending."""
    stale: bool = False
    """Whether a thread that runs shows the question that was answered, until the next is asked."""
    head_at_end: bool = False
    """Whether the answer to a wait begins when the run has ended; else at once."""
    late: bool = False
    """Whether a thread shows a resume that was accepted only some time later, and takes more answers until then."""


@dataclass(frozen=True)
class Said:
    """An answer, with the question that its caller had read. It is the `input` of the resume."""

    thread: str
    gate: int
    who: int


@dataclass(frozen=True)
class Execution:
    """An answer that the agent heard: at which gate, and by which resume it came."""

    thread: str
    gate: int
    said: Said
    by: int


@dataclass
class Thread:
    """One conversation: it waits at a gate, or works on the answer to it."""

    name: str
    gate: int = 1
    run: str | None = None
    shows_next: bool = False
    """The next question shows already, while the thread is still called busy."""
    runs: int = 0
    waiting: list[Callable[[], None]] = field(default_factory=list)
    uncommitted: list[Callable[[], None]] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """The question that was asked last; whoever reads it may answer it."""
        return self.gate + self.shows_next

    @property
    def done(self) -> bool:
        return self.asked > GATES


class Asking(Plain):
    """The dialect of this backend."""

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        assert not isinstance(verdict, GoOn), "a thread here has a question, or nothing"
        return Request.post("runs", {"thread": resume.thread_id, "answers": list(verdict.by_id.items())})


class Backend:
    """All threads, and the record of what was executed and cancelled."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.threads: dict[str, Thread] = {}
        self.executed: list[Execution] = []
        self.cancelled: list[tuple[str, int]] = []
        self.runs_of: dict[str, int] = {}
        self.everybody_looked: Callable[[str], bool] = lambda thread: True
        """Whether all resumes of a thread that are under way had their first look at it."""

    def start_thread(self) -> None:
        """A thread that stands at its first gate."""
        name = f"t{len(self.threads)}"
        self.threads[name] = Thread(name)

    def found(self, thread: Thread) -> Found:
        """How a thread shows itself."""
        gate = thread.asked if thread.run is None or thread.shows_next or self.kind.stale else GATES + 1
        asks = (Interrupt(self._id(thread, gate), f"question {gate}"),) if gate <= GATES else ()
        status = "busy" if thread.run is not None else "interrupted" if asks else "idle"
        return Found(status, asks, agent_id="agent", run_id=f"{thread.name}-r{thread.runs}")  # type: ignore[arg-type]

    def answer(self, request: Request, thread: str, by: int) -> Response | Found:
        """Lookups, and the cancelling of a run."""
        its = self.threads[thread]
        match request.method, request.target.split(" "):
            case "GET", ["thread", *_]:
                return self.found(its)
            case "GET", ["run", run]:
                return RUN_GOES_ON if self.goes_on(its, run) else RUN_ENDED
            case "POST", ["cancel", run]:
                self.cancelled.append((run, by))
                if its.run == run:
                    self.go_on(its, at_once=True)
                return Response(202)
        raise AssertionError(request)

    def take(self, request: Request, by: int) -> Response:
        """A resume has arrived."""
        thread = self.threads[request.json["thread"]]
        if thread.run is not None and self.kind.refuses:
            return Response(409, (), b'{"detail": "busy"}')
        if thread.run is None and thread.done:
            return Response(400, (), b'{"detail": "nothing was asked"}')
        thread.runs += 1
        run = f"{thread.name}-r{thread.runs}"
        self.runs_of[run] = by

        def execute(gate: int | None = None) -> None:
            self._execute(thread, request.json["answers"], by, run, gate or thread.gate)

        if thread.run is not None:
            thread.waiting.append(execute)
        elif self.kind.late:
            thread.uncommitted.append(partial(execute, thread.gate))  # each of them finds the question as it is now
        else:
            execute()
        return Response(200, (("content-location", run),))

    def commit(self, thread: Thread) -> None:
        """What was accepted shows, and is executed."""
        while thread.uncommitted:
            thread.uncommitted.pop(0)()

    def goes_on(self, thread: Thread, run: str) -> bool:
        """Whether a run has not ended; those that wait for their turn are few, and count as begun."""
        number = int(run.rpartition("r")[2])
        return thread.run == run or number > thread.runs - len(thread.waiting) - len(thread.uncommitted)

    def go_on(self, thread: Thread, *, at_once: bool = False) -> None:
        """The agent works: with ids, its next question shows before the thread is at rest."""
        if self.kind.ids and not (thread.shows_next or at_once):
            thread.shows_next = True
            return
        thread.gate, thread.run, thread.shows_next = thread.gate + 1, None, False
        while thread.waiting and thread.run is None:
            thread.waiting.pop(0)()

    def _execute(self, thread: Thread, answers: list[tuple[Any, Any]], by: int, run: str, gate: int) -> None:
        for key, said in answers:
            if not thread.done and key == self._id(thread, gate):
                self.executed.append(Execution(thread.name, gate, Said(**said), by))
                thread.run = run

    def _id(self, thread: Thread, gate: int) -> str | None:
        return f"{thread.name}-q{gate}" if self.kind.ids else None


def as_input(said: Said) -> dict[str, Any]:
    """An answer as JSON."""
    return asdict(said)
