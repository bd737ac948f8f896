"""What the benchmarks of the sidecar say is what was measured: all of it that needs no clock."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection

import pytest

from benchmarks import driver
from benchmarks.cpu import cpu_seconds
from benchmarks.idle import affordable
from benchmarks.instructions import BASELINE, MEASURED, REFERENCE, complaints, relative, summary, unlike
from benchmarks.origin import BODY_BYTES, JSON, MANY, Origin, chunk, event
from benchmarks.sidecar import Costs, Goal, Load, in_turns, ratio, read_wrk
from benchmarks.streams import Stream, held, open_streams
from benchmarks.ways import DIRECT, NAMES, NGINX, TO_THE_SHIM, Way, edge, stream_origin
from tests.differential.proxies import PATHS
from tests.support.programs import need
from tests.support.waiting import eventually
from tests.test_docs import ROOT

WRK = """Running 1s test @ http://127.0.0.1:33633/json
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   206.50us  163.64us   5.13ms   93.61%
    Req/Sec    84.69k     4.04k   89.42k    60.00%
  84816 requests in 1.00s, 61.07MB read
Requests/sec:  84791.50
Transfer/sec:     61.05MB
"""


@asynccontextmanager
async def origin() -> AsyncIterator[str]:
    """A server of streams and bodies in this loop."""
    async with await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def fetch(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def fetched(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    async def ask() -> tuple[int, bytes]:
        async with origin() as url:
            return await asyncio.to_thread(fetch, url, method, path, body)

    return asyncio.run(ask())


def test_the_json_is_600_bytes() -> None:
    assert len(JSON.encode()) == 600


@pytest.mark.parametrize("path", ["/events", "/events/singly"])
def test_an_answer_has_2000_events_of_250_bytes_each_a_chunk(path: str) -> None:
    status, body = fetched("GET", path)
    assert status == 200
    assert [len(part) + 2 for part in body.split(b"\n\n")[:-1]] == [250] * 2_000
    assert {len(one) for one in MANY} == {len(chunk(bytes(250)))}


def test_a_large_body_goes_down_whole_and_comes_up() -> None:
    assert len(fetched("GET", "/body")[1]) == BODY_BYTES
    assert fetched("POST", "/body", bytes(BODY_BYTES)) == (200, b"ok")


def test_a_body_is_answered_when_it_has_come_up_whole_and_not_before() -> None:
    async def send() -> list[int]:
        told: list[bytes] = []
        server = Origin()
        server.connection_made(driver.Pipe(told.append))
        answers = []
        for data in (b"POST /body HTTP/1.1\r\nContent-Length: 4\r\n", b"\r\n12", b"3", b"4"):
            server.data_received(data)
            answers.append(len(told))
        return answers

    assert asyncio.run(send()) == [0, 0, 0, 1]


def test_streams_of_ticks_say_how_late_they_are() -> None:
    async def look() -> tuple[int, list[int]]:
        async with origin() as url:
            streams = await open_streams(f"{url}/ticks", 3)
            while not all(len(stream.late) > 1 for stream in streams):
                await asyncio.sleep(0.01)
            for stream in streams:
                stream.transport.close()
            return held(streams), [late for stream in streams for late in stream.late]

    open_, late = asyncio.run(look())
    assert open_ == 3
    assert all(0 < nanoseconds < 5e9 for nanoseconds in late)


def test_a_stream_that_has_ended_is_not_held() -> None:
    async def look() -> int:
        async with origin() as url:
            first, second = await open_streams(f"{url}/idle", 2)
            first.transport.abort()
            await asyncio.sleep(0)
            count = held([first, second])
            second.transport.abort()
            return count

    assert asyncio.run(look()) == 1


def test_an_event_that_comes_in_two_pieces_is_counted_once() -> None:
    async def read(cut: int) -> int:
        stream = Stream(b"")
        stream.data_received(b"HTTP/1.1 200 OK\r\n\r\n" + chunk(event(1)))
        for piece in (data[:cut], data[cut:]):
            stream.data_received(piece)
        return len(stream.late)

    data = chunk(event(123456789)) + chunk(event(123456790))
    assert {asyncio.run(read(cut)) for cut in range(len(data))} == {2}


def test_the_output_of_wrk_is_read() -> None:
    read = read_wrk(WRK)
    assert (read.requests, read.bytes) == (Load(84791.5, 1), Load(61.05 * 1024**2, 1))


@pytest.mark.parametrize(
    "trouble", ["  Non-2xx or 3xx responses: 7\n", "  Socket errors: connect 0, read 3, write 0\n"]
)
def test_a_run_in_which_not_all_was_answered_is_not_counted(trouble: str) -> None:
    with pytest.raises(RuntimeError, match="Not every"):
        read_wrk(WRK.replace("Requests/sec", f"{trouble}Requests/sec"))


def test_ways_take_turns_each_of_them_first_in_some_round() -> None:
    asked: list[str] = []

    def measure(way: Way) -> float:
        asked.append(way.name)
        return len(asked)

    figures = in_turns([Way(name, "") for name in NAMES], len(NAMES), measure)
    assert sorted(asked[:: len(NAMES)]) == sorted(NAMES)
    assert {len(of) for of in figures.values()} == {len(NAMES)}


def test_a_ratio_is_taken_within_a_round() -> None:
    assert ratio({"a": [1, 4, 9], "b": [2, 16, 10]}, "a", "b") == 0.5


def test_the_cpu_time_of_a_request_is_that_of_the_proxy_divided_by_the_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1.0, 1.5])
    monkeypatch.setattr("benchmarks.ways.cpu_seconds", lambda *pids: next(times) if pids == (7, 8) else 0)
    costs = Costs.measure([Way(NGINX, "", (7, 8))], 1, lambda _: Load(1_000, 2))
    assert costs == Costs({NGINX: [1_000]}, {NGINX: [250]})


def test_there_is_no_cpu_time_without_a_proxy() -> None:
    measured = Costs.measure([Way(DIRECT, "")], 1, lambda _: Load(30, 1))
    costs = Costs({NGINX: [10], **measured.rate}, {NGINX: [1], **measured.cpu})
    assert costs.rows(("rate", 1), ("CPU", 1)) == [["rate", "10 (1)", "30 (3)"], ["CPU", "1 (1)", "-"]]


def test_the_cpu_time_of_a_process_includes_that_of_its_children() -> None:
    command = f"{sys.executable} -c 'while True: pass' & wait"
    with subprocess.Popen(["sh", "-c", command], start_new_session=True) as shell:
        try:
            eventually(lambda: cpu_seconds(shell.pid) >= 0.2, "the child has worked")
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_the_edge_sends_the_shim_what_the_how_to_sends_it() -> None:
    location, _, _ = TO_THE_SHIM.format(shim="").partition("{")
    assert location in (ROOT / "docs/how-to/edge-proxy.md").read_text()


def test_the_edge_sends_only_resumes_through_the_sidecar() -> None:
    need("nginx", required="AP_TEST_PROXIES", path=PATHS)
    with stream_origin() as url, edge(url) as way:
        status, body = fetch(way.url, "PATCH", "/runs/resume/wait", b"{}")
        assert (status, json.loads(body)["code"]) == (422, "invalid_request")
        os.kill(way.pids[1], signal.SIGKILL)
        assert fetch(way.url, "POST", "/body", b"1234") == (200, b"ok")


def test_a_goal_says_whether_it_is_met() -> None:
    assert Goal("more", 0.5, 0.5).row()[-1] == "yes"
    assert Goal("more", 0.5, 0.49).row()[-1] == "no"
    assert Goal("less", 2, 2, at_most=True).row()[-1] == "yes"
    assert Goal("less", 2, 2.1, at_most=True).row()[-1] == "no"


def test_each_idle_stream_takes_two_files_of_the_sidecar() -> None:
    assert affordable(10_000, 1_000_000) == 10_000
    assert 2 * affordable(10_000, 20_000) < 20_000


def test_the_work_that_is_counted_passes_through_the_whole_sidecar_between_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fingerprints: list[None] = []
    monkeypatch.setattr(driver, "mark", lambda: fingerprints.append(None))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    driver.main(3)
    assert len(fingerprints) == 2 * len(driver.WORK)


COUNTS = {REFERENCE: 1000} | dict.fromkeys(MEASURED, 5000)


def test_another_build_of_python_changes_nothing() -> None:
    slower = {work: 3 * number for work, number in COUNTS.items()}
    assert set(relative(slower, COUNTS).values()) == {1}


def test_work_that_takes_more_than_a_tenth_more_instructions_is_named() -> None:
    work = MEASURED[0]
    assert complaints(relative(COUNTS | {work: 5500}, COUNTS)) == []
    assert complaints(relative(COUNTS | {work: 5510}, COUNTS)) == [f"{work}: 10 % more instructions than the baseline"]


def test_an_unrecognised_request_that_takes_more_when_vendor_resumes_are_guarded_is_named() -> None:
    work, plain = next(iter(driver.ALIKE.items()))
    assert unlike(COUNTS | {work: 5150}) == []
    assert unlike(COUNTS | {work: 5160}) == [f"{work}: 3.2 % more instructions than {plain}"]


def test_a_file_of_callgrind_has_a_summary() -> None:
    assert summary("version: 1\nevents: Ir\nsummary: 982385\n\n0x1 2\ntotals: 1\n") == 982385
    with pytest.raises(RuntimeError, match="no summary"):
        summary("version: 1\n")


def test_the_baseline_has_all_the_work() -> None:
    known = json.loads(BASELINE.read_text())
    assert "3.11" in known
    assert all(set(counts) == set(driver.WORK) for counts in known.values())
