"""A client's own request, and the defaults of a convention."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.errors import GuardUnavailable, InvalidRequest, UpstreamRefused
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.json_rpc import A2aCall
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, read_answer
from tests.core.driving import NOW, Plain


class Anything(Convention):
    """A convention in which each POST with a body answers."""

    name = "anything"

    def matches(self, method: str, path: str) -> bool:
        return method == "POST"

    def read(self, request: ClientRequest) -> VendorResume | None:
        return VendorResume(self, request, "t", Mode.WAIT, {"input": request.json}) if request.body else None


def test_a_body_that_is_no_json_is_null_and_no_object() -> None:
    request = ClientRequest("POST", "/", body=b"{")
    assert (request.json, request.object) == (None, {})
    assert ClientRequest("POST", "/", body=b"[1]").object == {}
    assert ClientRequest("POST", "/", body=b'{"a": 1, "a": 2}').object == {"a": 2}


def test_parameters_headers_and_forms_are_read_as_servers_read_them() -> None:
    form = (("content-type", "application/x-www-form-urlencoded"), ("x", "1"), ("x", "2"))
    request = ClientRequest("POST", "/", "a=1&a=%C3%A4&b=", form, b"c=3")
    assert request.parameters == {"a": "ä", "b": ""}
    assert (request.header("x"), request.header("y")) == ("1", None)
    assert request.form == {"c": "3"}
    assert ClientRequest("POST", "/", body=b"c=3").form == {}


def test_the_first_convention_that_reads_an_answer_counts() -> None:
    class Dialect(Plain):
        conventions = (Anything(), Anything())

    answer = ClientRequest("POST", "/", body=b"1")
    vendor = Dialect().recognise(answer)
    assert vendor is not None
    assert vendor.convention is Dialect.conventions[0]
    assert Dialect().recognise(ClientRequest("POST", "/")) is None
    assert Dialect().recognise(ClientRequest("GET", "/", body=b"1")) is None
    with pytest.raises(NotImplementedError):
        Dialect().locate(vendor)


def test_a_convention_has_to_say_what_it_matches_and_reads() -> None:
    with pytest.raises(NotImplementedError):
        Convention().matches("POST", "/")
    with pytest.raises(NotImplementedError):
        Convention().read(ClientRequest("POST", "/"))
    with pytest.raises(NotImplementedError):
        A2aCall().read_message(ClientRequest("POST", "/"), Mode.WAIT, {}, {})


def test_a_refusal_while_an_answer_is_read_keeps_its_reason_and_anything_else_is_unreadable() -> None:
    refused = InvalidRequest("No.")
    for raised, reason in ((refused, "No."), (KeyError("x"), "unexpected type"), (RecursionError(), "too deep")):

        class Failing(Anything):
            def read(self, request: ClientRequest, raised: Exception = raised) -> VendorResume | None:
                raise raised

        with pytest.raises(InvalidRequest, match=reason):
            read_answer([Failing()], ClientRequest("POST", "/"))


def test_by_default_a_2xx_is_an_acceptance_and_a_refusal_keeps_its_status_unless_it_is_5xx() -> None:
    vendor = VendorResume(Anything(), ClientRequest("POST", "/"), "t", Mode.WAIT)
    convention = vendor.convention
    assert convention.took(vendor, Response(200))
    assert not convention.reads_body(vendor, Response(200))
    assert not convention.commits_late(vendor)
    login = convention.refusal(vendor, UpstreamRefused(401, "Log in.", (("www-authenticate", "Bearer"),)))
    assert (login.status, login.headers, login.value["detail"]) == (401, (("www-authenticate", "Bearer"),), "Log in.")
    away = convention.refusal(vendor, GuardUnavailable("Away."))
    assert (away.status, away.headers, away.value["code"]) == (409, (), "guard_unavailable")


def test_a_vendor_resume_is_a_resume_of_the_draft() -> None:
    vendor = VendorResume(Anything(), ClientRequest("POST", "/"), None, Mode.WAIT, {"input": None}, run_id="r")
    resume = vendor.resume("t", now=NOW, nonce="n")
    assert (resume.thread_id, resume.run_id, resume.body.has_input) == ("t", "r", True)
    again = vendor.resume("T", now="later", nonce="m")
    assert resume.fingerprint != again.fingerprint
    for thread in ("", "a/b", "t" * 513):
        with pytest.raises(InvalidRequest):
            vendor.resume(thread, now=NOW, nonce="n")


def test_a_convention_of_requests_has_no_messages() -> None:
    convention = Anything()
    vendor = convention.read(ClientRequest("POST", "/", body=b"1"))
    assert vendor is not None
    assert not convention.websocket
    with pytest.raises(NotImplementedError):
        convention.is_reply(vendor, b"{}")
