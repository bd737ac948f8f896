"""A backend made of nothing but threads and gates: it takes what arrives, and writes down what it did with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ap_resume_shim.core.dialect import Continue, Decision, Found, Lookup
from ap_resume_shim.core.errors import NotFound
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask
from tests.core.driving import RUN_ENDED, RUN_GOES_ON, Plain

GATES = 4
"""How often an agent stops to ask, at most, before it is done."""


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
    questions: int = 1
    """How many questions an agent asks at each gate; those that are left open are pending as before."""
    late: bool = False
    """Whether a resume that was accepted waits in a queue, while its thread shows the question that it answers."""
    straddles: bool = False
    """Whether a lookup is two requests, and the thread may change between them."""


@dataclass(frozen=True)
class Said:
    """An answer, with the question that its caller had read. It is the value that the agent hears."""

    thread: str
    gate: int
    who: int
    part: int = 0
    """Which of the gate's questions."""


@dataclass(frozen=True)
class Execution:
    """An answer that the agent heard: to which question, and by which resume it came."""

    thread: str
    gate: int
    part: int
    said: Said
    by: int


@dataclass
class Thread:
    """One conversation: it waits at a gate, or works on the answer to it."""

    name: str
    gates: int
    parts: frozenset[int]
    """The questions of each gate."""
    gate: int = 1
    open: frozenset[int] = frozenset()
    """The questions of this gate that were not answered yet."""
    shown: frozenset[int] = frozenset()
    """Those that were open when the run began."""
    deleted: bool = False
    lost: bool = False
    """Whether a question or a run was deleted with it."""
    run: str | None = None
    shows_next: bool = False
    """The next question shows already, while the thread is still called busy."""
    runs: int = 0
    waiting: list[Callable[[], None]] = field(default_factory=list)
    queue: list[tuple[list[tuple[Any, Any]], int, str]] = field(default_factory=list)
    """Answers that were accepted and not taken up yet, each with its resume and its run."""

    @property
    def asked(self) -> int:
        """The question that was asked last; whoever reads it may answer it."""
        return self.gate + self.shows_next

    @property
    def pending(self) -> frozenset[int]:
        """The parts of `asked` that may be answered."""
        return self.parts if self.shows_next else self.open

    @property
    def done(self) -> bool:
        return self.asked > self.gates


@dataclass
class Asking(Plain):
    """The dialect of this backend."""

    straddles: bool = False

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[Any]:
        """What the later of two requests found; where they disagree, the thread was moving."""
        request = Request.get("thread")
        looks: tuple[Any, ...] = yield from Ask((request, request) if self.straddles else (request,))
        if looks[-1] is GONE:
            raise NotFound("The thread is gone.")
        found: Found[Any] = replace(looks[-1], moving=looks[0] != looks[-1])
        return found

    def resume(self, resume: Resume, found: Found[Any], verdict: Decision) -> Request:
        assert not isinstance(verdict, Continue), "a thread here has a question, or nothing"
        return Request.post("runs", {"thread": resume.thread_id, "answers": list(verdict.by_id.items())})


GONE = Response(404)


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

    def start_thread(self, gates: int) -> None:
        """A thread that stands at its first gate."""
        name, parts = f"t{len(self.threads)}", frozenset(range(self.kind.questions))
        self.threads[name] = Thread(name, gates, parts, open=parts)

    def found(self, thread: Thread) -> Found[Any] | Response:
        """How a thread shows itself."""
        if thread.deleted:
            return GONE
        asks: tuple[Interrupt, ...] = ()
        if thread.run is None or thread.shows_next:
            asks = self._asked(thread, thread.asked, thread.pending)
        elif self.kind.stale:
            asks = self._asked(thread, thread.gate, thread.shown)
        status = "busy" if thread.run is not None else "interrupted" if asks else "idle"
        return Found(status, asks, agent_id="agent", run_id=f"{thread.name}-r{thread.runs}")  # type: ignore[arg-type]

    def _asked(self, thread: Thread, gate: int, parts: frozenset[int]) -> tuple[Interrupt, ...]:
        if gate > thread.gates:
            return ()
        return tuple(Interrupt(self.id(thread, gate, part), f"question {gate}.{part}") for part in sorted(parts))

    def answer(self, request: Request, thread: str, by: int) -> Response | Found[Any]:
        """Lookups, the cancelling of a run, and the end of a thread."""
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
            case "DELETE", ["thread"]:
                its.deleted, its.lost = True, not its.done or its.run is not None or bool(its.queue)
                return Response(204)
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
        answers = request.json["answers"]
        if self.kind.late:
            thread.queue.append((answers, by, run))
        elif thread.run is None:
            self._execute(thread, answers, by, run)
        else:
            thread.waiting.append(lambda: self._execute(thread, answers, by, run))
        return Response(200, (("content-location", run),))

    def take_up(self, thread: Thread) -> None:
        """The first answer of the queue reaches the agent, once that rests."""
        if thread.queue and thread.run is None:
            self._execute(thread, *thread.queue.pop(0))

    def goes_on(self, thread: Thread, run: str) -> bool:
        """Whether a run has not ended; those that wait for their turn are few, and count as begun."""
        waits = len(thread.waiting) + len(thread.queue)
        return thread.run == run or int(run.rpartition("r")[2]) > thread.runs - waits

    def go_on(self, thread: Thread, *, at_once: bool = False) -> None:
        """The agent works: with ids, its next question shows before the thread is at rest."""
        if thread.open:
            thread.run = None
        elif self.kind.ids and not (thread.shows_next or at_once):
            thread.shows_next = True
            return
        else:
            thread.gate, thread.open, thread.run, thread.shows_next = thread.gate + 1, thread.parts, None, False
        while thread.waiting and thread.run is None:
            thread.waiting.pop(0)()

    def heard(self, said: Said) -> bool:
        """Whether an answer was executed, or waits in a queue."""
        queued = (answer for thread in self.threads.values() for answers, *_ in thread.queue for _, answer in answers)
        return said in [execution.said for execution in self.executed] or asdict(said) in queued

    def heard_of(self, by: int) -> bool:
        """Whether any answer of a resume was executed, or waits in a queue."""
        queued = any(by == number for thread in self.threads.values() for _, number, _ in thread.queue)
        return queued or any(execution.by == by for execution in self.executed)

    def _execute(self, thread: Thread, answers: list[tuple[Any, Any]], by: int, run: str) -> None:
        before = thread.open
        ids = {self.id(thread, thread.gate, part): part for part in before}
        for key, said in answers:
            if not thread.done and key in ids:
                self.executed.append(Execution(thread.name, thread.gate, ids[key], as_said(said), by))
                thread.open -= {ids[key]}
                thread.run, thread.shown = run, before

    def id(self, thread: Thread, gate: int, part: int) -> str | None:
        """The id of a question."""
        return f"{thread.name}-q{gate}.{part}" if self.kind.ids else None


def as_said(value: Any) -> Said:
    """The answer that a value is; a map of answers is none."""
    is_one = isinstance(value, dict) and set(value) == {each.name for each in fields(Said)}
    return Said(**value) if is_one else Said("a map", 0, 0)


def as_input(said: Said) -> dict[str, Any]:
    """An answer as JSON."""
    return asdict(said)
