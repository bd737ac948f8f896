"""Conventions: what a dialect sends to resume is a vendor resume of its own clients, and recognised as one."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from ap_resume_shim.backends import backend_names, load_backend, recorded_example
from ap_resume_shim.core.dialect import Answers, Dialect, Found
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.vendor_resume import ClientRequest, VendorResume, body_of
from ap_resume_shim.core.verdict import judge
from ap_resume_shim.profiles.convention import ProfileConvention
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.explain import RecordedBackend, recorded_answers
from tests.backends.playing import accepted_answer
from tests.tools.test_explain import NOW, sent

THREAD = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
NAMES = [name for name in backend_names() if recorded_example(name) is not None]


def as_client(request: Request) -> ClientRequest:
    """The request as a client sends it."""
    path, _, query = request.target.partition("?")
    headers = (("content-type", request.media_type), *request.headers)
    return ClientRequest(request.method, unquote(path), query, headers, request.body or b"")


def run(flow: Generator[Any, Any, Any], name: str, resume: Resume) -> Any:
    """Run a lookup of the dialect against the backend's rehearsal."""
    answers = recorded_answers(name)
    assert answers is not None
    stage, result = RecordedBackend(resume, answers), None
    try:
        while True:
            result = stage.answer(flow.send(result))
    except StopIteration as ended:
        return ended.value


def answers_of(dialect: Dialect[Any], resume: Resume, found: Found[Any]) -> dict[str | None, Any]:
    """The answers by question, as the verdict on the recorded thread has them."""
    verdict = judge(resume, found, dialect)
    assert isinstance(verdict, Answers)
    return verdict.by_id


def addressed(vendor: VendorResume, name: str, dialect: Dialect[Any]) -> dict[str | None, Any]:
    """The answers of a vendor resume by question, in the recorded thread."""
    resume = vendor.resume(THREAD, now=NOW, nonce="n")
    found = run(dialect.inspect_thread(resume), name, resume)
    fields = vendor.convention.addressed(vendor, found)
    assert fields is not None
    return answers_of(dialect, resume.with_body(body_of(THREAD, fields)), found)


ONE_ROUTE = {"adk": Mode.STREAM, "ag-ui": Mode.STREAM, "agno": Mode.STREAM, "llamaindex": Mode.BACKGROUND}
"""Backends that the shim resumes by the same request in all modes."""
RESUMED_AS = {
    ("a2a", Mode.WAIT): Mode.STREAM,
    ("mastra", Mode.BACKGROUND): Mode.STREAM,
    ("mastra-agent", Mode.WAIT): Mode.STREAM,
}
"""Modes that the shim derives from the request of another."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_what_resumes_a_thread_is_recognised(name: str, mode: Mode) -> None:
    dialect = load_backend(name)
    value: Any = accepted_answer(name)
    (request,) = (found.request for found in sent(name, mode, value) if found.what == "resume")
    vendor = dialect.recognise(as_client(request))
    assert vendor is not None
    draft = parse(body_of(THREAD, {"input": value}).model_dump_json(exclude_unset=True).encode(), mode, now=NOW)
    located = vendor.thread_id or run(dialect.locate(vendor), name, draft)
    assert located == THREAD
    by_id = answers_of(dialect, draft, run(dialect.inspect_thread(draft), name, draft))
    assert _plain(addressed(vendor, name, dialect), name) == by_id
    assert vendor.mode == ONE_ROUTE.get(name, RESUMED_AS.get((name, mode), _sent_mode(dialect, mode)))


def _sent_mode(dialect: Dialect[Any], mode: Mode) -> Mode:
    """The mode whose kind of response the backend has in this mode: the shim derives the others from it."""
    kinds = {"run": Mode.BACKGROUND, "result": Mode.WAIT, "events": Mode.STREAM}
    return kinds[dialect.response_kinds[mode]]


def _plain(by_id: dict[str | None, Any], name: str) -> dict[str | None, Any]:
    """LlamaIndex's events have the answer in a field of its class."""
    return {key: value["response"] for key, value in by_id.items()} if name == "llamaindex" else by_id


def test_every_convention_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/clients-of-today.md").read_text("utf-8")
    conventions = [convention for name in backend_names() for convention in load_backend(name).conventions]
    names = {each.name for each in conventions if not isinstance(each, ProfileConvention)}
    assert {name for name in names if f"`{name}`" not in page} == set()
