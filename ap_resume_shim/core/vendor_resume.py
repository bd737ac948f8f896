"""Vendor resumes: requests with which today's clients answer a question, in the convention of their backend.

A dialect lists the conventions of its clients (`Dialect.conventions`). A convention recognises a request, describes it
as a resume of the draft, and refuses it in a form that its clients report clearly. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import ValidationError

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import InvalidRequest, ResumeError
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.protocol import Mode, Resume, RunResume, check_segment
from ap_resume_shim.core.steps.client import Reply

When = Literal["always", "if_interrupted"]
"""`always`: the request is an answer. `if_interrupted`: it is an answer only if the thread asks a question, and
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

        Of duplicate keys the last one counts, as for the servers.
        """
        try:
            return strictjson.read(self.body)
        except ValueError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body if it is a JSON object, else an empty one."""
        return self.json if isinstance(self.json, dict) else {}

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

    def matches(self, method: str, path: str) -> bool:
        """Return True if a request with this method and decoded path may be a vendor resume.

        Every request is asked, so that this must be cheap. The body of a request that matches is read.
        """
        raise NotImplementedError

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer that a request carries; None if it is no answer."""
        raise NotImplementedError

    def took(self, vendor: VendorResume, response: Response) -> bool:
        """Return True if a 2xx response means that the backend took the answer. With `reads_body`, it is complete."""
        return True

    reads_body: bool = False
    """True if `took` needs the body of the response, which is then a short JSON value and no stream."""

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return the response for a refused answer, in a form that the clients of this convention report.

        By default, the draft's `ErrorResponse` with the message in `detail`, too, where FastAPI's servers have it. A
        status of 5xx becomes 409, since some clients send an answer again after any 5xx.
        """
        body = {"detail": error.message, **error.body()}
        return Reply(409, body) if error.http_status >= 500 else Reply(error.http_status, body, error.headers)


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
    """The run that the request names."""
    refused: ResumeError | None = None
    """The reason if the request must not be sent whatever the thread asks."""

    def resume(self, thread_id: str, *, now: str, nonce: str) -> Resume:
        """Return the vendor resume as a resume of the draft. Raises `InvalidRequest` for ids that cannot be."""
        value = {"thread_id": thread_id, **self.fields}
        try:
            body = RunResume.model_validate(value)
        except ValidationError:
            raise InvalidRequest("The ids in this answer are not those of a thread or a question.") from None
        check_segment("thread_id", body.thread_id)
        return Resume(body, self.mode, now, {**value, "convention": self.convention.name}, nonce)
