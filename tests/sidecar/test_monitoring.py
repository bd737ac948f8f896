"""The sidecar's metrics, over processes that share a guard; and that it continues a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from benchmarks.ways import running
from tests.servers.process import free_port
from tests.support.agent import Agent, resume
from tests.support.calling import CLIENT
from tests.support.redis_server import RedisServer, need_redis, redis_server
from tests.support.serving import serving
from tests.support.sidecar import Sidecar, sidecar, sidecars
from tests.support.waiting import eventually

RESUMES, AGAIN = 1000, 100
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UPSTREAM = ("--upstream", "http://127.0.0.1:1", "--backend", "agent-protocol")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    need_redis()
    with redis_server() as server:
        yield server


def samples(url: str) -> Counter[str]:
    """Return the sums of samples of the metrics at a URL, by name, and those of resumes by verdict, too."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(CLIENT.get(url).raise_for_status().text):
        for sample in family.samples:
            found[sample.name.removeprefix("ap_resume_shim_")] += sample.value  # type: ignore[assignment]
            if "verdict" in sample.labels and sample.name.endswith("_total"):
                found[sample.labels["verdict"]] += sample.value  # type: ignore[assignment]
    return found


def test_the_metrics_of_two_sidecars_add_up_to_the_resumes_of_a_load(redis: RedisServer) -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    options = "--upstream", origin, "--backend", "agent-protocol", "--guard", redis.url
    with (
        running([sys.executable, "-m", "benchmarks.scale_origin", str(port)], port),
        sidecars(2, *options, "--port", "0", "--health-port", "0") as both,
    ):
        load = [sys.executable, "-m", "benchmarks.scale_load", "t", str(RESUMES), "16", *(one.url for one in both)]
        sent = json.loads(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
        assert len(sent["latencies"]) == RESUMES
        for number in range(AGAIN):
            body = {"thread_id": f"t-{number}", "input": "yes"}
            assert CLIENT.patch(f"{both[number % 2].url}/runs/resume", json=body).status_code == 409
            CLIENT.get(f"{both[number % 2].url}/threads/t-{number}")
        eventually(lambda: not any(scraped(one)["held_threads"] for one in both), "all threads are released")
        each = [scraped(one) for one in both]
        assert CLIENT.get(f"{origin}/counts").json() == {"resumes": RESUMES, "threads": RESUMES}
    total = sum(each, Counter())
    assert (total["accepted"], total["thread_not_interrupted"]) == (RESUMES, AGAIN)
    # On a busy machine, a call to the guard's store may take too long. The load then sends the resume again.
    unavailable = sent["unavailable"]
    assert total["guard_unavailable"] == unavailable <= total["guard_errors_total"]
    assert total["resumes_total"] == total["resume_duration_seconds_count"] == RESUMES + AGAIN + unavailable
    assert RESUMES + AGAIN <= total["upstream_seconds_count"] <= total["resumes_total"]
    assert (total["passed_requests_total"], total["open_streams"]) == (AGAIN, 0)
    assert all(one["accepted"] > 0 and one["process_cpu_seconds_total"] > 0 for one in each)


def scraped(one: Sidecar) -> Counter[str]:
    return samples(f"{one.health}/metrics")


@pytest.mark.parametrize(
    ("options", "served"),
    [((), False), (("--metrics",), True), (("--metrics", "--reserved-prefix", "/ops"), True)],
)
def test_clients_reach_the_metrics_only_if_that_is_set(options: tuple[str, ...], served: bool) -> None:
    with serving(Agent()) as upstream:
        rest = "--upstream", upstream, "--backend", "agent-protocol", "--port", "0", *options
        with sidecar(*rest) as shim:
            assert resume(shim.url).status_code == 200
            prefix = "/ops" if "/ops" in options else "/-"
            response = CLIENT.get(f"{shim.url}{prefix}/metrics")
            assert response.status_code == (200 if served else 404)
            if served:
                assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
                assert samples(f"{shim.url}{prefix}/metrics")["accepted"] == 1
                assert CLIENT.head(f"{shim.url}{prefix}/metrics").content == b""
                assert CLIENT.post(f"{shim.url}{prefix}/metrics").status_code == 405


@pytest.mark.parametrize(("options", "status"), [((), 404), (("--metrics",), 200)])
def test_a_health_port_has_the_metrics_and_the_port_for_clients_only_if_that_is_set(
    options: tuple[str, ...], status: int
) -> None:
    with serving(Agent()) as upstream:
        rest = "--upstream", upstream, "--backend", "agent-protocol", "--port", "0", "--health-port", "0", *options
        with sidecar(*rest) as shim:
            assert CLIENT.get(f"{shim.url}/-/metrics").status_code == status
            assert CLIENT.get(f"{shim.url}/-/healthz").status_code == 404
            assert scraped(shim)["resumes_total"] == 0


def test_metrics_without_a_path_are_refused() -> None:
    (problem,) = check(read([*UPSTREAM, "--metrics", "--reserved-prefix", ""]))
    assert problem.startswith("--metrics has no path on the clients' port: the reserved prefix is empty.")


@pytest.mark.parametrize(
    ("option", "module", "extra"),
    [("--metrics", "prometheus_client", "prometheus"), ("--otel", "opentelemetry", "otel")],
)
def test_a_missing_extra_is_named(option: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; "  # as if it were not installed
        f"from ap_resume_shim.sidecar.cli import main; main({['serve', *UPSTREAM, option, '--check']!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"{option} needs" in ended.stderr and f"pip install 'ap_resume_shim[{extra}]'" in ended.stderr


@pytest.mark.parametrize("sdk", [True, False])
def test_the_sidecar_continues_the_trace_of_its_client(sdk: bool) -> None:
    provider = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"} if sdk else {}
    with serving(agent := Agent()) as upstream:
        rest = "--upstream", upstream, "--backend", "agent-protocol", "--port", "0", "--otel"
        with sidecar(*rest, **provider) as shim:
            assert resume(shim.url, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).status_code == 200
            assert ("--otel records nothing" in shim.log) is not sdk
    parents = [value.decode() for seen in agent.seen for name, value in seen.headers if name == b"traceparent"]
    received = [value.split("-") for value in parents]
    assert {trace for _, trace, *_ in received} == {TRACE}
    assert (PARENT in {span for _, _, span, _ in received}) is not sdk
