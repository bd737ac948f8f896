"""Conventions: what a dialect sends to resume is a vendor resume of its own clients, and recognised as one."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from ap_resume_shim.backends import backend_names, load_backend, recorded_example
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest
from ap_resume_shim.tools.describe import MODES
from tests.tools.test_explain import sent

THREAD = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
NAMES = [name for name in backend_names() if recorded_example(name) is not None]


def as_client(request: Request) -> ClientRequest:
    """The request as a client sends it."""
    path, _, query = request.target.partition("?")
    headers = (("content-type", request.media_type), *request.headers)
    return ClientRequest(request.method, unquote(path), query, headers, request.body or b"")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_what_resumes_a_thread_is_recognised(name: str, mode: Mode) -> None:
    dialect = load_backend(name)
    if not dialect.conventions:
        pytest.skip("no convention yet")
    value: Any = {"answer": "yes"} if name in ("agntcy", "run-resume-body") else "yes"  # they take only objects
    (request,) = (found.request for found in sent(name, mode, value) if found.what == "resume")
    vendor = dialect.recognise(as_client(request))
    assert vendor is not None
    assert vendor.thread_id in (THREAD, None)
    assert value in (vendor.fields["input"], *_values(vendor.fields["input"]))


def _values(answer: Any) -> list[Any]:
    return list(answer.values()) if isinstance(answer, dict) else []
