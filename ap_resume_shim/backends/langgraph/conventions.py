"""How clients of LangGraph's servers and Aegra answer without the shim.

Four routes accept an answer: creating a run (v1), commands (v2, over HTTP and in a WebSocket), the server's own A2A
route, and crons, which answer any question that is pending when they fire. Recorded with langgraph-sdk and
@langchain/langgraph-sdk. The servers match the decoded path, and read JSON under any media type.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf, nan
from typing import Any

from ap_resume_shim.backends.langgraph.state import INTERRUPT_ID
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import Conflict, InvalidRequest, NotFound, ResumeError, UnsupportedInput
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.json_rpc import A2aCall
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume

_RUNS = re.compile(r"/threads/([^/]+)/runs(|/wait|/stream)")
_CRONS = re.compile(r"/threads/([^/]+)/runs/crons()")
_A2A = re.compile(r"/a2a/[^/]+")
_COMMANDS = re.compile(r"/threads/([^/]+)/commands")
_EVENTS = re.compile(r"/threads/([^/]+)/stream/events")


class CreateRun(Convention):
    """v1: `POST /threads/{thread_id}/runs`, `/runs/wait` or `/runs/stream` with `command.resume`."""

    name = "langgraph-v1"
    routes = _RUNS
    resends = True  # `useStream` sends a second click when the stream of the first one ends

    def matches(self, method: str, path: str) -> bool:
        """Return True for a POST to one of `routes`."""
        return method == "POST" and self.routes.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer if `command` has the key `resume`; null and false are answers, too."""
        path, command = self.routes.fullmatch(request.path), request.object.get("command")
        if path is None or not isinstance(command, dict) or "resume" not in command:
            return None
        fields = {"input": command["resume"], **_place(request.object)}
        return VendorResume(self, request, path[1], Mode(path[2]), fields)


class ThreadCron(CreateRun):
    """`POST /threads/{thread_id}/runs/crons` with `command.resume`: it answers each time the cron fires."""

    name = "langgraph-cron"
    routes = _CRONS

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return a resume that is always refused: it would answer a question that nobody has asked yet."""
        vendor = super().read(request)
        refused = UnsupportedInput(
            "A cron with `command.resume` would answer whatever the thread asks when it fires: answer the question "
            "when it is asked."
        )
        return None if vendor is None else replace(vendor, refused=refused)


class Commands(Convention):
    """v2: `POST /threads/{thread_id}/commands` with `input.respond`, or with `run.start` if the thread has a question.

    `input.respond` without an id answers the pending question (on Aegra). `run.start` answers if its input is not null.
    """

    name = "langgraph-v2"
    routes = _COMMANDS

    def __init__(self, *, run_start_answers: bool = True) -> None:
        """`run_start_answers`: False for servers on which `run.start` always starts a new run."""
        self._run_start_answers = run_start_answers

    def matches(self, method: str, path: str) -> bool:
        """Return True for the route of commands."""
        return method == "POST" and self.routes.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer of `input.respond` or `run.start`."""
        path, params = self.routes.fullmatch(request.path), request.object.get("params")
        if path is None:
            return None
        params = params if isinstance(params, dict) else {}
        match request.object.get("method"):
            case "input.respond":
                fields = {**_responses(params), **_place(params)}
                return VendorResume(self, request, path[1], Mode.BACKGROUND, fields)
            case "run.start" if self._run_start_answers and params.get("input") is not None:
                fields = {"input": params["input"], **_place(params)}
                return VendorResume(self, request, path[1], Mode.BACKGROUND, fields, "if_interrupted")
            case _:
                return None

    def reads_body(self, vendor: VendorResume, response: Response) -> bool:
        """Return True: each response is a short JSON object."""
        return True

    def took(self, vendor: VendorResume, response: Response) -> bool:
        """Return True unless the 200 is an error, which the server sends before it does anything."""
        value = response.json
        return not (isinstance(value, dict) and value.get("type") == "error")

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return the server's error: status 200, since the Python client hides the reason of any other status."""
        value = {
            "type": "error",
            "id": vendor.request.object.get("id"),
            "error": _error_code(error),
            "message": error.message,
        }
        return Reply(200, value, error.headers)


class CommandSocket(Commands):
    """v2 in a WebSocket: the messages of `/threads/{thread_id}/stream/events` are the same commands.

    Their ids are unique in one WebSocket only. The server's events come between its responses.
    """

    name = "langgraph-v2-websocket"
    methods = frozenset()
    routes = _EVENTS
    websocket = True

    def matches(self, method: str, path: str) -> bool:
        """Return True for the handshake. A POST to the same path opens a stream of events."""
        return method == "GET" and self.routes.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer of a command. The servers refuse one whose id is no number."""
        return super().read(request) if isinstance(request.object.get("id"), int | float) else None

    def is_reply(self, vendor: VendorResume, message: bytes) -> bool:
        """Return True for a success or an error with the id of the command.

        An error without an id is the response to a command that the server could not parse, or whose id it refuses.
        """
        try:
            value = strictjson.read(message)
        except ValueError:
            return False
        if not isinstance(value, dict) or value.get("type") not in ("success", "error"):
            return False
        sent, returned = vendor.request.object["id"], value.get("id")
        if returned is None:
            return value["type"] == "error" and (isinstance(sent, bool) or not _is_strict(vendor.request.body))
        return _as_double(returned) == _as_double(sent)


class A2aRoute(A2aCall):
    """The server's own A2A route, on by default: `POST /a2a/{assistant_id}`, where a context is a thread.

    Text is an answer if the thread has a question; a data part with `resume`, and `command.resume`, are always answers.
    A message without a context resumes nothing; without a task, only a command resumes the thread.
    """

    name = "langgraph-a2a"

    def matches(self, method: str, path: str) -> bool:
        """Return True for the route."""
        return method == "POST" and _A2A.fullmatch(path) is not None

    def read_message(
        self, request: ClientRequest, mode: Mode, params: dict[str, Any], message: dict[str, Any]
    ) -> VendorResume | None:
        """Return the answer if the message names a thread and, unless it has a command, a task."""
        thread_id, command, parts = message.get("contextId"), message.get("command"), message.get("parts")
        if not isinstance(thread_id, str) or not thread_id:
            return None
        if isinstance(command, dict) and "resume" in command:
            return VendorResume(self, request, thread_id, mode, {"input": command["resume"]})
        if not message.get("taskId") or not isinstance(parts, list):
            return None
        parts = [part for part in parts if isinstance(part, dict)]
        data = [
            part["data"]["resume"] for part in parts if isinstance(part.get("data"), dict) and "resume" in part["data"]
        ]
        if data and data[0] is not None:  # null is no answer here
            return VendorResume(self, request, thread_id, mode, {"input": data[0]})
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        return (
            VendorResume(self, request, thread_id, mode, {"input": "\n".join(texts)}, "if_interrupted")
            if texts
            else None
        )


def _responses(params: dict[str, Any]) -> dict[str, Any]:
    """Return `input` and `interrupt_id` for one response, or an `input` by id for several."""
    several = params.get("responses")
    if isinstance(several, list) and several:
        answers = {str(item.get("interrupt_id")): item.get("response") for item in several if isinstance(item, dict)}
        if len(answers) > 1 and all(INTERRUPT_ID.fullmatch(interrupt_id) for interrupt_id in answers):
            return {"input": answers}
        # An id that no question can have is not pending.
        odd = next((name for name in answers if not INTERRUPT_ID.fullmatch(name)), next(iter(answers), ""))
        return {"input": answers.get(odd), "interrupt_id": odd}
    answer = {"input": params.get("response")}
    interrupt_id = params.get("interrupt_id")
    return answer if interrupt_id is None else {**answer, "interrupt_id": str(interrupt_id)}


def _is_strict(body: bytes) -> bool:
    """Return False for JSON that not all servers read, such as half of a surrogate pair."""
    try:
        strictjson.loads(body)
    except ValueError:
        return False
    return True


def _as_double(number: Any) -> float:
    """Return a number as servers return it; NaN for anything else."""
    try:
        return float(number) if isinstance(number, int | float) else nan
    except OverflowError:
        return inf


def _error_code(error: ResumeError) -> str:
    """Return the code of the v2 protocol that is nearest to an error."""
    if isinstance(error, NotFound):
        return "no_such_run"
    if isinstance(error, Conflict):
        return "no_such_interrupt"
    return "invalid_argument" if isinstance(error, InvalidRequest) else "unknown_error"


def _place(body: dict[str, Any]) -> dict[str, Any]:
    """Return the draft's `config` with everything that could move the run to another checkpoint."""
    config = body.get("config")
    parts: list[Any] = [config.get("configurable") if isinstance(config, dict) else None, body.get("checkpoint")]
    if body.get("checkpoint_id") is not None:
        parts.append({"checkpoint_id": body["checkpoint_id"]})
    merged = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
    return {"config": {"configurable": merged}} if merged else {}
