"""Reads one PATCH on a resume route; nothing is looked up yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.runtime import clock
from ap_resume_shim.runtime.bodies import Body
from ap_resume_shim.runtime.naming import Naming
from ap_resume_shim.runtime.offload import LARGE, offload
from ap_resume_shim.runtime.resume_log import ResumeLine

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IncomingResume:
    """The content of one PATCH."""

    scope: Scope
    resume: Resume
    """The parsed body, with the mode of the route and the header field `AP-Interrupt-Id`."""
    key: ResumeKey
    """Thread, caller and `Idempotency-Key`, in the form that the guard uses."""
    large: bool
    """True if the JSON is large enough to be processed in the worker thread."""
    original: bytes = b""
    """The body of a vendor resume, which is sent as the client sent it."""
    vendor: VendorResume | None = None

    @classmethod
    async def read(
        cls, scope: Scope, receive: Receive, *, mode: Mode, body: Body, naming: Naming, line: ResumeLine
    ) -> IncomingResume:
        """Read the body into `body`, parse it, and compute the names of its thread and its caller.

        Raises `InvalidRequest`, `UnsupportedField`, `RequestTooLarge`, `Overloaded`, and `ClientGone`.
        """
        raw = await body.read(scope, receive)
        large = len(raw) >= LARGE
        resume = await _maybe_offload(partial(_parse, raw, mode, scope, naming.dialect.vocabulary), large=large)
        line.thread_id = resume.thread_id
        key = await _maybe_offload(partial(naming.key, scope, resume), large=large)
        return cls(scope, resume, key, large)

    @property
    def cancels(self) -> bool:
        """True if a disconnect of the client cancels the run."""
        if self.vendor is not None:
            return True  # the backend decides what a disconnect of the client means
        return self.resume.mode is not Mode.BACKGROUND and self.resume.body.on_disconnect == "cancel"

    @classmethod
    def from_vendor(cls, scope: Scope, vendor: VendorResume, thread_id: str, naming: Naming) -> IncomingResume:
        """Describe a client's own request as a resume. Raises `InvalidRequest`."""
        resume = vendor.resume(thread_id, now=clock.now(), nonce=str(uuid.uuid4()))
        key = naming.key(scope, resume, route=vendor.convention.name, resent=vendor.convention.resends)
        return cls(scope, resume, key, len(vendor.request.body) >= LARGE, vendor.request.body, vendor)


async def _maybe_offload(work: Callable[[], T], *, large: bool) -> T:
    return await offload(work) if large else work()


def _parse(raw: bytes, mode: Mode, scope: Scope, vocabulary: frozenset[str]) -> Resume:
    return parse(
        raw,
        mode,
        now=clock.now(),
        nonce=str(uuid.uuid4()),
        interrupt_id=_header(scope, b"ap-interrupt-id"),
        vocabulary=vocabulary,
    )


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
