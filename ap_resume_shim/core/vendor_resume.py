"""Vendor resumes: requests with which today's clients answer a question, in the convention of their backend.

A dialect lists the conventions of its clients (`Dialect.conventions`). A convention recognises a request, describes it
as a resume of the draft, and refuses it in a form that its clients report clearly. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

from pydantic import ValidationError

from ap_resume_shim.core import forms, strictjson
from ap_resume_shim.core.errors import InvalidRequest, ResumeError
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.json_values import depth
from ap_resume_shim.core.protocol import Mode, Resume, RunResume, check_segment
from ap_resume_shim.core.steps.client import Reply

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import C, Found
    from ap_resume_shim.core.interrupt import Interrupt

When = Literal["always", "if_interrupted"]
"""`always`: the request is an answer. `if_interrupted`: it is an answer only if the thread has a question, and
otherwise a new turn."""


@dataclass(frozen=True)
class ClientRequest:
    """A client's own request to the backend."""

    method: str
    path: str
    """Decoded, and without the prefix."""
    query: str = ""
    """As sent, without the question mark."""
    headers: Headers = ()
    """Names in lower case."""
    body: bytes = b""

    @cached_property
    def json(self) -> Any:
        """The body, whatever its media type: servers read JSON under any. None if it is not JSON.

        Of duplicate keys the last one counts, as for the servers. Raises `RecursionError`.
        """
        try:
            return strictjson.lenient(self.body)
        except ValueError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body if it is a JSON object, else an empty one."""
        return self.json if isinstance(self.json, dict) else {}

    @cached_property
    def form(self) -> dict[str, str]:
        """The fields of the body if it is a form, else an empty dict; of duplicate names the last one counts."""
        return forms.read(self.body, self.header("content-type") or "")

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query; of duplicate names the last one counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def header(self, name: str) -> str | None:
        """Return the first field with that name; `name` is in lower case. None if there is none."""
        return next((value for key, value in self.headers if key == name), None)


class Convention:
    """One way in which clients of a backend answer a question. Stateless and pure."""

    name: str
    """For counts and logs, such as `langgraph-v1`."""

    methods: frozenset[str] = frozenset({"POST"})
    """The methods of the requests that `matches` may recognise."""

    def matches(self, method: str, path: str) -> bool:
        """Return True if a request with this method and decoded path may be a vendor resume.

        It is called for every request with one of `methods`, so it must be cheap. The body of a request that matches
        is read.
        """
        raise NotImplementedError

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer that a request carries; None if it carries none."""
        raise NotImplementedError

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any] | None:
        """Return the draft's fields with the ids of `found.interrupts`, for clients that name a question otherwise.

        None if the request answers none of the thread's questions, which is only possible with `if_interrupted`. The
        fields of a name that is not pending pin that name, so that the verdict refuses them.
        """
        return vendor.fields

    websocket: bool = False
    """True if the answers are messages of a WebSocket: `matches` is called for its handshake, a GET, and `read` with
    each message of the client as the body of that request. `methods` is then empty."""

    def is_reply(self, vendor: VendorResume, message: bytes) -> bool:
        """Return True if a message of the server, in a WebSocket, is the response to this answer."""
        raise NotImplementedError

    checks_value: bool = True
    """True if a value is refused that a resume of the draft could not carry (`Dialect.check`), or that violates the
    schema of its question. False if clients send values in a form of the backend's own, which it reads itself."""

    resends: bool = False
    """True if clients send an answer again when its response is lost, or queue a second click until the response ends.
    The same answer is then refused for a moment after the response, too, since the agent may have asked its next
    question by then."""

    def reads_body(self, vendor: VendorResume, response: Response) -> bool:
        """Return True if `took` needs the body of a 2xx response: a short JSON value and no stream."""
        return False

    def took(self, vendor: VendorResume, response: Response) -> bool:
        """Return True if a 2xx response means that the backend took the answer. With `reads_body`, it is complete."""
        return True

    def commits_late(self, vendor: VendorResume) -> bool:
        """Return True if a 2xx comes before the commit, although the backend commits with its response elsewhere."""
        return False

    def runs_in_response(self, vendor: VendorResume) -> bool:
        """Return True if the thread's state shows the answer only when the whole response has been sent."""
        return False

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return the response for a refused answer, in a form that the clients of this convention report.

        By default, the draft's `ErrorResponse` with the message in `detail`, too, where FastAPI's servers have it.
        """
        return never_5xx(error, {"detail": error.message, **error.body()})


def never_5xx(error: ResumeError, value: Any) -> Reply:
    """Return a refusal with the error's status; 5xx becomes 409, since some clients send an answer again after 5xx."""
    return Reply(409, value) if error.http_status >= 500 else Reply(error.http_status, value, error.headers)


@dataclass(frozen=True)
class VendorResume:
    """A vendor resume, as its convention reads it."""

    convention: Convention
    request: ClientRequest = field(repr=False)
    thread_id: str | None
    """None if the request names only a run or a task: `Dialect.locate` looks the thread up."""
    mode: Mode
    """The form of the backend's response."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the draft's `RunResume`: `input`, `interrupt_id`, `config`."""
    when: When = "always"
    run_id: str | None = None
    """The run that the request names: only its questions count."""
    refused: ResumeError | None = None
    """The error if the request must not be sent, whatever the thread's state is."""

    def resume(self, thread_id: str, *, now: str, nonce: str) -> Resume:
        """Return the vendor resume as a resume of the draft. Raises `InvalidRequest` for invalid ids."""
        body = body_of(thread_id, self.fields)
        check_segment("thread_id", body.thread_id)
        value = {"thread_id": thread_id, **self.fields, "convention": self.convention.name, "run_id": self.run_id}
        return Resume(body, self.mode, now, value, nonce, run_id=self.run_id)

    def addressed(self, resume: Resume, found: Found[Any]) -> Resume | None:
        """Return the resume with the ids of the questions that it answers; None if it answers none of the thread's.

        Raises `UnreadableAnswer`.
        """
        with _readable():
            fields = self.convention.addressed(self, found)
        return None if fields is None else resume.with_body(body_of(resume.thread_id, fields))


class UnreadableAnswer(InvalidRequest):
    """A request that a convention cannot read: its fields have other types than those of its clients, or it is nested
    too deep.
    """


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ResumeError:
        raise
    except Exception as error:
        problem = "it is nested too deep" if isinstance(error, RecursionError) else "a field has an unexpected type"
        raise UnreadableAnswer(
            f"The shim cannot read whether this request is an answer, and did not send it: {problem}."
        ) from error


def read_answer(conventions: Iterable[Convention], request: ClientRequest) -> VendorResume | None:
    """Return the answer that a request carries, in the first convention that finds one; None if it carries none.

    Raises `UnreadableAnswer`, also for an answer that is nested deeper than the draft's routes accept.
    """
    with _readable():
        vendor = next((found for each in conventions if (found := each.read(request)) is not None), None)
        if vendor is not None and any(depth(value) > strictjson.MAX_DEPTH for value in vendor.fields.values()):
            raise RecursionError
        return vendor


def body_of(thread_id: str, fields: Mapping[str, Any]) -> RunResume:
    """Return the body of the draft with these fields. Raises `InvalidRequest` for invalid ids."""
    try:
        return RunResume.model_validate({"thread_id": thread_id, **fields})
    except ValidationError:
        raise InvalidRequest("The ids in this answer are not those of a thread or a question.") from None


def by_question(answers: Mapping[str, Any], found: Found[Any]) -> dict[str, Any]:
    """Return the draft's fields for answers by interrupt id: a pin for one, and for the first that is not pending."""
    pending = {interrupt.id for interrupt in found.interrupts}
    name = next((name for name in answers if name not in pending), None)
    if name is None and len(answers) == 1:
        (name,) = answers
    return {"input": dict(answers)} if name is None else {"input": answers[name], "interrupt_id": name}


def limited_to(found: Found[C], run_id: str, interrupts: tuple[Interrupt, ...]) -> Found[C]:
    """Return the thread as a client that names a run sees it: with the questions of that run only."""
    waits_elsewhere = found.status == "interrupted" and not interrupts
    status = "idle" if waits_elsewhere else found.status
    return replace(found, status=status, interrupts=interrupts, answered=(), breakpoint=False, run_id=run_id)
