"""Vendor resumes in JSON-RPC 2.0 calls: what all of their conventions share."""

from __future__ import annotations

from typing import Any, ClassVar

from ap_resume_shim.core.errors import InvalidRequest, NotFound, RequestTooLarge, ResumeError, UpstreamRefused
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.observers import is_event_stream
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps.client import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume

_SHORT = 64 * 1024
"""Maximum size of a response that may be an error, in bytes."""


class A2aCall(Convention):
    """A message to an A2A task by JSON-RPC. Subclasses find the thread and the answer in the message."""

    checks_value = False
    modes: ClassVar[dict[str, Mode]] = {
        "SendMessage": Mode.WAIT,
        "SendStreamingMessage": Mode.STREAM,
        "message/send": Mode.WAIT,
        "message/stream": Mode.STREAM,
    }
    """The methods of 1.0 and of 0.3 that send a message."""

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer that the call's message carries. A batch is no answer: servers refuse batches."""
        call = request.object
        mode, params = self.modes.get(str(call.get("method"))), call.get("params")
        if mode is None or not isinstance(params, dict) or not isinstance(params.get("message"), dict):
            return None
        return self.read_message(request, mode, params, params["message"])

    def read_message(
        self, request: ClientRequest, mode: Mode, params: dict[str, Any], message: dict[str, Any]
    ) -> VendorResume | None:
        """Return the answer that a message carries; None if it carries none."""
        raise NotImplementedError

    def reads_body(self, vendor: VendorResume, response: Response) -> bool:
        """Return True if the response may be an error: the status is 200, and clients read it in place of a stream."""
        length = response.header("content-length") or ""
        return not is_event_stream(response.headers) and length.isdecimal() and int(length) <= _SHORT

    def took(self, vendor: VendorResume, response: Response) -> bool:
        """Return True unless the response is an error other than an internal one, for which the agent ran."""
        value = response.json
        error = value.get("error") if isinstance(value, dict) else None
        return not isinstance(error, dict) or error.get("code") == _INTERNAL

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return a JSON-RPC error with status 200: clients show the reason only with that status.

        In place of a stream, it is the stream's only event: the SDK of 0.3 shows no other error there. Refused
        credentials keep their status, and so does a body that was not read, whose id is unknown.
        """
        code = next((code for kind, code in _CODES if isinstance(error, kind)), _UNSUPPORTED)
        value = {
            "jsonrpc": "2.0",
            "id": vendor.request.object.get("id"),
            "error": {"code": code, "message": error.message},
        }
        if isinstance(error, UpstreamRefused | RequestTooLarge):
            return Reply(error.http_status, value, error.headers)
        return Reply(
            200, value, error.headers, "text/event-stream" if vendor.mode is Mode.STREAM else "application/json"
        )


_INTERNAL = -32603
_UNSUPPORTED = -32004
"""A2A's code for an operation that the task does not allow, such as a message to a task that has ended."""
_CODES = ((NotFound, -32001), (InvalidRequest, -32602))
