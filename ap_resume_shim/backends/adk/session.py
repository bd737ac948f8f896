"""What an ADK session tells. It has no status: what it asks, and whether it is at rest, is read from its events.

The rules are those by which ADK itself finds its open questions (`events/_interrupts.py`) and the end of a turn
(`Event.is_final_response`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect import ThreadStatus
from ap_resume_shim.core.interrupt import Interrupt

SessionEvent = dict[str, Any]

CONFIRMATION = "adk_request_confirmation"
INPUT = "adk_request_input"
CREDENTIAL = "adk_request_credential"
_STATE_CHANGE = "p-"
"""How the id of what changes the state alone begins; what else the user does without a message goes on with a run."""


@dataclass(frozen=True, slots=True)
class AdkQuestion:
    """A call of a function that runs long: its result is the answer."""

    call: dict[str, Any]
    invocation_id: str
    times: int
    """How often it was asked by now: a workflow may ask again under the same id, in a loop."""
    branch: str | None = None
    """Of the agents that work side by side, the one that asks."""
    author: str | None = None
    """The agent that asks."""

    @property
    def id(self) -> str:
        """The call's, as long as no other question has had it."""
        return id_of(self.call_id, self.times)

    @property
    def call_id(self) -> str:
        """Of the call."""
        return str(self.call["id"])

    @property
    def name(self) -> str:
        """Of the function."""
        return str(self.call.get("name"))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the function was called with."""
        return self.call.get("args") or {}

    @property
    def confirms(self) -> str | None:
        """The id of the call that is to be confirmed."""
        return (self.arguments.get("originalFunctionCall") or {}).get("id")

    @property
    def of_workflow(self) -> bool:
        """Whether a node of a workflow asks, not a tool of an agent."""
        return self.name == INPUT and "interruptId" in self.arguments

    @property
    def interrupt(self) -> Interrupt:
        """As the client sees it."""
        schema = self.arguments.get("response_schema") if self.name == INPUT else None
        return Interrupt(self.id, {"name": self.name, "args": self.arguments}, schema)


class Session:
    """A session, as `GET /apps/{app}/users/{user}/sessions/{session}` tells it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.state: dict[str, Any] = told.get("state") or {}
        self.updated = told.get("lastUpdateTime")
        self.events = _without_rewound(told["events"])
        self.asked: Counter[str] = Counter()
        """How often each id was asked with."""
        self.open: dict[str, AdkQuestion] = {}
        """Questions without an answer, by the ids of their calls."""
        self.taken: dict[str, AdkQuestion] = {}
        """Those that the user's newest message has answered."""
        self._message: list[dict[str, Any]] = []
        """The parts of that message."""
        self._unused: dict[str, AdkQuestion] = {}
        """Confirmations that were given, for calls that have no result since."""
        self._newest: SessionEvent | None = None
        self.first_news: set[str] = set()
        """Calls to which the agent itself has put a result, as a function that runs long may at once."""
        self._groups: dict[str, set[str | None]] = {}
        """By run, the agents that others are a part of. They say so with resumability alone; workflows have nodes."""
        for event in self.events:
            self._follow(event)

    @property
    def status(self) -> ThreadStatus:
        """By the newest event."""
        if self.error is not None:
            return "error"
        if self._newest is not None and not self._ends_turn(self._newest):
            return "busy"
        return "interrupted" if self.open else "idle"

    @property
    def error(self) -> dict[str, Any] | None:
        """What the newest run failed with."""
        return None if self._newest is None else error_of(self._newest)

    @property
    def invocation_id(self) -> str | None:
        """Of the newest run."""
        return None if self._newest is None else self._newest.get("invocationId")

    @property
    def to_repeat(self) -> list[dict[str, Any]]:
        """The message with which a run goes on: ADK finds a confirmation in the user's newest message alone."""
        return self._message if self.taken.keys() & self._unused.keys() else []

    @property
    def question_ids(self) -> frozenset[str]:
        """Ids of all questions, past ones too."""
        return frozenset(id_of(call, n) for call, times in self.asked.items() for n in range(1, times + 1))

    @property
    def values(self) -> dict[str, Any]:
        """The state, and what was said."""
        return values_of(self.state, self.events)

    def _follow(self, event: SessionEvent) -> None:
        if event.get("author") == "user" and not _parts(event):
            if str(event.get("invocationId")).startswith(_STATE_CHANGE):
                return
        elif event.get("author") == "user":
            ids = {response.get("id") for response in _responses(event)}
            taken = {key: self.open.pop(key) for key in list(self.open) if key in ids}
            again = {key: question for key, question in self._unused.items() if key in ids}
            if not taken and not again and _only_confirms(event):  # nothing runs (google-adk 2.13.0)
                return
            self.taken, self._message = taken | again, _parts(event)
            self._unused |= {key: question for key, question in taken.items() if question.name == CONFIRMATION}
        elif _was_unreadable(event):
            self.open |= self.taken
            self._unused = {key: question for key, question in self._unused.items() if key not in self.taken}
            self.taken = {}
        else:
            self._note_results(event)
            self._note_end(event)
        self.open |= questions_of(event, self.asked)
        self._newest = event

    def _note_results(self, event: SessionEvent) -> None:
        """Of the agent: first news of a function that runs long, under the id of its answer.

        An error with them is what a run that was aborted leaves behind, in place of answers that will not come.
        """
        ids = {str(response.get("id")) for response in _responses(event)}
        self.first_news |= ids
        self._unused = {key: question for key, question in self._unused.items() if question.confirms not in ids}
        if event.get("errorCode"):
            self.open = {key: question for key, question in self.open.items() if key not in ids}

    def _note_end(self, event: SessionEvent) -> None:
        """An agent of a group that has ended is not run again: nothing of this run would hear an answer to it."""
        actions, run, author = event.get("actions") or {}, str(event.get("invocationId")), event.get("author")
        state = actions.get("agentState")
        if isinstance(state, dict) and "nodes" not in state:
            self._groups.setdefault(run, set()).add(author)
        if actions.get("endOfAgent"):
            self.open = {
                key: question
                for key, question in self.open.items()
                if (question.invocation_id, question.author) != (run, author) or not self.in_group(question)
            }

    def in_group(self, question: AdkQuestion) -> bool:
        """Whether an agent asks that stands in a sequence, or in parallel to others, in an app with resumability."""
        return bool(self._groups.get(question.invocation_id, set()) - {question.author})

    def _ends_turn(self, event: SessionEvent) -> bool:
        """Whether the agent waits for the user after this event."""
        if event.get("author") == "user":
            return False
        if event.get("longRunningToolIds") or (event.get("actions") or {}).get("skipSummarization"):
            return True
        if _responses(event):  # the model is told next, unless a call beside them has no result yet
            beside = [key for key, question in self.open.items() if question.invocation_id == event.get("invocationId")]
            return not self.first_news.issuperset(beside)
        return not _calls(event)


def id_of(call_id: str, times: int) -> str:
    """The id of a question that is asked under this call's id for the n-th time."""
    return call_id if times == 1 else f"{call_id}#{times}"


def questions_of(event: SessionEvent, asked: Counter[str]) -> dict[str, AdkQuestion]:
    """What an event asks, by the ids of the calls; `asked` counts on."""
    found = {}
    for call in _calls(event):
        if call.get("id") and _runs_long(call, event):
            asked[call["id"]] += 1
            found[call["id"]] = AdkQuestion(
                call, str(event.get("invocationId")), asked[call["id"]], event.get("branch"), event.get("author")
            )
    return found


def _runs_long(call: dict[str, Any], event: SessionEvent) -> bool:
    """Older sessions do not mark all of them (`extract_event_interrupt_ids`)."""
    return call["id"] in (event.get("longRunningToolIds") or ()) or call.get("name") in (INPUT, CREDENTIAL)


def error_of(event: SessionEvent) -> dict[str, Any] | None:
    """What an event says of a failure."""
    if not event.get("errorCode"):
        return None
    return {"code": event["errorCode"], "message": event.get("errorMessage")}


def values_of(state: dict[str, Any], events: list[SessionEvent]) -> dict[str, Any]:
    """A state, and the messages of events."""
    return {**state, "messages": [message for event in events if (message := message_of(event))]}


def message_of(event: SessionEvent) -> dict[str, Any] | None:
    """What an event says to a person; not what the model thinks, and not calls and results."""
    text = "".join(part["text"] for part in _parts(event) if part.get("text") and not part.get("thought"))
    if not text:
        return None
    role = "user" if event.get("author") == "user" else "assistant"
    return {"role": role, "content": text, "id": event.get("id"), "name": event.get("author")}


def _only_confirms(event: SessionEvent) -> bool:
    responses = _responses(event)
    return bool(responses) and all(response.get("name") == CONFIRMATION for response in responses)


def _was_unreadable(event: SessionEvent) -> bool:
    """Whether the answer had another shape than a confirmation has: it is in the session, but counts for nothing."""
    return event.get("errorCode") == "ValidationError" and "ToolConfirmation" in str(event.get("errorMessage"))


def _without_rewound(events: list[SessionEvent]) -> list[SessionEvent]:
    """What a rewind has undone is over (`events/_rewind_events.py`)."""
    kept: list[SessionEvent] = []
    for event in events:
        target = (event.get("actions") or {}).get("rewindBeforeInvocationId")
        if target is None:
            kept.append(event)
            continue
        first = next((index for index, old in enumerate(kept) if old.get("invocationId") == target), len(kept))
        del kept[first:]
    return kept


def _parts(event: SessionEvent) -> list[dict[str, Any]]:
    return (event.get("content") or {}).get("parts") or []


def _calls(event: SessionEvent) -> list[dict[str, Any]]:
    return [part["functionCall"] for part in _parts(event) if part.get("functionCall")]


def _responses(event: SessionEvent) -> list[dict[str, Any]]:
    return [part["functionResponse"] for part in _parts(event) if part.get("functionResponse")]
