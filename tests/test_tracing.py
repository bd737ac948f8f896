"""Traces, as OpenTelemetry's exporter in memory receives them: one trace over client, shim and backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ap_resume_shim import Http1Transport, ResumeShim, ReverseProxy
from ap_resume_shim.tracing import Tracing
from tests.servers.process import free_port
from tests.support.agent import METADATA, PROTOCOL, Agent, resume, says, shimmed
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import serving
from tests.support.waiting import eventually

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


class Spans:
    """A provider, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def __call__(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.kind is kind]

    def of_resume(self) -> ReadableSpan:
        """The only span of a server, once it has ended."""
        eventually(lambda: self(SpanKind.SERVER), "the span ends")
        (span,) = self(SpanKind.SERVER)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


@pytest.fixture
def tracing(spans: Spans) -> Tracing:
    return Tracing(spans.provider)


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Trace and span, as in a `traceparent`."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@contextmanager
def proxied(tracing: Tracing, agent: Agent | None = None) -> Iterator[tuple[str, str]]:
    """Serve an agent server, and a shim in front of it; yield both URLs."""
    with serving(agent or Agent()) as upstream:
        proxy = ReverseProxy(upstream, transport=Http1Transport)
        with serving(ResumeShim(proxy, PROTOCOL, telemetry=[tracing])) as url:
            yield upstream, url


@pytest.mark.parametrize(("route", "mode"), [("", "background"), ("/wait", "wait"), ("/stream", "stream")])
def test_one_trace_spans_client_shim_and_backend(route: str, mode: str, tracing: Tracing, spans: Spans) -> None:
    with proxied(tracing, agent := Agent()) as (_, url):
        assert resume(url, route, SENT).status_code == 200
        span = spans.of_resume()
        eventually(lambda: len(spans(SpanKind.CLIENT)) == len(agent.seen), "the requests to the backend end")
    assert (ids(span)[0], parent_of(span)) == (TRACE, PARENT)
    assert span.name == f"PATCH /runs/resume{route}"
    made = {ids(each)[1] for each in spans(SpanKind.CLIENT)}
    received = [dict(seen.headers)[b"traceparent"].decode().split("-")[1:3] for seen in agent.seen]
    assert {trace_id for trace_id, _ in received} == {TRACE}
    assert {span_id for _, span_id in received} == made
    assert {parent_of(each) for each in spans(SpanKind.CLIENT)} == {ids(span)[1]}
    assert {dict(seen.headers)[b"tracestate"] for seen in agent.seen} == {b"vendor=1"}
    known = attributes(span)
    assert known["http.request.method"] == "PATCH" and known["http.response.status_code"] == 200
    assert known["url.path"] == known["http.route"] == f"/runs/resume{route}"
    assert (known["server.address"], known["server.port"]) == ("127.0.0.1", int(url.rpartition(":")[2]))
    names = ("backend", "convention", "mode", "verdict", "ended", "thread_id", "run_id")
    assert [known[f"ap_resume_shim.{name}"] for name in names] == [
        *("agent-protocol", "agent-protocol-draft", mode, "accepted", "complete", "t", "r2")
    ]
    assert span.status.status_code is StatusCode.UNSET and "error.type" not in known


def test_the_span_has_the_steps_of_the_resume_as_events(tracing: Tracing, spans: Spans) -> None:
    with shimmed(Agent(), telemetry=[tracing]) as url:
        resume(url)
        names = [event.name for event in spans.of_resume().events]
    assert names[0] == "lookup" and names.count("sent") == 1
    assert [name for name in names if name != "lookup"] == ["claimed", "sent", "accepted"]


def test_a_request_to_the_backend_has_a_client_span(tracing: Tracing, spans: Spans) -> None:
    with proxied(tracing) as (upstream, url):
        resume(url)
        spans.of_resume()
    lookup = spans(SpanKind.CLIENT)[0]
    assert attributes(lookup) == {
        "http.request.method": "GET",
        "url.full": f"{upstream}/threads/t",
        "server.address": "127.0.0.1",
        "server.port": int(upstream.rpartition(":")[2]),
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize("transport", [None, Http1Transport])
def test_a_resume_that_never_left_has_no_event_that_it_was_sent(transport: Any, tracing: Tracing, spans: Spans) -> None:
    upstream = f"http://127.0.0.1:{free_port()}"
    proxy = ReverseProxy(upstream, **({"transport": transport} if transport else {}))
    agent = Agent()

    async def only_lookups(scope: Any, receive: Any, send: Any) -> None:
        await (proxy if scope["path"] == "/runs" else agent)(scope, receive, send)

    only_lookups.origin = upstream  # type: ignore[attr-defined]
    with shimmed(only_lookups, telemetry=[tracing]) as url:
        assert resume(url).status_code == 502
        span = spans.of_resume()
    assert {event.name for event in span.events} == {"lookup", "claimed"}
    assert attributes(span)["error.type"] == "upstream_unreachable"
    assert span.status.status_code is StatusCode.ERROR
    sent = [attributes(each) for each in spans(SpanKind.CLIENT) if attributes(each)["url.full"] == f"{upstream}/runs"]
    assert [each["error.type"] for each in sent] == ["upstream_unreachable"] * 2  # the shim retries once


@pytest.mark.parametrize(
    ("answering", "status", "error"),
    [
        (says(b"{}", status=500), 502, "upstream_error"),
        (says(METADATA, RuntimeError("secret of the app")), 200, "internal_error"),
    ],
)
def test_a_resume_that_fails_has_its_code_as_the_error(
    answering: Any, status: int, error: str, tracing: Tracing, spans: Spans
) -> None:
    with shimmed(Agent(answering), telemetry=[tracing]) as url:
        try:
            resume(url, "/stream")
        except httpx.RemoteProtocolError:
            assert status == 200
        span = spans.of_resume()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["http.response.status_code"] == status
    assert attributes(span)["error.type"] == error
    assert "secret" not in "".join(each.to_json() for each in (span, *spans(SpanKind.CLIENT)))


def test_a_refusal_is_no_error_of_the_server(tracing: Tracing, spans: Spans) -> None:
    with shimmed(Agent(), telemetry=[tracing]) as url:
        assert resume(url, thread_id="unknown").status_code == 404
        span = spans.of_resume()
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["ap_resume_shim.verdict"] == "thread_not_found"
    (lookup,) = (each for each in spans(SpanKind.CLIENT) if each.name == "GET")
    assert attributes(lookup)["error.type"] == "404" and lookup.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("sent", [[], ["nonsense"], [SENT["traceparent"]] * 2])
def test_a_client_without_one_valid_context_begins_a_new_trace(sent: list[str], tracing: Tracing, spans: Spans) -> None:
    agent = Agent()
    with shimmed(agent, telemetry=[tracing]) as url:
        headers = httpx.Headers([("traceparent", value) for value in sent])
        CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "t", "input": "yes"}, headers=headers)
        span = spans.of_resume()
    assert span.parent is None
    for seen in agent.seen:
        (value,) = [value for name, value in seen.headers if name == b"traceparent"]
        assert value.decode().split("-")[1] == ids(span)[0] != TRACE


def test_a_query_is_not_recorded(tracing: Tracing, spans: Spans) -> None:
    with proxied(tracing) as (_, url):
        CLIENT.patch(f"{url}/runs/resume?token=hunter2", json={"thread_id": "t", "input": "yes"})
        span = spans.of_resume()
    assert "hunter2" not in "".join(each.to_json() for each in (span, *spans(SpanKind.CLIENT)))


@pytest.mark.anyio
async def test_a_server_that_is_instrumented_has_the_resume_as_its_child(tracing: Tracing, spans: Spans) -> None:
    current: list[trace.SpanContext] = []

    async def instrumented(scope: Any, receive: Any, send: Any) -> None:
        current.append(trace.get_current_span().get_span_context())
        await Agent()(scope, receive, send)

    shim = ResumeShim(instrumented, PROTOCOL, telemetry=[tracing])
    tracer = spans.provider.get_tracer("server")
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer:
        await Call(b'{"thread_id": "t", "input": "yes"}')(shim, http("PATCH", "/runs/resume"))
    (span,) = (each for each in spans(SpanKind.INTERNAL) if each.name == "PATCH /runs/resume")
    assert parent_of(span) == f"{outer.get_span_context().span_id:016x}"
    assert {f"{each.span_id:016x}" for each in current} <= {ids(each)[1] for each in spans(SpanKind.CLIENT)}


def test_a_passed_request_is_not_traced_and_not_changed(tracing: Tracing, spans: Spans) -> None:
    with shimmed(agent := Agent(), telemetry=[tracing]) as url:
        CLIENT.get(f"{url}/threads/t", headers=SENT)
    assert dict(agent.seen[0].headers)[b"traceparent"].decode() == SENT["traceparent"]
    assert spans(SpanKind.SERVER) == spans(SpanKind.CLIENT) == []


def test_without_an_sdk_the_context_of_the_client_passes(spans: Spans) -> None:
    unrecorded = Tracing()
    assert not unrecorded.recorded and Tracing(spans.provider).recorded
    with shimmed(agent := Agent(), telemetry=[unrecorded]) as url:
        assert resume(url, headers=SENT).status_code == 200
    assert {dict(seen.headers)[b"traceparent"].decode() for seen in agent.seen} == {SENT["traceparent"]}


class Fails(SpanProcessor):
    """A processor that fails for the spans of requests to the backend."""

    def __init__(self, method: str) -> None:
        setattr(self, method, self._fail)

    def _fail(self, span: Any, *_: Any, **__: Any) -> None:
        if span.kind is SpanKind.CLIENT:
            raise RuntimeError("The processor failed.")


@pytest.mark.parametrize("method", ["on_start", "on_end"])
@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_a_processor_that_fails_breaks_no_resume(method: str, route: str, caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Fails(method))
    with proxied(Tracing(provider), agent := Agent()) as (_, url):
        assert resume(url, route).status_code == 200
    assert len(agent.resumes) == 1
    assert {record.message for record in caplog.records if record.exc_info} == {
        "the telemetry failed; the resume is not affected"
    }


def test_a_vendor_resume_has_a_span_named_by_its_convention(tracing: Tracing, spans: Spans) -> None:
    agent = Agent()
    shim = ResumeShim(agent, "agent-protocol", vendor_resumes="guard", settle=0, telemetry=[tracing])
    with serving(shim) as url:
        body = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "yes"}}}
        assert CLIENT.post(f"{url}/runs/wait", json=body, headers=SENT).status_code == 200
        span = spans.of_resume()
    assert (span.name, ids(span)[0]) == ("POST agent-protocol", TRACE)
    assert "http.route" not in attributes(span)
    assert [event.name for event in span.events if event.name != "lookup"] == ["claimed", "sent", "accepted"]
    assert len({dict(seen.headers)[b"traceparent"] for seen in agent.seen}) == len(agent.seen)
