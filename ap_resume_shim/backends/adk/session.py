"""Derives the state of an ADK session from its events, since it has no status.

The rules are ADK's own: those for open questions (`events/_interrupts.py`) and for the end of a turn
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
"""Prefix of the invocation id of an event that only changes the state. Other events of the user without a message
continue a run."""


@dataclass(frozen=True, slots=True)
class AdkQuestion:
    """A call of a long-running function; its response is the answer."""

    call: dict[str, Any]
    invocation_id: str
    times: int
    """How often a question with this call id was asked so far: a workflow may repeat an id in a loop."""
    branch: str | None = None
    """The branch of the agent that asks, among parallel agents."""
    author: str | None = None
    """The agent that asks."""

    @property
    def id(self) -> str:
        """The question's id: the call's id, with a number if it was used before."""
        return id_of(self.call_id, self.times)

    @property
    def call_id(self) -> str:
        """The id of the call."""
        return str(self.call["id"])

    @property
    def name(self) -> str:
        """The name of the function."""
        return str(self.call.get("name"))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call."""
        return self.call.get("args") or {}

    @property
    def confirms(self) -> str | None:
        """The id of the call that needs the confirmation; None if this is no confirmation."""
        return (self.arguments.get("originalFunctionCall") or {}).get("id")

    @property
    def of_workflow(self) -> bool:
        """True if a node of a workflow asks; False for a tool of an agent."""
        return self.name == INPUT and "interruptId" in self.arguments

    @property
    def interrupt(self) -> Interrupt:
        """The question as an `Interrupt`."""
        schema = self.arguments.get("response_schema") if self.name == INPUT else None
        return Interrupt(self.id, {"name": self.name, "args": self.arguments}, schema)


class Session:
    """A session, from the response to `GET /apps/{app}/users/{user}/sessions/{session}`."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.state: dict[str, Any] = value.get("state") or {}
        self.updated = value.get("lastUpdateTime")
        self.events = _without_rewound(value["events"])
        self.times_asked: Counter[str] = Counter()
        """Number of questions for each call id."""
        self.open: dict[str, AdkQuestion] = {}
        """Questions without an answer, by call id."""
        self.answered: dict[str, AdkQuestion] = {}
        """Questions that the user's newest message has answered, by call id."""
        self._message: list[dict[str, Any]] = []
        """The parts of the user's newest message."""
        self._unused: dict[str, AdkQuestion] = {}
        """Answered confirmations whose calls have no result yet."""
        self._newest: SessionEvent | None = None
        self.provisional: set[str] = set()
        """Ids of calls with a provisional result from the agent, which a long-running function may return at once."""
        self._groups: dict[str, set[str | None]] = {}
        """Agents that contain other agents, by run. Only events with resumability show them; workflows have `nodes`."""
        for event in self.events:
            self._add(event)

    @property
    def status(self) -> ThreadStatus:
        """The session's status, from its newest event."""
        if self.error is not None:
            return "error"
        if self._newest is not None and not self._ends_turn(self._newest):
            return "busy"
        return "interrupted" if self.open else "idle"

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of the newest event, or None."""
        return None if self._newest is None else error_of(self._newest)

    @property
    def invocation_id(self) -> str | None:
        """The id of the newest run."""
        return None if self._newest is None else self._newest.get("invocationId")

    @property
    def to_repeat(self) -> list[dict[str, Any]]:
        """The message that a retry has to repeat: ADK finds a confirmation only in the user's newest message."""
        return self._message if self.answered.keys() & self._unused.keys() else []

    @property
    def question_ids(self) -> frozenset[str]:
        """Ids of all questions, past ones too."""
        return frozenset(id_of(call, n) for call, times in self.times_asked.items() for n in range(1, times + 1))

    @property
    def values(self) -> dict[str, Any]:
        """The session's state, and its messages."""
        return values_of(self.state, self.events)

    def _add(self, event: SessionEvent) -> None:
        if event.get("author") == "user" and not _parts(event):
            if str(event.get("invocationId")).startswith(_STATE_CHANGE):
                return
        elif event.get("author") == "user":
            ids = {response.get("id") for response in _responses(event)}
            answered = {key: self.open.pop(key) for key in list(self.open) if key in ids}
            again = {key: question for key, question in self._unused.items() if key in ids}
            if not answered and not again and _only_confirms(event):  # starts no run (google-adk 2.13.0)
                return
            self.answered, self._message = answered | again, _parts(event)
            self._unused |= {key: question for key, question in answered.items() if question.name == CONFIRMATION}
        elif _was_unreadable(event):
            self.open |= self.answered
            self._unused = {key: question for key, question in self._unused.items() if key not in self.answered}
            self.answered = {}
        else:
            self._note_results(event)
            self._note_end(event)
        self.open |= questions_of(event, self.times_asked)
        self._newest = event

    def _note_results(self, event: SessionEvent) -> None:
        """Store the agent's provisional results of long-running functions, which have the call id of the answer.

        If the event has an error, the run was aborted, and these results replace the answers.
        """
        ids = {str(response.get("id")) for response in _responses(event)}
        self.provisional |= ids
        self._unused = {key: question for key, question in self._unused.items() if question.confirms not in ids}
        if event.get("errorCode"):
            self.open = {key: question for key, question in self.open.items() if key not in ids}

    def _note_end(self, event: SessionEvent) -> None:
        """Remove the questions of an agent in a group that has ended: it does not run again, and gets no answer."""
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
        """True if the agent that asks is part of a sequence or of a parallel group, in an app with resumability."""
        return bool(self._groups.get(question.invocation_id, set()) - {question.author})

    def _ends_turn(self, event: SessionEvent) -> bool:
        """True if the agent waits for the user after this event."""
        if event.get("author") == "user":
            return False
        if event.get("longRunningToolIds") or (event.get("actions") or {}).get("skipSummarization"):
            return True
        if _responses(event):  # the model runs next, unless another call has no result yet
            run = event.get("invocationId")
            pending = [key for key, question in self.open.items() if question.invocation_id == run]
            return not self.provisional.issuperset(pending)
        return not _calls(event)


def id_of(call_id: str, times: int) -> str:
    """Return the id of the n-th question with this call id."""
    return call_id if times == 1 else f"{call_id}#{times}"


def questions_of(event: SessionEvent, times_asked: Counter[str]) -> dict[str, AdkQuestion]:
    """Return the questions in an event, by call id. Increments `times_asked` for each."""
    found = {}
    for call in _calls(event):
        if call.get("id") and _runs_long(call, event):
            times_asked[call["id"]] += 1
            found[call["id"]] = AdkQuestion(
                call, str(event.get("invocationId")), times_asked[call["id"]], event.get("branch"), event.get("author")
            )
    return found


def _runs_long(call: dict[str, Any], event: SessionEvent) -> bool:
    """True for a long-running call. Older sessions do not mark all of them (`extract_event_interrupt_ids`)."""
    return call["id"] in (event.get("longRunningToolIds") or ()) or call.get("name") in (INPUT, CREDENTIAL)


def error_of(event: SessionEvent) -> dict[str, Any] | None:
    """Return the error in an event, with `code` and `message`, or None."""
    if not event.get("errorCode"):
        return None
    return {"code": event["errorCode"], "message": event.get("errorMessage")}


def values_of(state: dict[str, Any], events: list[SessionEvent]) -> dict[str, Any]:
    """Return the state, with the messages of the events."""
    return {**state, "messages": [message for event in events if (message := message_of(event))]}


def message_of(event: SessionEvent) -> dict[str, Any] | None:
    """Return the text of an event as a message, or None. Thoughts, calls and results are left out."""
    text = "".join(part["text"] for part in _parts(event) if part.get("text") and not part.get("thought"))
    if not text:
        return None
    role = "user" if event.get("author") == "user" else "assistant"
    return {"role": role, "content": text, "id": event.get("id"), "name": event.get("author")}


def _only_confirms(event: SessionEvent) -> bool:
    responses = _responses(event)
    return bool(responses) and all(response.get("name") == CONFIRMATION for response in responses)


def _was_unreadable(event: SessionEvent) -> bool:
    """True if ADK could not read the last answer as a confirmation: the session has it, but it answers nothing."""
    return event.get("errorCode") == "ValidationError" and "ToolConfirmation" in str(event.get("errorMessage"))


def _without_rewound(events: list[SessionEvent]) -> list[SessionEvent]:
    """Drop the events that a rewind has undone (`events/_rewind_events.py`)."""
    result: list[SessionEvent] = []
    for event in events:
        target = (event.get("actions") or {}).get("rewindBeforeInvocationId")
        if target is None:
            result.append(event)
            continue
        first = next((index for index, old in enumerate(result) if old.get("invocationId") == target), len(result))
        del result[first:]
    return result


def _parts(event: SessionEvent) -> list[dict[str, Any]]:
    return (event.get("content") or {}).get("parts") or []


def _calls(event: SessionEvent) -> list[dict[str, Any]]:
    return [part["functionCall"] for part in _parts(event) if part.get("functionCall")]


def _responses(event: SessionEvent) -> list[dict[str, Any]]:
    return [part["functionResponse"] for part in _parts(event) if part.get("functionResponse")]
