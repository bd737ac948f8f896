"""Reads the tasks of a context: from the agent's list, or for JSON-RPC 0.3 those in the ledger.

`list_waiting` reads the waiting tasks of all contexts.
"""

from __future__ import annotations

from ap_resume_shim.backends.a2a import bindings as wire
from ap_resume_shim.backends.a2a.task import Json, Task
from ap_resume_shim.core.dialect_helpers import read_refusal
from ap_resume_shim.core.errors import ThreadNotFound, ThreadNotInterrupted, UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.listing import MOST_REQUESTS, Candidate, Listing, Page
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Ask, ReadLedger, Steps


def list_tasks(binding: wire.Binding, resume: Resume) -> Steps[tuple[list[Task], bool]]:
    """Read all pages. Return the context's tasks, and True if the first page changed while the others were read.

    A task that changes meanwhile may be on none of the pages, or on two. Tasks of other contexts are dropped, since a
    server may ignore the filter. Raises `ThreadNotFound` if no task is left.
    """
    listed, page = yield from _page(binding, resume, "")
    first, several = listed, bool(page)
    pages = set[str]()
    while page:
        if page in pages:
            raise UpstreamUnrecognised("The agent's list of tasks is endless: a page refers back to an earlier one.")
        pages.add(page)
        more, page = yield from _page(binding, resume, page)
        listed = [*listed, *more]
    again = first
    if several:
        again, _ = yield from _page(binding, resume, "")
    tasks = {task.id: task for task in map(Task, [*listed, *again]) if task.context_id == resume.thread_id}
    if not tasks:
        raise ThreadNotFound(f"The agent has no task in context {resume.thread_id}. Check `thread_id`.")
    return list(tasks.values()), again != first


def _page(binding: wire.Binding, resume: Resume, page: str) -> Steps[tuple[list[Json], str]]:
    """Read one page of tasks. Return the tasks, and the token of the next page, or the empty string."""
    (answer,) = yield from Ask((binding.tasks(resume.thread_id, page),))
    listed = binding.result(_require_a2a(answer))
    return list(listed.get("tasks") or ()), listed.get("nextPageToken") or ""


_STATES = ("TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED")


def list_waiting(binding: wire.Binding, page: Page) -> Steps[Listing]:
    """List tasks that wait for an answer, then those that wait for a login, each newest first."""
    number, token = page.place(int, str) or (0, "")
    candidates: list[Candidate] = []
    for _ in range(MOST_REQUESTS - 1):  # one was for the agent's card; a page of the agent may be empty
        if number >= len(_STATES):
            return Listing(tuple(candidates))
        room = page.limit - len(candidates)
        if room < 1:
            break
        (answer,) = yield from Ask((binding.waiting(_STATES[number], room, token),))
        listed = binding.result(_require_a2a(answer))
        candidates += (Candidate(Task(task).context_id, task) for task in listed.get("tasks") or ())
        again, token = token, listed.get("nextPageToken") or ""
        if not token or token == again:
            number, token = number + 1, ""
    return Listing(tuple(candidates), [number, token])


def tasks_in_ledger(binding: wire.Binding, resume: Resume) -> Steps[list[Task]]:
    """Read the tasks in the ledger, or the one that the client names.

    Tasks that the agent no longer knows (after a restart) are skipped.
    """
    if resume.run_id is None:
        entries = yield from ReadLedger()
        task_ids = [task_id for entry in entries if isinstance(task_id := entry.facts.get("task"), str)]
    else:
        task_ids = [resume.run_id]
    # Without tasks in the ledger, request one that does not exist, to refuse a client without access to tasks.
    answers = yield from Ask(tuple(binding.task(task_id) for task_id in task_ids or [resume.thread_id]))
    if not task_ids:
        if _require_a2a(answers[0]).status in (401, 403, 429):
            raise read_refusal(answers[0])
        raise ThreadNotInterrupted(
            f"No task of context {resume.thread_id} has passed through the shim, and the agent cannot list them in "
            "version 0.3 of A2A. Start tasks through the shim. Clients that read the agent's card use the URL in it: "
            "set the option `public_url` if that URL does not lead through the shim.",
            {"thread_status": "unknown"},
        )
    tasks = []
    for answer in answers:
        try:
            tasks.append(Task(binding.result(_require_a2a(answer))))
        except ThreadNotFound:
            continue
    if not tasks:
        raise ThreadNotFound(f"The agent no longer has the tasks of context {resume.thread_id}.")
    return tasks


def _require_a2a(answer: Response) -> Response:
    """Return the response. Raises `UpstreamUnrecognised` for 404 and 405, which an A2A server never sends here."""
    if answer.status in (404, 405):
        raise UpstreamUnrecognised(
            f"The backend does not speak A2A at the path in its card: it responded with {answer.status}. "
            "Set the option `path` to the right one.",
            {"upstream_status": answer.status},
        )
    return answer
