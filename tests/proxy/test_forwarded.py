"""What is told of the client and of the proxy, what is believed of what others told, and that by default nothing is."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim import ConfigurationError, ResumeShim, ReverseProxy
from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.proxy.forwarded import Forwarding, LoopDetected
from ap_resume_shim.proxy.transport import Address
from tests.support.agent import PROTOCOL, resume
from tests.support.calling import CLIENT, http
from tests.support.serving import listening, serving

BACKEND = b"backend:2024"
HOST = (b"host", b"example.com:8063")
STRANGER, PROXY = ("192.0.2.7", 40000), ("127.0.0.1", 40001)


def sent(forwarding: Forwarding, *headers: tuple[bytes, bytes], **scope: Any) -> HeaderList:
    """What the backend gets of a request."""
    scope = {"client": STRANGER, "scheme": "http", **scope}
    return forwarding.request([HOST, *headers], http(**scope), BACKEND)


def told(forwarding: Forwarding, *headers: tuple[bytes, bytes], **scope: Any) -> dict[str, str]:
    """What the backend gets beside `Host`; every name once."""
    got = sent(forwarding, *headers, **scope)[1:]
    assert len(dict(got)) == len(got), "a name comes twice"
    return {name.decode(): value.decode("latin-1") for name, value in got}


def test_by_default_the_very_same_list_goes_on() -> None:
    headers = [HOST, (b"x-forwarded-for", b"spoofed"), (b"forwarded", b"for=x"), (b"via", b"1.1 shim")]
    before = list(headers)
    assert Forwarding().request(headers, http(client=STRANGER), BACKEND) is headers
    assert Forwarding().response(headers, http()) is headers
    assert headers == before


@pytest.mark.parametrize(
    "options", [{"keep_host": False}, {"via": "shim"}, {"forwarded": "both"}, {"forwarded": "both", "trusted": ["*"]}]
)
def test_what_came_is_never_changed_in_its_own_list(options: dict[str, Any]) -> None:
    headers = [HOST, (b"via", b"1.1 a"), (b"x-forwarded-for", b"9.9.9.9"), (b"forwarded", b"for=x")]
    before = list(headers)
    changed = Forwarding(**options).request(headers, http(client=STRANGER), BACKEND)
    assert headers == before != changed


# Host


def test_host_is_replaced_where_it_stands() -> None:
    headers = [(b"a", b"1"), HOST, (b"b", b"2")]
    changed = Forwarding(keep_host=False).request(headers, http(), BACKEND)
    assert changed == [(b"a", b"1"), (b"host", BACKEND), (b"b", b"2")]


def test_a_backends_name_outside_ascii_is_sent_in_its_ascii_form() -> None:
    assert Address.parse("http://bücher.example:2024").authority == b"xn--bcher-kva.example:2024"


def test_a_request_without_host_gets_the_backends() -> None:
    changed = Forwarding(keep_host=False).request([(b"a", b"1")], http(http_version="1.0"), BACKEND)
    assert changed == [(b"host", BACKEND), (b"a", b"1")]


@pytest.mark.parametrize("keep", [True, False])
def test_the_clients_host_is_told_either_way(keep: bool) -> None:
    got = dict(sent(Forwarding(keep_host=keep, forwarded="both")))
    assert got[b"host"] == (HOST[1] if keep else BACKEND)
    assert got[b"x-forwarded-host"] == HOST[1]
    assert got[b"forwarded"] == b'for=192.0.2.7;host="example.com:8063";proto=http'


# Via


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_via_has_the_version_of_the_request_and_stands_last(version: str) -> None:
    came = [(b"via", b"1.0 fred, 1.1 p.example.net"), (b"x", b"1"), (b"via", b"2 edge (nginx)")]
    assert sent(Forwarding(via="shim"), *came, http_version=version) == [
        HOST,
        *came,
        (b"via", f"{version} shim".encode()),
    ]


def test_the_answers_via_comes_after_the_backends() -> None:
    headers = [(b"via", b"1.1 backend"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert Forwarding(via="shim").response(headers, http(http_version="2")) == [*headers, (b"via", b"1.1 shim")]


@pytest.mark.parametrize(
    "came",
    [
        [b"1.1 shim"],
        [b"1.0 fred, 1.1 shim"],
        [b"1.0 fred,1.1\tshim (it (is) a comment, 1.1 x)", b"1.1 last"],
        [b"1.1 fred (a, b), HTTP/2  SHIM"],
        [b"1.1 fred", b"", b", ,1.1 Shim , 1.1 z"],
    ],
)
def test_a_request_that_came_through_here_before_is_a_loop(came: list[bytes]) -> None:
    with pytest.raises(LoopDetected, match="through Shim before"):
        sent(Forwarding(via="Shim"), *((b"Via", value) for value in came))


@pytest.mark.parametrize("came", [b"1.1 shim2", b"1.1 a-shim", b"shim", b"shim 1.1", b"1.1 x (a, 1.1 shim b)", b""])
def test_other_names_are_no_loop(came: bytes) -> None:
    assert (b"via", b"1.1 shim") in sent(Forwarding(via="shim"), (b"via", came))


@pytest.mark.parametrize("name", ["", "two words", "a,b", "a:80", "(x)", "müller", "a\n", "1.1 a"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no token"):
        Forwarding(via=name)


# Forwarded, X-Forwarded-*


def test_x_forwarded_tells_address_scheme_and_host() -> None:
    assert told(Forwarding(forwarded="x-forwarded"), scheme="https") == {
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "example.com:8063",
    }


def test_forwarded_tells_the_same_in_one_field() -> None:
    assert told(Forwarding(forwarded="forwarded"), scheme="https") == {
        "forwarded": 'for=192.0.2.7;host="example.com:8063";proto=https'
    }


@pytest.mark.parametrize(("scheme", "proto"), [("ws", "http"), ("wss", "https")])
def test_a_websocket_comes_by_http(scheme: str, proto: str) -> None:
    got = told(Forwarding(forwarded="both"), scheme=scheme)
    assert (got["x-forwarded-proto"], got["forwarded"].rpartition(";")[2]) == (proto, f"proto={proto}")


@pytest.mark.parametrize(
    ("address", "plain", "node"),
    [
        ("2001:db8::17", "2001:db8::17", '"[2001:db8::17]"'),
        ("fe80::1%eth0", "fe80::1", '"[fe80::1]"'),
        ("::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9"),
    ],
)
def test_addresses_of_version_6(address: str, plain: str, node: str) -> None:
    got = told(Forwarding(forwarded="both"), client=(address, 1))
    assert (got["x-forwarded-for"], got["forwarded"].partition(";")[0]) == (plain, f"for={node}")


@pytest.mark.parametrize("client", [None, ("", 0), ("/run/app.sock", None)])
def test_a_peer_on_a_unix_socket_has_no_address(client: Any) -> None:
    assert told(Forwarding(forwarded="both"), (b"x-forwarded-for", b"9.9.9.9"), client=client) == {
        "forwarded": 'for=unknown;host="example.com:8063";proto=http',
        "x-forwarded-proto": "http",
        "x-forwarded-host": "example.com:8063",
    }


def test_a_request_without_host_tells_none() -> None:
    changed = Forwarding(forwarded="both").request([], http(client=STRANGER), BACKEND)
    assert changed == [
        (b"forwarded", b"for=192.0.2.7;proto=http"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-proto", b"http"),
    ]


@pytest.mark.parametrize(("host", "quoted"), [(b"plain", "plain"), (b'a"b\\c', r'"a\"b\\c"'), (b"[::1]", '"[::1]"')])
def test_a_host_is_quoted_where_it_must_be(host: bytes, quoted: str) -> None:
    changed = Forwarding(forwarded="forwarded").request([(b"host", host)], http(client=STRANGER), BACKEND)
    assert dict(changed)[b"forwarded"].decode() == f"for=192.0.2.7;host={quoted};proto=http"


CLAIMS = [
    (b"X-Forwarded-For", b"6.6.6.6"),
    (b"forwarded", b"for=6.6.6.6"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"bank.example"),
    (b"x-forwarded-port", b"443"),
    (b"x-forwarded-user", b"root"),
    (b"Forwarded", b"for=7.7.7.7"),
    (b"x_forwarded_for", b"6.6.6.6"),
]


@pytest.mark.parametrize("kind", ["forwarded", "x-forwarded", "both"])
def test_a_stranger_is_believed_nothing(kind: Any) -> None:
    with_claims = told(Forwarding(forwarded=kind), *CLAIMS, (b"x-forward", b"kept"))
    assert with_claims.pop("x-forward") == "kept"
    assert with_claims == told(Forwarding(forwarded=kind))


def test_what_a_trusted_proxy_told_is_gone_on_with() -> None:
    came = [
        (b"X-Forwarded-For", b"203.0.113.9, 10.0.0.1"),
        (b"x-forwarded-for", b" "),
        (b"x-forwarded-for", b"10.0.0.2"),
    ]
    assert told(Forwarding(forwarded="x-forwarded"), *came, client=PROXY) == {
        "x-forwarded-for": "203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "example.com:8063",
    }


def test_forwarded_of_a_trusted_proxy_is_gone_on_with() -> None:
    came = [(b"forwarded", b'for="[2001:db8::1]";proto=https'), (b"Forwarded", b"for=_hidden, for=10.0.0.2")]
    got = told(Forwarding(forwarded="forwarded"), *came, client=("::1", 1))
    assert got["forwarded"] == (
        'for="[2001:db8::1]";proto=https, for=_hidden, for=10.0.0.2, for="[::1]";host="example.com:8063";proto=http'
    )


def test_scheme_and_host_of_a_trusted_proxys_client_stay() -> None:
    came = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"shop.example"), (b"x-forwarded-port", b"443")]
    got = told(Forwarding(forwarded="x-forwarded"), *came, client=PROXY)
    assert got == {
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        "x-forwarded-port": "443",
        "x-forwarded-for": "127.0.0.1",
    }


def test_a_proxy_on_a_unix_socket_that_is_trusted_is_only_not_named() -> None:
    came = [(b"x-forwarded-for", b"203.0.113.9"), (b"forwarded", b"for=203.0.113.9")]
    got = told(Forwarding(forwarded="both", trusted=["*"]), *came, client=None)
    assert got["x-forwarded-for"] == "203.0.113.9"
    assert got["forwarded"].startswith("for=203.0.113.9, for=unknown;")


@pytest.mark.parametrize(
    ("trusted", "client", "believed"),
    [
        (("127.0.0.1", "::1"), "127.0.0.1", True),
        (("127.0.0.1", "::1"), "::1", True),
        (("127.0.0.1", "::1"), "::ffff:127.0.0.1", True),
        (("127.0.0.1", "::1"), "127.0.0.2", False),
        (("10.0.0.0/8", "2001:db8::/32"), "10.255.0.1", True),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8:ff::1", True),
        (("10.0.0.0/8", "2001:db8::/32"), "11.0.0.1", False),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db9::1", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("*",), "203.0.113.1", True),
        (("10.0.0.1", "*"), "/run/app.sock", True),
        ((), "127.0.0.1", False),
    ],
)
def test_who_is_believed(trusted: tuple[str, ...], client: str, believed: bool) -> None:
    forwarding = Forwarding(forwarded="x-forwarded", trusted=trusted)
    assert ("x-forwarded-user" in told(forwarding, (b"x-forwarded-user", b"u"), client=(client, 1))) is believed


@pytest.mark.parametrize("peer", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", "unix"])
def test_a_peer_that_is_neither_address_nor_network_is_refused(peer: str) -> None:
    with pytest.raises(ConfigurationError, match="A trusted peer is an address, a network"):
        Forwarding(trusted=[peer])


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="it can be forwarded, x-forwarded or both"):
        Forwarding(forwarded="xff")  # type: ignore[arg-type]


def test_a_sidecar_in_front_of_itself_is_found_out() -> None:
    with listening() as bound:
        bound.listen()
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        proxy = ReverseProxy(address, forwarding=Forwarding(via="shim"))
        with serving(ResumeShim(proxy, PROTOCOL), at=bound) as url:
            passed, resumed = CLIENT.get(f"{url}/threads"), resume(url)
    assert (passed.status_code, "through shim before" in passed.text) == (508, True)
    assert (resumed.status_code, "through shim before" in resumed.json()["message"]) == (502, True)
