"""What LangGraph's servers and Aegra share: paths, the create-run body, runs, interrupts, error texts.

Facts are from the recordings; `docs/backends/langgraph.md` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args
from uuid import UUID, uuid5

from ap_resume_shim.backends.langgraph.state import Questions
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
"""Names in `config.configurable` that move a run to another thread, branch or moment, or change how it runs."""
WAY_OUT = (
    "If that answer is why the step fails: update the state as the node before the step (`POST "
    "/threads/{thread_id}/state` with `as_node`, which is `__start__` before the first), send the resume without "
    "`input`, and answer the question that is asked then."
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
"""What the servers' create-run bodies have beside the draft's fields and those that a resume refuses."""

_HEAD: Mapping[str, Any] = {"checkpoint_id": None, "checkpoint_ns": "", "checkpoint_map": {}}
"""In `config.configurable`: the thread's head."""
_NO_FIELDS: Mapping[str, Any] = {}
_DEFAULTS = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""The namespace of default assistants' ids."""
_RESUME_PATHS = {Mode.BACKGROUND: "/runs", Mode.WAIT: "/runs/wait", Mode.STREAM: "/runs/stream"}
_INTERNAL = ("__interrupt__", "__error__", "__feedback__")
_ACTIVE = ("pending", "running")
_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)

RULES = (
    Rule(422, "thread_busy", "already running a task"),  # JavaScript's way to say 409
    Rule(400, "thread_not_interrupted", "not in interrupted state"),  # Aegra's
    Rule(404, "agent_not_found", "assistant"),
    Rule(422, "agent_not_found", "assistant"),
    Rule(404, "agent_not_found", "graph"),
)
"""What refusals of a resume mean. The thread was just read, so "Thread or assistant not found" is the assistant."""

_NO_AGENT = (Rule(400, "agent_not_found"), Rule(404, "agent_not_found"), Rule(422, "agent_not_found"))


def thread_path(resume: Resume) -> str:
    """The thread's address."""
    return f"/threads/{segment(resume.thread_id)}"


def run_path(resume: Resume, run_id: str) -> str:
    """The run's address."""
    return f"{thread_path(resume)}/runs/{segment(run_id)}"


def assistant_lookup(agent_id: str) -> Request:
    """Find an agent: a UUID is an assistant's id, anything else the name of a graph, which means its default assistant.

    All servers of the family derive the id of a graph's default assistant from the graph's name.
    """
    return Request.get(f"/assistants/{segment(agent_id if is_uuid(agent_id) else str(uuid5(_DEFAULTS, agent_id)))}")


def choose_agent(wanted: str | None, found: Response, own: str | None, graph: Any) -> Steps[str | None]:
    """The assistant that goes on: the thread's `own`, unless another one of the same graph is `wanted` by its id.

    `found` is the answer to the lookup of the wanted one, `graph` the thread's graph where its state names it.
    """
    if wanted is None:
        return own
    assistant = read_lookup(found, _NO_AGENT)
    agent_id, its_graph = assistant.get("assistant_id") or wanted, assistant.get("graph_id")
    _same_graph_or_refuse(wanted, its_graph, graph)
    if own in (None, agent_id):
        return str(agent_id)
    (answer,) = yield from Ask((assistant_lookup(str(own)),))
    if not answer.ok:  # deleted since
        return str(agent_id)
    _same_graph_or_refuse(wanted, its_graph, graph or answer.json.get("graph_id"))
    of_its_graph = answer.json.get("graph_id") == its_graph
    return own if of_its_graph and not is_uuid(wanted) else str(agent_id)


def create_request(
    resume: Resume, found: Found[C], given: dict[str, Any], *, to_head: Mapping[str, Any] = _NO_FIELDS
) -> Request:
    """The create-run request. Absent fields are left out: LangGraph answers 422 to null."""
    body = resume.body
    value: dict[str, Any] = {**body.extra, "assistant_id": found.agent_id, **given}
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
        # The mode that yields events called `messages` has another name there.
        value["stream_mode"] = ["messages-tuple" if mode == "messages" else mode for mode in body.stream_modes]
    accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
    return Request.post(thread_path(resume) + _RESUME_PATHS[resume.mode], value, accept)


def command(verdict: Answers) -> dict[str, Any]:
    """The answer, keyed by interrupt id: exact for every value, and no late duplicate answers the next question."""
    return {"command": {"resume": verdict.by_id}}


def check_agent(found: Found[C]) -> None:
    """Refuse to resume a thread for nobody: a guessed agent would lose the interrupt."""
    if found.agent_id is None:
        raise InvalidRequest(
            "The thread does not tell who ran last: name the agent in `agent_id`.", {"field": "agent_id"}
        )


def read_started(response: Response, body: bytes, resume: Resume, found: Found[C]) -> Started[C] | None:
    """The run: by the create-run body, by `Content-Location`, or by the stream's first event."""
    if resume.mode is Mode.BACKGROUND:
        run = Response(response.status, response.headers, body).json
        if not isinstance(run, dict) or not isinstance(run.get("run_id"), str):
            raise UpstreamUnrecognised("The backend took the resume, but its answer is not a run.")
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
    told = first.json if first is not None and first.name == "metadata" else None
    if isinstance(told, dict) and isinstance(told.get("run_id"), str):
        return Started(told["run_id"], found.agent_id, context=found.context)
    return None


def read_ended(body: bytes) -> Ended:
    """The body of a wait: values, and beside them what the server adds. Only its own additions mean no values."""
    value = Response(200, (), body.strip() or b"null").json
    if not isinstance(value, dict):
        return Ended(value)
    values = {key: item for key, item in value.items() if key not in _INTERNAL}
    return Ended(values or (None if value else {}), value.get("__error__"))


def run_has_ended(response: Response) -> bool:
    """Whether a run is over, or cannot be told from one that is."""
    run = response.json
    return not isinstance(run, dict) or run.get("status") not in _ACTIVE


def newest(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The thread's last run: JavaScript's server lists the oldest first, so the order of the list is not used."""
    return max(runs, key=lambda run: str(run.get("created_at")), default=None)


def is_active(run: dict[str, Any]) -> bool:
    """Whether a run is going on."""
    return run.get("status") in _ACTIVE


def _same_graph_or_refuse(agent_id: str, graph: Any, thread_graph: Any) -> None:
    """An agent of another graph would end the thread without an error, and the question would be lost."""
    if graph is not None and thread_graph is not None and graph != thread_graph:
        raise InvalidRequest(
            f"Agent {agent_id!r} runs the graph {graph!r}, but the interrupt is one of {thread_graph!r}. "
            "Leave `agent_id` out to use the thread's own agent.",
            {"field": "agent_id"},
        )


def place(state: dict[str, Any]) -> dict[str, Any]:
    """What the redirecting names may say: where the thread is anyway."""
    head = (state.get("checkpoint") or {}).get("checkpoint_id")
    return {} if head is None else {"checkpoint_id": head, "checkpoint_map": {"": head}}


def to_head(row: dict[str, Any]) -> dict[str, Any]:
    """What overrides the place that the thread's row has from an earlier run with a `checkpoint`.

    Older servers and JavaScript's merge the row's configuration into each new run, which would leave the head for that
    place again.
    """
    configurable = (row.get("config") or {}).get("configurable") or {}
    return {name: value for name, value in _HEAD.items() if name in configurable}


def answered_beside(resume: Resume, state: dict[str, Any]) -> Steps[list[Interrupt]]:
    """The answered questions of steps that ended beside one that failed.

    The current LangGraph leaves them out of the latest state, and lists them in the checkpoint read by its id.
    """
    head = place(state).get("checkpoint_id")
    if head is None:
        return []
    (answer,) = yield from Ask((Request.get(f"{thread_path(resume)}/state/{segment(head)}"),))
    return Questions(answer.json).done if answer.ok else []


def answer(verdict: Decision, *, go_on: dict[str, Any]) -> dict[str, Any]:
    """The fields of the create-run body that carry the verdict."""
    return command(verdict) if isinstance(verdict, Answers) else go_on
