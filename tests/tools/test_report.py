"""`ap-resume-shim report`: who answers in which convention, read from a running sidecar."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.sidecar.cli import main
from ap_resume_shim.tools.report import fetch_report, lines, merge
from tests.support.agent import Agent, reply
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually

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
        counted = json.loads(capsys.readouterr().out)["conventions"]
    assert counted["agent-protocol"]["verdicts"] == {"thread_not_interrupted": 1}
    rows = [line.split() for line in table.splitlines()]
    assert ["agent-protocol", "1", "1", "1", "mine", "1"] in rows
    assert ["agent-protocol-draft", "1", "1", "1", "new", "1"] in rows
    assert ["1", "thread_not_interrupted", "(mine", "1)"] in rows


@pytest.mark.parametrize("url", ["127.0.0.1:8064", "http://127.0.0.1:1"])
def test_a_url_without_a_report_says_where_it_is(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"health.port"):
        fetch_report(url)


def test_another_server_is_not_a_sidecar() -> None:
    with serving(Agent()) as url, pytest.raises(ConfigurationError, match="report"):
        fetch_report(f"{url}/threads/t")


@pytest.mark.parametrize("value", [{"conventions": {}}, {"conventions": []}, {"conventions": {"v1": {"clients": 1}}}])
def test_a_report_of_another_shape_is_not_that_of_a_sidecar(value: Any) -> None:
    agent = Agent()
    agent.extra["/-/report"] = lambda scope, receive, send: reply(send, value)
    with serving(agent) as url, pytest.raises(ConfigurationError, match="not the report of a sidecar"):
        fetch_report(url)


def report(mode: str = "observe", callers_of: str | None = "key", **conventions: Any) -> dict[str, Any]:
    """A report with the verdicts of each client, by convention."""
    counts = {
        name: {"resumes": 0, "verdicts": {}, "clients": clients, "callers": [f"caller of {name}"], "last": "now"}
        for name, clients in conventions.items()
    }
    estimated = mode == "observe"
    return {
        "since": "then",
        "vendor_resumes": mode,
        "estimated": estimated,
        "callers_of": callers_of,
        "conventions": counts,
    }


def rows(report: dict[str, Any]) -> list[list[str]]:
    return [line.split() for line in lines(report)]


def test_a_report_of_a_shim_that_lets_vendor_resumes_pass_says_so() -> None:
    assert "--vendor-resumes observe" in "\n".join(lines(report("pass")))


def test_what_is_not_certain_is_shown_and_not_counted_as_refused() -> None:
    found = rows(merge([report(acp={"node": {"accepted": 1, "not_examined": 2, "unclear": 1, "backend_refused": 1}})]))
    assert ["acp", "5", "0", "1", "node", "5"] in found
    assert ["2", "not_examined", "(node", "2)"] in found
    assert ["1", "unclear", "(node", "1)"] in found


def test_reports_are_added_up() -> None:
    one = report(acp={"node": {"accepted": 1}}, a2a={"curl": {"accepted": 1}})
    two = report("guard", acp={"node": {"thread_busy": 2}, "curl": {"accepted": 1}})
    added = merge([one, two])
    assert (added["vendor_resumes"], added["estimated"]) == ("guard, observe", True)
    assert ["acp", "4", "2", "1", "node", "3,", "curl", "1"] in rows(added)
    assert ["a2a", "1", "0", "1", "curl", "1"] in rows(added)


@pytest.mark.parametrize(("other", "warns"), [("key", False), ("another", True)])
def test_callers_are_the_same_if_the_keys_are(other: str, warns: bool) -> None:
    added = merge([report(), report(callers_of=other)])
    assert ("different report keys" in "\n".join(lines(added))) is warns


def test_sidecars_with_one_key_have_the_same_digests_of_callers(capsys: pytest.CaptureFixture[str]) -> None:
    key = "a key of this deployment"
    options = ("--port", "0", "--health-port", "0", "--backend", "agent-protocol", "--report-key", "${REPORT_KEY}")
    with serving(Agent(status="idle")) as upstream, ExitStack() as stack:
        env = {"REPORT_KEY": key}
        shims = [stack.enter_context(sidecar("--upstream", upstream, *options, **env)) for _ in range(2)]
        for shim in shims:
            httpx.post(f"{shim.url}/runs", json=BODY, headers={"authorization": "Bearer me"})
            eventually(lambda: fetch_report(shim.health)["conventions"], "it is counted")  # noqa: B023
        main(["report", "--json", *(shim.health for shim in shims)])
        (counts,) = json.loads(capsys.readouterr().out)["conventions"].values()
        assert (counts["resumes"], len(counts["callers"])) == (2, 1)
        assert all(key not in shim.log for shim in shims)
