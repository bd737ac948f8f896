"""Which kind of backend is this?"""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends import known_fingerprints
from ap_resume_shim.backends.detection import ServerMetadata, detect_flow, recognise
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamRefused, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Ask

KNOWN = known_fingerprints()
NOT_FOUND = Response(404, (), b'{"detail":"Not Found"}')


def answer(value: Any) -> Response:
    return Response(200, (), strictjson.dumps(value))


def detected(info: Response, openapi: Response, card: Response = NOT_FOUND) -> str:
    return recognise(ServerMetadata(info, openapi, card), KNOWN)


def paths(**methods: list[str]) -> Response:
    return answer({"paths": {"/" + path.replace("_", "/"): {key: {} for key in m} for path, m in methods.items()}})


BODY_OF_RUNS = {
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/RunCreate"}}}}
}
AGENT_PROTOCOL = paths(runs=["post"], runs_wait=["post"], runs_stream=["post"], threads=["post"])


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"version": "0.16.7", "langgraph_py_version": "1.2.24"}, "langgraph"),
        ({"version": "1.5.1", "langgraph_js_version": "1.7.3", "context": "js"}, "langgraph"),
        ({"name": "Aegra", "version": "0.1.0"}, "aegra"),
        ({"name": "Aegra", "langgraph_py_version": "1.2.24"}, "aegra"),
    ],
)
def test_a_server_is_recognised_by_what_it_says_of_itself(info: dict[str, Any], name: str) -> None:
    assert detected(answer(info), NOT_FOUND) == name


def test_a_server_of_the_protocol_is_recognised_by_its_routes() -> None:
    assert detected(NOT_FOUND, AGENT_PROTOCOL) == "agent-protocol"


def test_a_server_that_answers_the_three_routes_itself_is_native() -> None:
    routes = answer({"paths": {mode.route: {"patch": {}} for mode in Mode}})
    assert detected(answer({"name": "Aegra"}), routes) == "native"


@pytest.mark.parametrize(
    ("info", "openapi"),
    [
        (NOT_FOUND, NOT_FOUND),
        (NOT_FOUND, paths(runs=["get"], runs_wait=["post"], runs_stream=["post"], threads=["post"])),
        (NOT_FOUND, paths(runs=["post"])),
        (answer({"name": "Something"}), answer({"paths": []})),
        (answer(["Aegra"]), Response(200, (), b"<html>")),
        (NOT_FOUND, answer({"paths": {Mode.WAIT.route: {"patch": {}}, "/runs/resume": {"patch": {}}}})),
    ],
)
def test_anything_else_is_never_guessed(info: Response, openapi: Response) -> None:
    with pytest.raises(UpstreamUnrecognised) as refused:
        detected(info, openapi)
    statuses = {"info_status": info.status, "openapi_status": openapi.status, "card_status": 404}
    assert refused.value.metadata == statuses
    assert "Name the backend:" in refused.value.message
    assert "--profile my.toml" in refused.value.message
    assert "docs/how-to/write-a-profile.md" in refused.value.message


LANGROVE = answer(
    {
        "paths": {
            **{path: {"post": BODY_OF_RUNS} for path in ("/runs", "/runs/wait", "/runs/stream")},
            "/threads": {"post": {}},
        },
        "components": {
            "schemas": {
                "RunCreate": {"properties": {"assistant_id": {}, "input": {}, "command": {}}},
                "Stateful": {"allOf": [{"$ref": "#/components/schemas/RunCreate"}, {"properties": {"thread_id": {}}}]},
            }
        },
    }
)
"""Stateless runs, as Langrove 0.3.0 describes them: each starts on a thread of its own."""
REFUSALS = [
    (Response(401, (("www-authenticate", "Bearer"),)), UpstreamRefused, 401),
    (Response(403), UpstreamRefused, 403),
    (Response(429), UpstreamRefused, 429),
    (Response(302), UpstreamError, 502),
    (Response(400), UpstreamError, 502),
    (Response(503), UpstreamError, 502),
]


def test_stateless_runs_are_not_those_of_the_protocol() -> None:
    with pytest.raises(UpstreamUnrecognised):
        detected(answer({"name": "another"}), LANGROVE)
    assert detected(answer({"name": "langrove"}), LANGROVE) == "langrove"
    stateful = LANGROVE.body.replace(
        b'"$ref":"#/components/schemas/RunCreate"', b'"$ref":"#/components/schemas/Stateful"', 3
    )
    assert detected(NOT_FOUND, Response(200, (), stateful)) == "agent-protocol"


def test_a_schema_that_refers_to_itself_is_read_once() -> None:
    loop = {"components": {"schemas": {"RunCreate": {"anyOf": [{"$ref": "#/components/schemas/RunCreate"}, 1]}}}}
    assert detected(NOT_FOUND, answer(LANGROVE.json | loop)) == "agent-protocol", (
        "a body that is not described may take all"
    )


@pytest.mark.parametrize(("refusal", "kind", "status"), REFUSALS, ids=[str(row[0].status) for row in REFUSALS])
def test_a_kind_that_a_refused_document_could_show_is_not_ruled_out(
    refusal: Response, kind: type[ResumeError], status: int
) -> None:
    both = {"langgraph_py_version": "1.2", "metadata": {"checkpoint_backend": "sqlite"}}  # agentseek's, or LangGraph's
    for answers in ((refusal, AGENT_PROTOCOL), (answer(both), refusal), (refusal, refusal)):
        with pytest.raises(kind) as refused:
            detected(*answers)
        assert (refused.value.http_status, type(refused.value)) == (status, kind)
        assert refused.value.metadata["document"] in ("/info", "/openapi.json")
        assert dict(refused.value.headers) == dict(refusal.headers)


@pytest.mark.parametrize("absent", [404, 405, 410])
def test_a_document_that_is_not_there_says_nothing(absent: int) -> None:
    card = answer({"name": "an agent"})
    assert detected(Response(absent), Response(absent), card) == "a2a"


def test_a_document_of_which_a_folder_is_shown_is_not_there() -> None:
    """So answers the server of a2a-sdk; a page to log in is another place."""
    card = answer({"name": "an agent"})
    info, openapi = (Response(307, (("location", f"http://h{path}/"),)) for path in ("/info", "/openapi.json"))
    assert detected(info, openapi, card) == "a2a"
    for elsewhere in ("http://h/login", "/openapi.json", ""):
        with pytest.raises(UpstreamError) as failed:
            detected(info, Response(307, (("location", elsewhere),)), card)
        assert failed.value.metadata["upstream_status"] == 307
    assert "(307) to /login" in str(found(info, Response(307, (("location", "http://h/login"),))).message)


@pytest.mark.parametrize("path", ["/info", "/openapi.json", "/.well-known/agent-card.json"])
def test_a_server_that_adds_a_slash_to_every_path_is_named_as_one(path: str) -> None:
    slashed = Response(301, (("location", f"http://agents.internal{path}/"),))
    error = found(*(slashed if path == known else NOT_FOUND for known in ("/info", "/openapi.json")))
    if path.startswith("/.well-known"):
        error = found(NOT_FOUND, NOT_FOUND, slashed)
    assert type(error) is UpstreamUnrecognised
    assert f"redirects (301) to {path}/, and" in error.message
    assert ("APPEND_SLASH" in error.message, "agents.internal" in error.message) == (True, False)
    assert f"to http://agents.internal{path}/, and" in error.reason


def found(*answers: Response) -> ResumeError:
    with pytest.raises(ResumeError) as refused:
        detected(*answers)
    return refused.value


def test_a_refused_document_does_not_matter_where_another_one_decides() -> None:
    agno = paths(**{"agents_{a}_runs_{b}_continue": ["post"], "teams_{a}_runs_{b}_continue": ["post"]})
    assert detected(NOT_FOUND, agno, Response(503)) == "agno"
    with pytest.raises(UpstreamError):
        detected(NOT_FOUND, NOT_FOUND, Response(503))


def test_all_questions_are_asked_at_once() -> None:
    flow = detect_flow(KNOWN)
    paths = ("/info", "/openapi.json", "/.well-known/agent-card.json")
    assert next(flow) == Ask(tuple(Request("GET", path) for path in paths))
    with pytest.raises(StopIteration) as ended:
        flow.send((answer({"name": "Aegra"}), NOT_FOUND, NOT_FOUND))
    assert ended.value.value == "aegra"


BELOW = answer({"paths": {f"/agents{path}": methods for path, methods in AGENT_PROTOCOL.json["paths"].items()}})


def below(prefix: str, first: tuple[Response, Response, Response], root: Response | None = None) -> str:
    """The backend below a prefix, where the server's description at its root is read if `root` is given."""
    flow = detect_flow(KNOWN, prefix)
    try:
        assert isinstance(step := next(flow), Ask)
        assert [request.target for request in step.requests] == [
            "/info",
            "/openapi.json",
            "/.well-known/agent-card.json",
        ]
        step = flow.send(first)
        assert (step, root is None) == (ROOT_OF_SERVER, False)
        flow.send((root,))
    except StopIteration as found:
        return str(found.value)
    raise AssertionError("asked too much")


ROOT_OF_SERVER = Ask((Request("GET", "/openapi.json", below_prefix=False),))
NOTHING = (NOT_FOUND, NOT_FOUND, NOT_FOUND)


def test_a_description_at_the_root_tells_of_the_routes_below_the_prefix() -> None:
    assert below("/agents", NOTHING, BELOW) == "agent-protocol"
    native = answer({"paths": {f"/agents{mode.route}": {"patch": {}} for mode in Mode}})
    assert below("/agents", (answer({"name": "Aegra"}), NOT_FOUND, NOT_FOUND), native) == "native"


@pytest.mark.parametrize("prefix", ["/agent", "/agents/v1", "/other"])
def test_routes_elsewhere_are_not_those_of_the_backend(prefix: str) -> None:
    with pytest.raises(UpstreamUnrecognised):
        below(prefix, NOTHING, BELOW)
    with pytest.raises(UpstreamUnrecognised):
        below(prefix, NOTHING, AGENT_PROTOCOL)


def test_the_root_is_not_read_where_the_prefix_has_a_description_or_there_is_no_prefix() -> None:
    assert below("/agents", (NOT_FOUND, AGENT_PROTOCOL, NOT_FOUND)) == "agent-protocol"
    with pytest.raises(UpstreamUnrecognised):
        below("", NOTHING)


@pytest.mark.parametrize(("refusal", "kind", "status"), REFUSALS, ids=[str(row[0].status) for row in REFUSALS])
def test_a_root_that_refuses_matters_only_where_nothing_else_tells(
    refusal: Response, kind: type[ResumeError], status: int
) -> None:
    assert below("/agents", (answer({"name": "Aegra"}), NOT_FOUND, NOT_FOUND), refusal) == "aegra"
    with pytest.raises(kind) as refused:
        below("/agents", NOTHING, refusal)
    assert refused.value.http_status == status
