"""The public API for dialects in other packages; `docs/how-to/add-a-backend.md` has an example.

Modules below `core`, `profiles` and `backends` are internal: import these names from here.
"""

from ap_resume_shim.backends import backend_names, load_backend, read_profile
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import (
    Answers,
    Continue,
    Decision,
    Dialect,
    Found,
    Lookup,
    Observer,
    ResponseKind,
    Started,
    ThreadEntry,
)
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.listing import Candidate, Listing, Page
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended, EventReframer, Reframer
from ap_resume_shim.core.steps import Ask, Entry, Pause, ReadLedger, ReadUntilIdle, Steps
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile

__all__ = [
    "Answers",
    "Ask",
    "Candidate",
    "Continue",
    "Decision",
    "Dialect",
    "Emitter",
    "Ended",
    "Entry",
    "EventReframer",
    "Fingerprint",
    "Found",
    "Interrupt",
    "Listing",
    "Lookup",
    "Mode",
    "Observer",
    "Page",
    "Pause",
    "ProfileDialect",
    "ReadLedger",
    "ReadUntilIdle",
    "Reframer",
    "Request",
    "Response",
    "ResponseKind",
    "Resume",
    "Rule",
    "Started",
    "Steps",
    "ThreadEntry",
    "backend_names",
    "load_backend",
    "load_profile",
    "read_lookup",
    "read_profile",
    "read_refusal",
    "segment",
    "sse",
]
