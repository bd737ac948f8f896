"""The profile language: loaded with care, and turned into a dialect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Answers, Continue, Found, Started
from ap_resume_shim.core.errors import ConfigurationError, ResumeError, UnsupportedInput
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.reframer import Ended, Relay
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from tests.core.driving import NOW, USUAL, follow

SMALL = """\
name = "small"
thread_is = "a session"

[lookup.session]
request = "GET /sessions/{thread_id}"

[found]
status = "/session/state"
interrupts = "/session/asks"

[resume]
background = "POST /go"
wait = "POST /go/wait"
stream = "POST /go/stream"
answer = "/answer"
json = { session = "$thread_id", by = "$agent_id", meta = "$metadata", conf = "$config", leave = "$on_disconnect" }

[run]
read = "GET /runs/{run_id}"
location = "/runs/{run_id}"
"""
A, B, NAMELESS = Interrupt("a", "A?"), Interrupt("b", "B?"), Interrupt(None)
OK = Response(200)


def profile(*more: str, **changes: str) -> ProfileDialect:
    """The small profile, with lines added at its end and the values of keys changed."""
    text = SMALL
    for key, value in changes.items():
        text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    return ProfileDialect(load_profile("\n".join((text, *more))))


def resume(mode: Mode = Mode.WAIT, **fields: Any) -> Resume:
    return parse(strictjson.dumps({"thread_id": "t", **fields}), mode, now="")


def test_ids_may_have_a_form_that_no_other_key_has() -> None:
    assert profile().interrupt_id_form is None
    form = profile('[interrupt]\nid_form = "q[0-9]+"').interrupt_id_form
    assert form is not None
    assert form.fullmatch("q12")
    assert not form.fullmatch("q12x")
    with pytest.raises(ConfigurationError, match=r"interrupt.id_form: '\(' is no regular expression"):
        profile('[interrupt]\nid_form = "("')


def test_a_profile_names_the_fields_that_would_move_a_resume() -> None:
    assert profile().redirecting == frozenset()
    text = SMALL.replace("[resume]", '[resume]\nredirecting = ["checkpoint_id", "__pregel_*"]')
    assert ProfileDialect(load_profile(text)).redirecting == {"checkpoint_id", "__pregel_*"}


def answered(value: Any, status: int = 200) -> Response:
    return Response(status, (), strictjson.dumps(value))


def look(dialect: ProfileDialect, *answers: Any, **fields: Any) -> tuple[tuple[Request, ...], Found[Any]]:
    lookup = dialect.inspect_thread(resume(**fields))
    asked = next(lookup)
    with pytest.raises(StopIteration) as ended:
        lookup.send(tuple(item if isinstance(item, Response) else answered(item) for item in answers))
    return asked.requests, ended.value.value  # type: ignore[union-attr]


def refused(dialect: ProfileDialect, *answers: Any, **fields: Any) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        look(dialect, *answers, **fields)
    return error.value


def test_a_profile_says_what_it_is_for() -> None:
    dialect = profile()
    assert (dialect.name, dialect.thread_is, dialect.partial) == ("small", "a session", True)
    assert (dialect.unsupported, dialect.carries_both, dialect.forwards_extra) == (frozenset(), False, False)
    assert dialect.thread_key("Ab") == "Ab"


# Mistakes in a profile


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "small"', "", "mine: name: is required"),
        ("thread_is =", "thread_si =", "mine: line 2: thread_si: unknown key; did you mean 'thread_is'?"),
        ("[found]", "[found]\nzzz = 1", "mine: line 8: found.zzz: unknown key"),
        (
            '"GET /sessions/{thread_id}"',
            '"sessions"',
            "line 5: lookup.session.request: a request is written as a method",
        ),
        (
            "GET /sessions/{thread_id}",
            "GET /sessions/{run_id}",
            "supports {thread_id} and {agent_id}, not {run_id}",
        ),
        ("POST /go/wait", "POST /go/{session}", "supports {thread_id} and {agent_id} and {run_id}, not {session}"),
        ('location = "/runs/{run_id}"', 'location = "/{agent_id}"', "thread_id} and {run_id}, not {agent_id}"),
        ('answer = "/answer"', 'answer = "here"', "a JSON pointer starts with a slash: 'here'"),
        ('"/session/state"', '"/thread/state"', "mine: [found] status does not begin with a known name: /session"),
        ('"/session/state"', '""', "mine: [found] status does not begin with a known name: /session"),
        ("[run]", "[run]\ncancel = 1", "line 19: run.cancel: must be text"),
        (
            "[run]",
            '[[error]]\nstatus = 400\nraises = "oops"\n[run]',
            "'oops' is none of agent_not_found, invalid_request",
        ),
        ("[lookup.session]\nrequest", "[lookup]\n[other]\nrequest", "lookup: must not be empty"),
        (
            "[run]",
            "[run]\nactive = [1.5, {}]",
            "line 19: run.active.1: must be text, or must be a whole number, or must be ",
        ),
        ("[found]", "[found]\nvalues = 1", "line 8: found.values: must be text, or must be a list"),
        ("[run]", "[run]\nid = {}\n[agent]\nrequest = 1", "agent.request: must be text"),
        ("[found]", "[detect]\ninfo = 1\n[found]", "detect.info: must be a table"),
        ("[run]", '[list]\nthread = "/x"\n[run]', "line 19: list.thread: unknown key; did you mean 'threads'?"),
        ("[run]", '[stream]\nquestoin = ""\n[run]', "19: stream.questoin: unknown key; did you mean 'question'?"),
        ("[run]", "[run", "mine: Expected ']' at the end of a table declaration"),
        (
            'thread_is = "a session"',
            'thread_is = ""\nunsupported = ["x"]',
            "unsupported.0: must be 'metadata', 'config', ",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, says: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigurationError) as wrong:
        load_profile(SMALL.replace(old, new, 1), source="mine")
    assert says in str(wrong.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as wrong:
        load_profile(SMALL.replace("name =", "nome =").replace("wait =", "wiat ="))
    assert len(str(wrong.value).splitlines()) == 3


def test_a_place_for_the_answer_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="resume_at: "):
        ProfileDialect(load_profile(SMALL), resume_at="answer")


# Looking at a thread


def test_the_lookups_are_made_side_by_side() -> None:
    dialect = profile("[lookup.runs]", 'request = "POST /search"', 'json = { id = "$thread_id", agent = "$agent_id" }')
    requests, _ = look(dialect, {"state": "idle"}, [])
    assert requests == (Request.get("/sessions/t"), Request.post("/search", {"id": "t"}))


@pytest.mark.parametrize("word", ["idle", "busy", "interrupted", "error"])
def test_the_words_of_the_draft_are_known(word: str) -> None:
    assert look(profile(), {"state": word, "asks": []})[1].status == word


def test_a_backend_may_have_other_words() -> None:
    dialect = profile("[status]", 'busy = ["running", "queued"]', 'interrupted = ["waiting"]')
    assert look(dialect, {"state": "queued"})[1].status == "busy"
    assert refused(dialect, {"state": "busy"}).message == "The profile 'small' has no thread status 'busy'."


@pytest.mark.parametrize("answer", [{}, {"state": None}, {"state": {"of": "things"}}, {"state": ["idle"]}])
def test_a_status_that_is_no_word_is_unrecognised(answer: Any) -> None:
    assert refused(profile(), answer).code == "upstream_unrecognised"


@pytest.mark.parametrize(
    ("told", "interrupts", "breakpoint_"),
    [
        ({"state": "interrupted", "asks": [{"id": "a", "value": "A?"}]}, (A,), False),
        ({"state": "idle", "asks": [{"id": "a", "value": "A?"}]}, (A,), False),
        ({"state": "busy", "asks": [{"id": "a", "value": "A?"}]}, (A,), False),
        ({"state": "interrupted", "asks": [{}]}, (NAMELESS,), False),
        ({"state": "interrupted"}, (NAMELESS,), False),
        ({"state": "interrupted", "asks": None}, (NAMELESS,), False),
        ({"state": "interrupted", "asks": []}, (), True),
        ({"state": "idle"}, (), False),
        ({"state": "busy"}, (), False),
    ],
)
def test_questions_are_found(told: Any, interrupts: tuple[Interrupt, ...], breakpoint_: bool) -> None:
    found = look(profile(), told)[1]
    assert (found.interrupts, found.breakpoint) == (interrupts, breakpoint_)


def test_questions_of_another_shape_are_unrecognised_rather_than_lost() -> None:
    assert refused(profile(), {"state": "interrupted", "asks": ["A?"]}).code == "upstream_unrecognised"


def test_what_else_a_lookup_tells_is_found() -> None:
    places = [f'{name} = "/session/{name}"' for name in ("values", "messages", "agent_id", "run_id", "error")]
    dialect = profile(interrupts="\n".join(['"/session/asks"', *places]))
    told = {"state": "error", "values": {"a": 1}, "messages": ["m"], "agent_id": "x", "run_id": "r", "error": "boom"}
    found = look(dialect, told)[1]
    assert found == Found("error", agent_id="x", run_id="r", error="boom", values={"a": 1, "messages": ["m"]})


def test_messages_are_values_where_there_are_no_others() -> None:
    dialect = profile(interrupts='"/session/asks"\nmessages = "/session/said"')
    assert look(dialect, {"state": "idle", "said": []})[1].values == {"messages": []}


AGENT = ("[agent]", 'request = "GET /agents/{agent_id}"')


def test_an_agent_that_was_named_is_checked_beside_the_lookups() -> None:
    requests, found = look(profile(*AGENT), {"state": "idle"}, {}, agent_id="x y")
    assert requests == (Request.get("/sessions/t"), Request.get("/agents/x%20y"))
    assert found.agent_id == "x y"


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_agent_that_the_backend_does_not_know_is_404(status: int) -> None:
    error = refused(profile(*AGENT), {"state": "idle"}, Response(status), agent_id="x")
    assert (error.code, error.http_status) == ("agent_not_found", 404)


def test_an_agent_that_cannot_be_checked_is_not_sent() -> None:
    assert refused(profile(*AGENT), {"state": "idle"}, Response(500), agent_id="x").code == "upstream_error"


def test_who_runs_does_not_matter_any_more_after_the_resume() -> None:
    lookup = profile(*AGENT).inspect_thread(resume(agent_id="x"), full=False)
    assert next(lookup).requests == (Request.get("/sessions/t"),)  # type: ignore[union-attr]


def test_a_rule_tells_what_a_refusal_means() -> None:
    rule = ("[[error]]", "status = 400", 'contains = "no session"', 'raises = "thread_not_found"')
    assert refused(profile(*rule), answered({"detail": "No session t"}, 400)).code == "thread_not_found"
    assert refused(profile(*rule), answered({"detail": "Bad"}, 400)).code == "invalid_request"
    assert profile(*rule).refusal(answered({"detail": "No session t"}, 400)).code == "thread_not_found"


# The request that resumes


def sent(dialect: ProfileDialect, given: Answers | Continue, *pending: Interrupt, **fields: Any) -> Any:
    return dialect.resume(resume(**fields), Found("interrupted", pending or (A,), agent_id="x"), given).json


@pytest.mark.parametrize(
    ("mode", "target", "accept"),
    [
        (Mode.BACKGROUND, "/go", "application/json"),
        (Mode.WAIT, "/go/wait", "application/json"),
        (Mode.STREAM, "/go/stream", "text/event-stream"),
    ],
)
def test_each_mode_has_its_request(mode: Mode, target: str, accept: str) -> None:
    request = profile().resume(resume(mode), Found("interrupted", (A,)), Answers({"a": 1}))
    assert (request.method, request.target, request.accept) == ("POST", target, accept)


def test_the_template_is_filled_and_what_is_absent_left_out() -> None:
    assert sent(profile(), Answers({None: 1})) == {"session": "t", "by": "x", "leave": "cancel", "answer": 1}


def test_fields_of_the_draft_reach_the_backend() -> None:
    body = sent(profile(), Answers({None: 1}), metadata={"a": 1}, config={"tags": ["x"], "recursion_limit": None})
    assert (body["meta"], body["conf"]) == ({"a": 1}, {"tags": ["x"]})


def test_a_background_resume_says_nothing_about_a_client_that_leaves() -> None:
    request = profile().resume(resume(Mode.BACKGROUND), Found("interrupted", (A,)), Answers({None: 1}))
    assert "leave" not in request.json


def test_stream_modes_reach_the_backend_on_a_stream_alone() -> None:
    dialect = profile(json='{ modes = "$stream_mode" }')
    request = dialect.resume(resume(Mode.STREAM, stream_mode=["updates"]), Found("interrupted"), Answers({None: 1}))
    assert request.json == {"modes": ["updates"], "answer": 1}
    assert sent(dialect, Answers({None: 1})) == {"answer": 1}


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_every_value_is_put_in_its_place(value: Any) -> None:
    assert sent(profile(), Answers({None: value}))["answer"] == value


def test_going_on_sends_no_answer() -> None:
    assert "answer" not in sent(profile(), Continue())


def test_the_operator_may_move_the_answer() -> None:
    dialect = ProfileDialect(load_profile(SMALL), resume_at="/command/resume")
    assert sent(dialect, Answers({None: 1}))["command"] == {"resume": 1}
    assert dialect.reserved == {"session", "by", "meta", "conf", "leave", "command"}


@pytest.mark.parametrize(
    ("keyed", "answers", "pending", "expected"),
    [
        ("never", {"a": 1}, (A,), 1),
        ("several", {"a": 1}, (A,), 1),
        ("several", {"a": 1}, (A, B), {"a": 1}),
        ("several", {"a": 1, "b": 2}, (A, B), {"a": 1, "b": 2}),
        ("always", {"a": 1}, (A,), {"a": 1}),
        ("always", {None: 1}, (NAMELESS,), 1),
    ],
)
def test_answers_are_keyed_as_the_profile_says(keyed: str, answers: Any, pending: Any, expected: Any) -> None:
    dialect = profile(answer=f'"/answer"\nkeyed = "{keyed}"')
    assert sent(dialect, Answers(answers), *pending)["answer"] == expected


def test_a_backend_that_cannot_be_told_which_question_is_asked_one_only() -> None:
    dialect = profile(answer='"/answer"\nkeyed = "never"')
    dialect.check(resume(), Found("interrupted", (A,)), Answers({"a": 1}))
    with pytest.raises(ResumeError) as error:
        dialect.check(resume(), Found("interrupted", (A, B)), Answers({"a": 1}))
    assert error.value.code == "multiple_interrupts"


def test_unknown_fields_go_on_where_the_vocabulary_is_the_same() -> None:
    dialect = profile(thread_is='""\nforwards_extra = true')
    assert sent(dialect, Answers({None: 1}), extra=1)["extra"] == 1
    assert "extra" not in sent(profile(), Answers({None: 1}), extra=1)


def test_fields_of_the_servers_own_vocabulary_go_on() -> None:
    dialect = profile(thread_is='""\nvocabulary = ["extra"]')
    assert dialect.vocabulary == {"extra"}
    body = sent(dialect, Answers({None: 1}), extra=1, other=2)
    assert (body["extra"], "other" in body) == (1, False)


def test_an_agent_in_the_path_has_to_be_known() -> None:
    dialect = profile(wait='"POST /agents/{agent_id}/go"')
    request = dialect.resume(resume(), Found("interrupted", agent_id="x y"), Continue())
    assert request.target == "/agents/x%20y/go"
    with pytest.raises(ResumeError, match="name it in `agent_id`"):
        dialect.check(resume(), Found("interrupted"), Continue())


def test_a_profile_needs_no_preparation() -> None:
    with pytest.raises(StopIteration) as ended:
        next(profile().prepare(resume(), Found("idle"), Continue()))
    assert ended.value.value == (Found("idle"), Continue())


# The run


@pytest.mark.parametrize(
    ("mode", "body", "run_id"),
    [
        (Mode.BACKGROUND, b'{"run_id": "r"}', "r"),
        (Mode.WAIT, b'{"run": {"run_id": "r"}}', "r"),
        (Mode.STREAM, b'event: metadata\ndata: {"run_id": "r"}\n\n', "r"),
        (Mode.BACKGROUND, b"{}", None),
        (Mode.BACKGROUND, b"oops", None),
        (Mode.BACKGROUND, b'{"run_id": 7}', None),
        (Mode.WAIT, b"", None),
        (Mode.STREAM, b"", None),
        (Mode.STREAM, b'event: values\ndata: {"run_id": "no"}\n\n', None),
    ],
)
def test_the_run_is_named_by_the_answer(mode: Mode, body: bytes, run_id: str | None) -> None:
    started = profile().started(OK, body, resume(mode), Found("interrupted", agent_id="x"))
    assert started == (None if run_id is None else Started(run_id, "x"))


def test_the_run_is_named_by_content_location_where_the_body_does_not() -> None:
    head = Response(200, (("Content-Location", "/runs/r/"),))
    assert profile().started(head, b"", resume(), Found("idle")) == Started("r")
    body = b'{"run": {"run_id": "s"}}'
    assert profile().started(head, body, resume(), Found("idle")) == Started("s")


def test_the_run_is_told_with_its_times() -> None:
    run = strictjson.dumps({"run_id": "r", "created_at": "1", "updated_at": "2"})
    started = profile().started(OK, run, resume(Mode.BACKGROUND), Found("idle"))
    assert started == Started("r", None, "1", "2")


def test_the_run_has_an_address_of_its_own() -> None:
    started: Started[None] = Started("r/1")
    assert profile().location(resume(), started) == "/runs/r%2F1"
    assert profile().run(resume(), started) == Request.get("/runs/r%2F1")


def test_what_the_backend_has_no_request_for_is_not_done() -> None:
    assert profile().cancel(resume(), Started("r")) is None
    assert profile().join(resume(), Started("r")) is None
    assert profile().delete(resume()) is None


def test_the_run_is_cancelled_and_the_thread_deleted_by_request() -> None:
    dialect = profile(
        location='"/"\ncancel = "POST /runs/{run_id}/stop"', thread_is='""\ndelete = "DELETE /s/{thread_id}"'
    )
    assert dialect.cancel(resume(), Started("r")) == Request("POST", "/runs/r/stop")
    assert dialect.delete(resume()) == Request("DELETE", "/s/t")


@pytest.mark.parametrize(("status", "ended"), [("pending", False), ("running", False), ("success", True), (None, True)])
def test_a_run_is_over_when_its_status_is_none_of_the_active_ones(status: Any, ended: bool) -> None:
    assert profile().has_ended(answered({"status": status})) is ended


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        (b'\n\n{"run": {}, "values": {"a": 1}}', Ended({"a": 1})),
        (b'{"values": {"a": 1}, "messages": []}', Ended({"a": 1, "messages": []})),
        (b'{"messages": ["m"]}', Ended({"messages": ["m"]})),
        (b'{"values": null, "messages": []}', Ended({"messages": []})),
        (b'{"values": [1], "messages": []}', Ended({"value": [1], "messages": []})),
        (b'{"values": "done", "messages": ["m"]}', Ended({"value": "done", "messages": ["m"]})),
        (b'{"run": {"error": "boom"}}', Ended(None, "boom")),
    ],
)
def test_the_result_is_read_from_the_waits_answer(body: bytes, ended: Ended) -> None:
    assert profile("[wait]", 'error = "/run/error"').ended(body) == ended
    assert profile().ended(body).error is None


def test_a_result_of_another_type_is_not_guessed() -> None:
    with pytest.raises(ResumeError, match="supports only objects as results"):
        profile().ended(b"[]")


def test_its_stream_is_relayed() -> None:
    assert isinstance(profile().reframer(resume(), Started("r")), Relay)


# A stream with events of other names


STREAM = """
[stream]
values = ["state"]
updates = ["step", "tool"]
error = "crash"
interrupt = "asks"
question = "/what"
"""


def streamed(
    dialect: ProfileDialect, *events: tuple[str, Any], modes: Any = ("values", "updates")
) -> tuple[str, Ended]:
    reframer = dialect.reframer(resume(Mode.STREAM, stream_mode=list(modes)), Started("r"))
    stream = b"".join(sse.encode(name, value) for name, value in events)
    told = b"".join(reframer.feed(bytes([byte])) for byte in stream) + reframer.finish()
    assert (reframer.between_events, reframer.over) == (True, False)
    return told.decode(), reframer.ended()


def test_events_that_have_a_name_become_the_drafts_and_others_are_left_out() -> None:
    told, ended = streamed(profile(STREAM), ("state", {"a": 1}), ("noise", 1), ("tool", {"t": 2}), ("end", {}))
    assert told == 'event: values\ndata: {"a":1}\n\nevent: updates\ndata: {"t":2}\n\n'
    assert ended == Ended({"a": 1})


def test_only_the_modes_asked_for_are_told_and_errors_always() -> None:
    told, ended = streamed(profile(STREAM), ("state", 1), ("step", 2), ("crash", {"message": "no"}), modes=["updates"])
    assert told == 'event: updates\ndata: 2\n\nevent: error\ndata: {"message":"no"}\n\n'
    assert ended == Ended(1, {"message": "no"})


def test_a_question_is_told_as_langgraph_does() -> None:
    told, _ = streamed(profile(STREAM), ("asks", {"what": "sure?"}), modes=["values"])
    assert told == 'event: values\ndata: {"__interrupt__":[{"id":null,"value":"sure?"}]}\n\n'
    assert 'null,"value":null' in streamed(profile(STREAM), ("asks", "no object"))[0]


def test_a_comment_is_no_event() -> None:
    reframer = profile(STREAM).reframer(resume(), Started("r"))
    assert reframer.feed(b": keep-alive\n\ndata: 1\n\n") == b""


# What is lost on the way


@pytest.mark.parametrize("value", [2**53, [-(2**53)], {"a": {"b": 2**60}}, "a\0b", {"a\0": 1}], ids=repr)
def test_what_a_backend_loses_is_refused_wherever_it_is(value: Any) -> None:
    dialect = profile(answer='"/answer"\nkeyed = "always"\nloses = ["large_integers", "nul_characters"]')
    for id_ in (None, "a"):
        with pytest.raises(UnsupportedInput):
            dialect.check(resume(), Found("interrupted", (A,)), Answers({id_: value}))
    others: list[Any] = [2**53 - 1, True, 1e300, "\\0", [None], {}]
    for kept in others:
        dialect.check(resume(), Found("interrupted", (A,)), Answers({"a": kept}))


# Being recognised


def test_a_profile_may_say_how_its_server_is_recognised() -> None:
    detect = '[detect]\nopenapi = ["POST /a/{b}"]\ninfo_has = ["/x"]\ninfo = { "/y" = 1 }'
    assert profile(detect).fingerprints == (Fingerprint(frozenset({"POST /a/{}"}), {"/x": None, "/y": 1}),)


# A server whose runs have no ids


SESSIONS = """
name = "sessions"
thread_is = "a session"
lookup.session.request = "GET /sessions/{thread_id}"
found = { status = "/session/state", interrupt = "/session/asks" }
resume = { answer = "/answer", MODE = "POST /sessions/{thread_id}/go" }
"""
ANSWERS = {"background": b"{}", "wait": b"{}", "stream": b"event: values\ndata: {}\n\n"}


@pytest.mark.parametrize("mode", list(Mode), ids=["background", "wait", "stream"])
@pytest.mark.parametrize("native", ANSWERS)
def test_a_run_that_the_server_does_not_name_is_named_by_the_shim(native: str, mode: Mode) -> None:
    dialect = ProfileDialect(load_profile(SESSIONS.replace("MODE", native)))
    raw = strictjson.dumps({"thread_id": "t", "input": "yes"})
    told = follow(
        resume_flow(parse(raw, mode, now=NOW, nonce="n"), dialect, FlowSettings()),
        {
            **USUAL,
            "GET /sessions/t": [answered({"state": "interrupted", "asks": "?"}), answered({"state": "idle"})],
            "send": OK,
            "read body": ANSWERS[native],
            "read events": ANSWERS[native],
        },
    )
    assert (told.error, told.run_id) == (None, "n")
    assert not [step for step in told.steps if "/runs" in step]


@pytest.mark.parametrize("read", [None, "GET /runs/{run_id}", "GET /sessions/{thread_id}/run"])
def test_a_name_that_the_shim_has_made_is_never_sent(read: str | None) -> None:
    lines = [] if read is None else ["[run]", f'read = "{read}"', 'location = "/runs/{run_id}"']
    dialect = ProfileDialect(load_profile("\n".join([SESSIONS.replace("MODE", "wait"), *lines])))
    made = parse(b'{"thread_id": "t"}', Mode.WAIT, now=NOW, nonce="n")
    assert dialect.run(made, Started("n")) == (Request.get("/sessions/t/run") if read and "thread" in read else None)
    assert dialect.location(made, Started("n")) is None


@pytest.mark.parametrize("mode", ANSWERS)
def test_a_resume_that_names_the_run_has_to_find_it(mode: str) -> None:
    text = SESSIONS.replace("MODE", mode).replace("{thread_id}/go", "{run_id}/go")
    with pytest.raises(ConfigurationError, match=r"\[resume\] needs {run_id}: set run_id in \[found\]"):
        load_profile(text)


# What is compared


@pytest.mark.parametrize(
    ("told", "status"), [(True, "busy"), (1, "interrupted"), (1.5, "error"), (False, "idle"), ("1", None), (0, None)]
)
def test_a_status_may_be_any_scalar_and_true_is_not_1(told: Any, status: str | None) -> None:
    words = ["[status]", "busy = [true]", "interrupted = [1]", "error = [1.5]", "idle = [false]"]
    if status is None:
        assert refused(profile(*words), {"state": told}).code == "upstream_unrecognised"
    else:
        assert look(profile(*words), {"state": told})[1].status == status


@pytest.mark.parametrize(("told", "ended"), [(True, False), (1, True), (False, True)])
def test_a_run_may_tell_by_a_flag_that_it_goes_on(told: Any, ended: bool) -> None:
    assert profile("active = [true]").has_ended(answered({"status": told})) is ended


@pytest.mark.parametrize("status", ["idle", "busy", "interrupted", "error"])
def test_a_question_is_pending_under_any_status(status: str) -> None:
    dialect = profile(interrupts='"/session/none"\ninterrupt = "/session/ask"')
    assert look(dialect, {"state": status, "ask": "sure?"})[1].interrupts == (Interrupt(None, "sure?"),)
    assert look(dialect, {"state": status})[1].interrupts == ((NAMELESS,) if status == "interrupted" else ())


BASE = """
name = "base"
thread_is = "a session"
lookup.session.request = "GET /sessions/{thread_id}"
found.status = "/session/state"
resume = { wait = "POST /sessions/{thread_id}/answer", answer = "/answer", keyed = "never" }
"""
EXTENDS = 'name = "mine"\nextends = "base"\nresume = { wait = "POST /answers", answer = "/text" }\n'


def test_a_profile_that_extends_another_has_its_tables_and_replaces_whole_ones() -> None:
    profile = load_profile(EXTENDS, others={"base": BASE})
    assert (profile.name, profile.thread_is) == ("mine", "a session")
    assert (profile.resume.wait, profile.resume.answer) == ("POST /answers", "/text")
    assert profile.resume.keyed == load_profile(BASE.replace(', keyed = "never"', "")).resume.keyed


@pytest.mark.parametrize(("others", "hint"), [({"base2": BASE}, "did you mean 'base2'"), ({}, "there are none")])
def test_a_profile_that_extends_an_unknown_one_is_refused(others: dict[str, str], hint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"mine\.toml: extends: unknown profile 'base'; {hint}"):
        load_profile(EXTENDS, source="mine.toml", others=others)
