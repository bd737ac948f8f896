"""A guarded vendor resume looks at the thread once, with no more requests than `explain` shows for the draft's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.steps import Ask, ReadUntilIdle, SendOriginal
from ap_resume_shim.core.vendor_flow import vendor_flow
from ap_resume_shim.core.vendor_resume import body_of
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.explain import RecordedBackend, recorded_answers
from tests.backends.playing import accepted_answer
from tests.backends.test_conventions import NAMES, THREAD, as_client
from tests.tools.test_explain import NOW, sent


def looks(flow: Generator[Any, Any, Any], name: str, resume: Resume) -> list[Request]:
    """The requests of a flow until it sends the client's own."""
    answers = recorded_answers(name)
    assert answers is not None
    stage, result, found = RecordedBackend(resume, answers), None, list[Request]()
    try:
        while not isinstance(step := flow.send(result), SendOriginal):
            if isinstance(step, Ask):
                found.extend(step.requests)
            elif isinstance(step, ReadUntilIdle):
                found.append(step.request)
            result = stage.answer(step)
        flow.close()
    except StopIteration:
        pass
    return found


def lines(requests: list[Request]) -> list[str]:
    return [f"{request.method} {request.target}" for request in requests]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_a_guarded_vendor_resume_looks_once(name: str, mode: Mode) -> None:
    dialect, value = load_backend(name), accepted_answer(name)
    explained = sent(name, mode, value)
    (request,) = (each.request for each in explained if each.what == "resume")
    vendor = dialect.recognise(as_client(request))
    assert vendor is not None
    draft = parse(body_of(THREAD, {"input": value}).model_dump_json(exclude_unset=True).encode(), mode, now=NOW)
    locating = [] if vendor.thread_id else looks(dialect.locate(vendor), name, draft)
    assert len(locating) <= 1, "the thread of an answer that names only a run is found by one request"
    resume = vendor.resume(THREAD, now=NOW, nonce="n")
    guarded = lines(looks(vendor_flow(vendor, resume, dialect, FlowSettings()), name, resume))
    assert guarded
    assert Counter(guarded) <= Counter(lines([each.request for each in explained if each.what == "look"]))
