"""Requests and responses that LangGraph's servers and Aegra share: paths, the create-run body, runs and error texts.

The facts come from the recordings; `docs/backends/langgraph.md` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args
from uuid import UUID, uuid5

from ap_resume_shim.backends.langgraph.state import INTERRUPT_ID, Questions, interrupts_of
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Answers, C, Decision, Found, Started
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup
from ap_resume_shim.core.errors import InvalidRequest, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import is_uuid
from ap_resume_shim.core.protocol import Mode, Resume, RunStatus
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, Steps

REDIRECTING = frozenset({"thread_id", "checkpoint_ns", "checkpoint_map", "checkpoint_id", "__pregel_*"})
"""Names in `config.configurable` that move a run to another thread, branch or checkpoint, or change how it runs."""
WAY_OUT = (
    "If the step fails because of that answer: update the state as the node before the step (`POST "
    "/threads/{thread_id}/state` with `as_node`, which is `__start__` before the first), send the resume without "
    "`input`, and answer the next question."
)
RESERVED = frozenset({"assistant_id", "checkpoint", "checkpoint_id"})
VOCABULARY = frozenset(
    {
        "after_seconds",
        "checkpoint_during",
        "context",
        "durability",
        "feedback_keys",
        "interrupt_after",
        "interrupt_before",
        "langsmith_tracer",
        "stream",
        "stream_resumable",
        "stream_subgraphs",
        "strict_resume",
    }
)
"""Fields of the servers' create-run bodies that the draft does not have and that a resume may contain."""

_HEAD: Mapping[str, Any] = {"checkpoint_id": None, "checkpoint_ns": "", "checkpoint_map": {}}
"""Fields of `config.configurable` that select the thread's latest checkpoint."""
_NO_FIELDS: Mapping[str, Any] = {}
_DEFAULTS = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""UUID namespace of the ids of default assistants."""
_RESUME_PATHS = {Mode.BACKGROUND: "/runs", Mode.WAIT: "/runs/wait", Mode.STREAM: "/runs/stream"}
_INTERNAL = ("__interrupt__", "__error__", "__feedback__")
_ACTIVE = ("pending", "running")
_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)

RULES = (
    Rule(422, "thread_busy", "already running a task"),  # the JavaScript server's 409
    Rule(400, "thread_not_interrupted", "not in interrupted state"),  # Aegra
    Rule(404, "agent_not_found", "assistant"),
    Rule(422, "agent_not_found", "assistant"),
    Rule(404, "agent_not_found", "graph"),
)
"""Meaning of each refusal of a resume. The thread was just read, so "Thread or assistant not found" is about the
assistant."""

_NO_AGENT = (Rule(400, "agent_not_found"), Rule(404, "agent_not_found"), Rule(422, "agent_not_found"))


def thread_path(resume: Resume) -> str:
    """Return the path of the thread."""
    return f"/threads/{segment(resume.thread_id)}"


def run_path(resume: Resume, run_id: str) -> str:
    """Return the path of the run."""
    return f"{thread_path(resume)}/runs/{segment(run_id)}"


def assistant_lookup(agent_id: str) -> Request:
    """Return the request that reads an assistant: `agent_id` is its id, or else the name of a graph.

    The name of a graph selects its default assistant, whose id all servers of the family derive from the name.
    """
    return Request.get(f"/assistants/{segment(agent_id if is_uuid(agent_id) else str(uuid5(_DEFAULTS, agent_id)))}")


def choose_agent(wanted: str | None, found: Response, own: str | None, graph: Any) -> Steps[str | None]:
    """Return the assistant for the resume: the thread's `own`, or the `wanted` one if it has the same graph.

    `found` is the response to `assistant_lookup(wanted)`; `graph` is the thread's graph, if its state names it. The
    name of the thread's own graph means its `own` assistant. Raises `InvalidRequest` for an assistant of another graph.
    """
    if wanted is None:
        return own
    assistant = read_lookup(found, _NO_AGENT)
    agent_id, its_graph = assistant.get("assistant_id") or wanted, assistant.get("graph_id")
    _same_graph_or_refuse(wanted, its_graph, graph)
    if own in (None, agent_id):
        return str(agent_id)
    (answer,) = yield from Ask((assistant_lookup(str(own)),))
    if not answer.ok:  # the assistant was deleted
        return str(agent_id)
    _same_graph_or_refuse(wanted, its_graph, graph or answer.json.get("graph_id"))
    same_graph = answer.json.get("graph_id") == its_graph
    return own if same_graph and not is_uuid(wanted) else str(agent_id)


def create_request(
    resume: Resume, found: Found[C], fields: dict[str, Any], *, to_head: Mapping[str, Any] = _NO_FIELDS
) -> Request:
    """Build the create-run request. Absent fields are omitted, since LangGraph rejects null with 422."""
    body = resume.body
    value: dict[str, Any] = {**body.extra, "assistant_id": found.agent_id, **fields}
    if body.metadata is not None:
        value["metadata"] = body.metadata
    if body.config is not None:
        value["config"] = body.config.model_dump(exclude_unset=True)
    if to_head:
        config = value.get("config") or {}
        value["config"] = {**config, "configurable": {**(config.get("configurable") or {}), **to_head}}
    if body.webhook is not None:
        value["webhook"] = body.webhook
    if resume.mode is not Mode.BACKGROUND:
        value["on_disconnect"] = body.on_disconnect
    if resume.mode is Mode.STREAM:
        # LangGraph's mode `messages-tuple` yields events with the name `messages`.
        value["stream_mode"] = ["messages-tuple" if mode == "messages" else mode for mode in body.stream_modes]
    accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
    return Request.post(thread_path(resume) + _RESUME_PATHS[resume.mode], value, accept)


def command(verdict: Answers) -> dict[str, Any]:
    """Return the answers, keyed by interrupt id.

    This form delivers every value unchanged, and a late duplicate cannot answer the next question.
    """
    return {"command": {"resume": verdict.by_id}}


def check_agent(found: Found[C]) -> None:
    """Raise `InvalidRequest` if no agent is known: a guessed agent would lose the interrupt."""
    if found.agent_id is None:
        raise InvalidRequest(
            "The thread does not show the agent of its last run: set `agent_id`.", {"field": "agent_id"}
        )


def read_started(response: Response, body: bytes, resume: Resume, found: Found[C]) -> Started[C] | None:
    """Read the run: from the create-run body, from `Content-Location`, or from the stream's first event.

    Raises `UpstreamUnrecognised` if the body in background mode is not a run.
    """
    if resume.mode is Mode.BACKGROUND:
        run = Response(response.status, response.headers, body).json
        if not isinstance(run, dict) or not isinstance(run.get("run_id"), str):
            raise UpstreamUnrecognised("The backend accepted the resume, but its response is not a run.")
        return Started(
            run["run_id"],
            run.get("assistant_id") or found.agent_id,
            run.get("created_at"),
            run.get("updated_at"),
            next((status for status in _STATUSES if status == run.get("status")), "pending"),
            context=found.context,
        )
    location = response.header("content-location")
    if location:
        return Started(location.rstrip("/").rpartition("/")[2], found.agent_id, context=found.context)
    first = sse.first_event(body)
    metadata = first.json if first is not None and first.name == "metadata" else None
    if isinstance(metadata, dict) and isinstance(metadata.get("run_id"), str):
        return Started(metadata["run_id"], found.agent_id, context=found.context)
    return None


def read_ended(body: bytes) -> Ended:
    """Read the body of a wait: the values, without the fields that the server adds, the error and the questions.

    A body with only the server's own fields has no values.
    """
    value = Response(200, (), body.strip() or b"null").json
    if not isinstance(value, dict):
        return Ended(value)
    values = {key: item for key, item in value.items() if key not in _INTERNAL}
    stopped_at = _complete_interrupts(value.get("__interrupt__"))
    return Ended(values or (None if value else {}), value.get("__error__"), stopped_at)


def _complete_interrupts(raw: Any) -> tuple[Interrupt, ...]:
    """Return the questions in the body of a wait; none if one of them lacks a field, or could not be answered.

    Servers that omit `response_schema` may list one of two questions.
    """
    complete = isinstance(raw, list) and all(
        isinstance(item, dict) and {"id", "value", "response_schema"} <= item.keys() for item in raw
    )
    interrupts = interrupts_of(raw) if complete else ()
    return interrupts if all(INTERRUPT_ID.fullmatch(str(each.id)) for each in interrupts) else ()


def run_has_ended(response: Response) -> bool:
    """True if the run is over, or the response is not a run."""
    run = response.json
    return not isinstance(run, dict) or run.get("status") not in _ACTIVE


def newest(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the newest run, by `created_at` because the JavaScript server lists the oldest run first."""
    return max(runs, key=lambda run: str(run.get("created_at")), default=None)


def is_active(run: dict[str, Any]) -> bool:
    """True if the run is pending or running."""
    return run.get("status") in _ACTIVE


def _same_graph_or_refuse(agent_id: str, graph: Any, thread_graph: Any) -> None:
    """Raise `InvalidRequest` for an agent of another graph, which would end the thread and lose the question."""
    if graph is not None and thread_graph is not None and graph != thread_graph:
        raise InvalidRequest(
            f"Agent {agent_id!r} runs the graph {graph!r}, but the interrupt belongs to {thread_graph!r}. "
            "Leave `agent_id` out to use the thread's own agent.",
            {"field": "agent_id"},
        )


def place(state: dict[str, Any]) -> dict[str, Any]:
    """Return the allowed values of `REDIRECTING` names: the checkpoint at which the thread already is."""
    head = (state.get("checkpoint") or {}).get("checkpoint_id")
    return {} if head is None else {"checkpoint_id": head, "checkpoint_map": {"": head}}


def to_head(row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that override the checkpoint of an earlier run in the thread's row.

    Older servers and the JavaScript server merge the row's configuration into each new run, which would go back to
    that checkpoint.
    """
    configurable = (row.get("config") or {}).get("configurable") or {}
    return {name: value for name, value in _HEAD.items() if name in configurable}


def answered_beside(resume: Resume, state: dict[str, Any]) -> Steps[list[Interrupt]]:
    """Return the answered questions of steps that ended in parallel to a failed one.

    The current LangGraph omits them from the latest state, and lists them in the checkpoint that is read by its id.
    """
    head = place(state).get("checkpoint_id")
    if head is None:
        return []
    (answer,) = yield from Ask((Request.get(f"{thread_path(resume)}/state/{segment(head)}"),))
    return Questions(answer.json).done if answer.ok else []


def answer(verdict: Decision, *, go_on: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the create-run body that carry the verdict; `go_on` are those that carry no answer."""
    return command(verdict) if isinstance(verdict, Answers) else go_on
