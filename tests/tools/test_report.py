"""`ap-resume-shim report`: who answers in which convention, read from a running sidecar."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.sidecar.cli import main
from ap_resume_shim.tools.report import fetch_report, lines
from tests.support.agent import Agent
from tests.support.serving import serving
from tests.support.sidecar import sidecar

BODY = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "yes"}}}


def test_the_report_of_a_sidecar_counts_both_conventions(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--port", "0", "--health-port", "0", "--backend", "agent-protocol", "--vendor-resumes", "guard")
    with serving(Agent(status="idle")) as upstream, sidecar("--upstream", upstream, *options) as shim:
        httpx.post(f"{shim.url}/runs", json=BODY, headers={"user-agent": "mine/1.0"})
        httpx.patch(f"{shim.url}/runs/resume", json={"thread_id": "t", "input": "yes"}, headers={"user-agent": "new"})
        assert httpx.get(f"{shim.url}/-/report").status_code == 404, "it is not on the clients' port"
        while len(fetch_report(shim.health)["conventions"]) < 2:
            time.sleep(0.01)
        main(["report", shim.health])
        table = capsys.readouterr().out
        main(["report", shim.health, "--json"])
        report = json.loads(capsys.readouterr().out)
    assert report["conventions"]["agent-protocol"]["verdicts"] == {"thread_not_interrupted": 1}
    rows = [line.split() for line in table.splitlines()]
    assert ["agent-protocol", "1", "1", "1", "mine", "1"] in rows
    assert ["agent-protocol-draft", "1", "1", "1", "new", "1"] in rows
    assert ["1", "thread_not_interrupted"] in rows


@pytest.mark.parametrize("url", ["127.0.0.1:8064", "http://127.0.0.1:1"])
def test_a_url_without_a_report_says_where_it_is(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"health.port"):
        fetch_report(url)


def test_another_server_is_not_a_sidecar() -> None:
    with serving(Agent()) as url, pytest.raises(ConfigurationError, match="report"):
        fetch_report(f"{url}/threads/t")


def test_a_report_of_a_shim_that_lets_vendor_resumes_pass_says_so() -> None:
    report = {"since": "then", "vendor_resumes": "pass", "estimated": False, "conventions": {}}
    assert "--vendor-resumes observe" in "\n".join(lines(report))


def test_what_was_not_examined_is_shown_and_not_counted_as_refused() -> None:
    counts = {"resumes": 3, "verdicts": {"accepted": 1, "not_examined": 2}, "clients": {"node": 3}, "callers": ["c"]}
    report = {"since": "then", "vendor_resumes": "observe", "estimated": True, "conventions": {"acp": counts}}
    rows = [line.split() for line in lines(report)]
    assert ["acp", "3", "0", "1", "node", "3"] in rows
    assert ["2", "not_examined"] in rows
