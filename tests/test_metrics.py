"""The metrics of a shim, as Prometheus's own parser reads them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from ap_resume_shim import MemoryGuard, ResumeShim, ReverseProxy
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.guard import FallbackGuard, ResumeKey, load_guard
from ap_resume_shim.metrics import BUCKETS, PREFIX, Metrics
from tests.servers.process import free_port
from tests.support.agent import (
    METADATA,
    PROTOCOL,
    UNTIL_LEFT,
    Agent,
    held,
    read,
    reply,
    resume,
    says,
    shimmed,
    streamed,
)
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.waiting import eventually

DASHBOARD = Path(__file__).parent.parent / "examples/grafana-dashboard.json"
PAGE = Path(__file__).parent.parent / "docs/how-to/monitor.md"
DRAFT = {"backend": "agent-protocol", "convention": "agent-protocol-draft"}


class Scrape:
    """The samples of metrics, by their names without the prefix."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, name: str, **labels: str) -> float | None:
        """Return the value of a sample; None if there is none. Labels that are not passed do not matter."""
        found = [value for labelled, value in self.samples(name) if labels.items() <= labelled.items()]
        return sum(found) if found else None

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the values of all samples with a name."""
        _, text = self._metrics.render()
        families = text_string_to_metric_families(text.decode())
        return [(s.labels, s.value) for family in families for s in family.samples if s.name == PREFIX + name]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def scrape(metrics: Metrics) -> Scrape:
    return Scrape(metrics)


@pytest.mark.parametrize(("route", "mode"), [("", "background"), ("/wait", "wait"), ("/stream", "stream")])
def test_a_resume_is_counted_by_backend_route_and_verdict(
    route: str, mode: str, metrics: Metrics, scrape: Scrape
) -> None:
    with shimmed(Agent(), telemetry=[metrics]) as url:
        resume(url, route)
        eventually(lambda: scrape("resumes_total") == 1)
    assert scrape.samples("resumes_total") == [({**DRAFT, "mode": mode, "verdict": "accepted"}, 1)]
    for name in ("resume_duration_seconds", "upstream_seconds"):
        assert scrape(f"{name}_count", **DRAFT, mode=mode) == 1
    assert 0 < (scrape("upstream_seconds_sum") or 0) <= (scrape("resume_duration_seconds_sum") or 0)
    bounds = [labels["le"] for labels, _ in scrape.samples("resume_duration_seconds_bucket")]
    assert bounds == [*map(str, BUCKETS), "+Inf"] and bounds[-2] == "600.0"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [({"thread_id": "unknown"}, "thread_not_found"), ({"command": {}}, "unsupported_field"), ({}, "accepted")],
)
def test_a_refusal_is_counted_by_its_code(body: Any, verdict: str, metrics: Metrics, scrape: Scrape) -> None:
    with shimmed(Agent(), telemetry=[metrics]) as url:
        resume(url, **body)
        eventually(lambda: scrape("resumes_total", verdict=verdict) == 1)


def test_an_error_of_another_package_has_no_label_of_its_own(metrics: Metrics, scrape: Scrape) -> None:
    class Strange(ResumeError):
        code = "strange-17"

    async def fails(*_: Any) -> None:
        raise Strange("The app raised this.")

    with shimmed(Agent(fails), telemetry=[metrics]) as url:
        resume(url)
        eventually(lambda: scrape("resumes_total") == 1)
    assert [labels["verdict"] for labels, _ in scrape.samples("resumes_total")] == ["other"]


def test_a_thread_is_held_from_the_claim_to_the_commit(metrics: Metrics, scrape: Scrape) -> None:
    with shimmed(agent := Agent(held), telemetry=[metrics]) as url, streamed_in_thread(url):
        eventually(lambda: agent.resumes and scrape("held_threads") == 1)
        agent.go.set()
        eventually(lambda: scrape("held_threads") == 0)


@contextmanager
def streamed_in_thread(url: str) -> Iterator[None]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(resume, url, "/wait")
        yield
        assert sent.result().status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["rejected", "accepted", "committed", "closed"])
async def test_a_hold_ends_once_whatever_ends_it(end: str, metrics: Metrics, scrape: Scrape) -> None:
    session = metrics.around_guard(MemoryGuard()).begin(ResumeKey("thread"))
    other = metrics.around_guard(MemoryGuard()).begin(ResumeKey("thread"))
    assert await session.claim() is None and await session.claim() is None and await other.claim() is None
    assert scrape("held_threads") == 2
    await session.forward()
    if end == "rejected":
        await session.mark_rejected()
    elif end != "closed":
        await session.mark_accepted(hold=end == "committed")
        assert scrape("held_threads") == (2 if end == "committed" else 1)
        await session.mark_committed()
    await session.close()
    assert scrape("held_threads") == 1


@pytest.mark.anyio
@pytest.mark.parametrize("required", [True, False])
async def test_a_call_to_a_store_that_fails_is_counted(required: bool, metrics: Metrics, scrape: Scrape) -> None:
    guard = load_guard(f"redis://127.0.0.1:{free_port()}/0", required=required)
    assert isinstance(guard, FallbackGuard) is not required
    session = metrics.around_guard(guard).begin(ResumeKey("thread"))
    try:
        await session.rival()
    except ResumeError:
        assert required
    await session.close()
    assert (scrape("guard_errors_total") or 0) >= 1
    await guard.aclose()


def test_an_open_stream_is_counted_whether_it_answers_a_resume_or_passes(metrics: Metrics, scrape: Scrape) -> None:
    agent = Agent(says(METADATA, UNTIL_LEFT), extra={"/events": events})
    with shimmed(agent, telemetry=[metrics]) as url:
        with streamed(url) as response, CLIENT.stream("GET", f"{url}/events") as passed:
            reading = response.iter_raw(), passed.iter_raw()  # an iterator that is collected closes its stream
            assert [next(each) for each in reading]
            assert scrape("open_streams") == 2
        eventually(lambda: scrape("open_streams") == 0)
        eventually(lambda: scrape("passed_requests_total") == 1)


async def events(scope: Any, receive: Any, send: Any) -> None:
    await read(receive)
    await says(METADATA, UNTIL_LEFT)(Agent(), receive, send)


def test_a_stream_that_has_ended_is_not_open_while_its_app_runs_on(metrics: Metrics, scrape: Scrape) -> None:
    agent = Agent(extra={"/events": runs_on})
    with shimmed(agent, telemetry=[metrics]) as url:
        assert CLIENT.get(f"{url}/events").content == METADATA
        assert scrape("open_streams") == 0


async def runs_on(scope: Any, receive: Any, send: Any) -> None:
    await read(receive)
    await says(METADATA)(Agent(), receive, send)
    await receive()


def test_every_request_that_is_no_resume_is_a_passed_one(metrics: Metrics, scrape: Scrape) -> None:
    with shimmed(Agent(), telemetry=[metrics]) as url:
        assert scrape("passed_requests_total") == 0
        CLIENT.get(f"{url}/threads/t"), CLIENT.post(f"{url}/runs/search"), CLIENT.options(f"{url}/runs/resume")
        resume(url)
        eventually(lambda: scrape("passed_requests_total") == 3)
        eventually(lambda: scrape("resumes_total") == 1)


@pytest.mark.parametrize("mode", ["guard", "observe"])
def test_a_vendor_resume_is_counted_by_its_convention(mode: Any, metrics: Metrics, scrape: Scrape) -> None:
    shim = ResumeShim(Agent(), "agent-protocol", vendor_resumes=mode, settle=0, telemetry=[metrics])
    with serving(shim) as url:
        body = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "yes"}}}
        assert CLIENT.post(f"{url}/runs/wait", json=body).status_code == 200
        name = {"guard": "resumes_total", "observe": "observed_resumes_total"}[mode]
        eventually(lambda: scrape(name, convention="agent-protocol") == 1)
        eventually(lambda: scrape("passed_requests_total") == (mode == "observe"))
    assert scrape("resumes_total") == (1 if mode == "guard" else None)


def test_no_label_names_a_thread_a_run_or_a_caller(metrics: Metrics, scrape: Scrape) -> None:
    with shimmed(Agent(), telemetry=[metrics]) as url:
        for thread in ("t", "another-thread"):
            resume(url, thread_id=thread, headers={"authorization": "Bearer somebody"})
        eventually(lambda: scrape("resumes_total") == 2)
    text = metrics.render()[1].decode()
    for secret in ("another-thread", '"t"', "r2", "somebody"):
        assert secret not in text
    labels = {name for sample in re.findall(r"\{(.*)\}", text) for name in re.findall(r"(\w+)=", sample)}
    assert labels == {"backend", "convention", "mode", "verdict", "le"}


def test_a_backend_that_is_not_detected_is_unknown(metrics: Metrics, scrape: Scrape) -> None:
    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, {}, 404)

    with serving(ResumeShim(nothing, telemetry=[metrics])) as url:
        resume(url)
        eventually(lambda: scrape("resumes_total", backend="unknown") == 1)


def test_a_request_that_is_refused_since_the_backend_is_away_is_a_passed_one(metrics: Metrics, scrape: Scrape) -> None:
    proxy = ReverseProxy(f"http://127.0.0.1:{free_port()}")
    with serving(ResumeShim(proxy, vendor_resumes="guard", telemetry=[metrics])) as url:
        assert CLIENT.post(f"{url}/runs/wait", json={"thread_id": "t"}).status_code == 502
        eventually(lambda: scrape("passed_requests_total") == 1)


def test_two_shims_may_share_their_metrics(metrics: Metrics, scrape: Scrape) -> None:
    for _ in range(2):
        with shimmed(Agent(), telemetry=[metrics]) as url:
            resume(url)
    eventually(lambda: scrape("resumes_total") == 2)


def test_a_failure_of_the_telemetry_breaks_no_resume(
    metrics: Metrics, scrape: Scrape, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Metrics):
        def resume_ended(self, *_: Any) -> None:
            raise RuntimeError("broken")

    with shimmed(Agent(), telemetry=[Broken(CollectorRegistry()), metrics]) as url:
        for status in (200, 409):
            assert resume(url).status_code == status
        eventually(lambda: scrape("resumes_total") == 2)
    assert "the telemetry failed; the resume is not affected" in caplog.text
    assert scrape("held_threads") == 0


def test_the_dashboard_shows_metrics_that_exist_with_labels_that_they_have(metrics: Metrics, scrape: Scrape) -> None:
    with shimmed(Agent(), telemetry=[metrics]) as url:
        resume(url)
        eventually(lambda: scrape("resumes_total") == 1)
    metrics.vendor_resume_passed("agent-protocol", "agent-protocol", "accepted")
    families = list(text_string_to_metric_families(metrics.render()[1].decode()))
    samples = [sample for family in families for sample in family.samples if not sample.name.endswith("_created")]
    known = {sample.name: set(sample.labels) for sample in samples}
    dashboard = json.loads(DASHBOARD.read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for expression in shown for name in re.findall(rf"{PREFIX}\w+", expression)}
    assert used <= set(known)
    shown_metrics, metrics_there = (
        {re.sub("_(bucket|sum|count)$", "", name) for name in each} for each in (used, known)
    )
    assert shown_metrics == metrics_there
    for expression in shown:
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(", ")}
        assert grouped <= set.union(*(known[name] for name in re.findall(rf"{PREFIX}\w+", expression)))


def test_the_page_describes_every_metric_with_its_labels(metrics: Metrics) -> None:
    described = {
        (name.removesuffix("_total"), kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| ", PAGE.read_text(), re.MULTILINE)
    }
    kinds = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
    made = [each for each in vars(metrics).values() if type(each).__name__ in kinds]
    assert described == {(each._name, kinds[type(each).__name__], each._labelnames) for each in made}


def test_the_alerts_use_metrics_and_verdicts_that_exist(metrics: Metrics) -> None:
    (rules,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = metrics.render()[1].decode()
    assert all(f"# HELP {name}" in text for name in re.findall(rf"{PREFIX}\w+", rules))
    for pattern in re.findall(r'verdict=~?"(.*?)"', rules):
        assert all(any(re.fullmatch(part, known) for known in metrics._verdicts) for part in pattern.split("|"))


def test_nothing_is_imported_without_telemetry() -> None:
    code = (
        "import sys; from ap_resume_shim.sidecar import server, app, settings;"
        "given = settings.Settings(upstream='http://127.0.0.1:1', backend='agent-protocol');"
        "assert app.check(given) == []; app.build(given);"
        "print([name for name in sys.modules if name.startswith(('prometheus_client', 'opentelemetry'))])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout == "[]\n"


def test_the_shim_wraps_nothing_without_telemetry() -> None:
    agent = Agent()
    shim = ResumeShim(agent, PROTOCOL, guard=(guard := MemoryGuard()))
    assert (shim._passed, shim._observed_app, shim._guard) == (agent, agent, guard)
    assert shim._entry is shim._backend_cors
