"""The option `public_url` of A2A: the URLs of a card, in 1.0 and in 0.3."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends.a2a import A2A
from ap_resume_shim.core.document_edit import Unedited
from ap_resume_shim.core.errors import ConfigurationError

CARD = "/.well-known/agent-card.json"
NEW: dict[str, Any] = {
    "name": "Theatre",
    "provider": {"url": "https://agents.example/about"},
    "supportedInterfaces": [
        {"protocolBinding": "GRPC", "protocolVersion": "1.0", "url": "https://agents.example/grpc"},
        {"protocolBinding": "JSONRPC", "protocolVersion": "1.0", "url": "https://agents.example/a2a"},
        {"protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "url": "https://AGENTS.example/rest?v=1"},
        {"protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "url": "https://other.example/rest"},
    ],
}
OLD: dict[str, Any] = {
    "name": "Theatre",
    "preferredTransport": "JSONRPC",
    "url": "http://10.0.0.1:9999/",
    "additionalInterfaces": [
        {"transport": "JSONRPC", "url": "http://10.0.0.1:9999/"},
        {"transport": "GRPC", "url": "10.0.0.1:50051"},
        {"transport": "HTTP+JSON", "url": "http://10.0.0.1:9999/v1"},
    ],
}


def edited(card: Any, public_url: str = "https://shim.example", **options: str) -> Any:
    (edit,) = A2A(public_url=public_url, **options).document_edits
    return edit.apply(CARD, card, "")


def urls(card: dict[str, Any]) -> list[str]:
    listed = [*card.get("supportedInterfaces", ()), *card.get("additionalInterfaces", ())]
    return [*([card["url"]] if "url" in card else []), *(each["url"] for each in listed)]


def test_interfaces_at_the_agents_address_get_the_shims() -> None:
    card = edited(NEW)
    assert urls(card) == [
        "https://agents.example/grpc",
        "https://shim.example/a2a",
        "https://shim.example/rest?v=1",
        "https://other.example/rest",
    ]
    assert card["provider"] == NEW["provider"]


def test_a_card_of_version_0_3_has_its_url_besides_the_list() -> None:
    assert urls(edited(OLD, "https://shim.example/agents/")) == [
        "https://shim.example/agents/",
        "https://shim.example/agents/",
        "10.0.0.1:50051",
        "https://shim.example/agents/v1",
    ]


def test_a_card_of_both_versions_leads_clients_of_both_to_the_shim() -> None:
    both = {**NEW, "url": "https://agents.example/a2a", "preferredTransport": "JSONRPC"}
    assert urls(edited(both))[::2] == [
        "https://shim.example/a2a",
        "https://shim.example/a2a",
        "https://other.example/rest",
    ]


def test_the_address_is_that_of_the_interface_that_the_shim_uses() -> None:
    other = {"supportedInterfaces": [*NEW["supportedInterfaces"][:2], NEW["supportedInterfaces"][3]]}
    assert urls(edited(other, binding="rest"))[1:] == ["https://agents.example/a2a", "https://shim.example/rest"]


def test_the_option_path_replaces_the_path_of_that_interface() -> None:
    assert urls(edited(NEW, path="/inner"))[1:3] == ["https://shim.example/inner", "https://shim.example/rest?v=1"]


def test_the_option_path_is_below_the_mount_point_and_the_url_in_a_card_is_not() -> None:
    (edit,) = A2A(public_url="https://shim.example", path="/inner").document_edits
    card = edit.apply(f"/m/api{CARD}", interfaces("http://h/wrong", "http://h/rest", "../b"), "/m/api")
    assert urls(card) == ["https://shim.example/m/api/inner", "https://shim.example/rest", "../b"]


def test_a_signed_card_stays_unchanged_for_a_reason() -> None:
    with pytest.raises(Unedited, match="The card is signed"):
        edited({**NEW, "signatures": [{"protected": "e30", "signature": "QQ"}]})


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "not an agent card"),
        ({}, "offers none"),
        ({"supportedInterfaces": "text"}, "offers none"),
        ({"supportedInterfaces": NEW["supportedInterfaces"][:1]}, "offers grpc"),
        ({"supportedInterfaces": [{**NEW["supportedInterfaces"][1], "url": "http://[bad/"}]}, "offers jsonrpc"),
    ],
)
def test_a_document_without_an_interface_for_the_shim_stays_unchanged_for_a_reason(document: Any, reason: str) -> None:
    with pytest.raises(Unedited, match=reason):
        edited(document)


def test_parts_of_a_card_that_are_none_stay_unchanged() -> None:
    card = edited({**OLD, "additionalInterfaces": [None, {"transport": "JSONRPC"}, {"transport": "x", "url": 1}]})
    assert card["additionalInterfaces"] == [None, {"transport": "JSONRPC"}, {"transport": "x", "url": 1}]
    assert edited({**OLD, "additionalInterfaces": None})["url"] == "https://shim.example/"


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        (CARD, True),
        ("/.well-known/agent.json", True),
        ("/agents/helper" + CARD, True),
        ("/a2a/extendedAgentCard", True),
        ("/cards/mine.json", True),
        ("/a2a/tasks", False),
        ("/.well-known/openid-configuration", False),
    ],
)
def test_cards_are_recognised_by_their_paths(path: str, covered: bool) -> None:
    (edit,) = A2A(public_url="https://shim.example", card="/cards/mi%6Ee.json?v=1").document_edits
    assert edit.covers(path) is covered


@pytest.mark.parametrize("malformed", [None, "text", {"url": 5}, {"url": "http://[bad/"}, {"url": "http://h:99999/"}])
def test_a_malformed_entry_stays_unchanged_beside_the_others(malformed: Any) -> None:
    listed = [malformed, NEW["supportedInterfaces"][1]]
    moved = [malformed, {**NEW["supportedInterfaces"][1], "url": "https://shim.example/a2a"}]
    assert edited({"supportedInterfaces": listed})["supportedInterfaces"] == moved
    old = edited({**OLD, "additionalInterfaces": [malformed]})
    assert (old["url"], old["additionalInterfaces"]) == ("https://shim.example/", [malformed])


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        ("a2a", "/.well-known/a2a"),
        ("../a2a?v=1", "/a2a?v=1"),
        ("/a2a", "/a2a"),
        ("//agents.example/a2a", "/a2a"),
        (".evil.example", "/.well-known/.evil.example"),
        ("@evil.example/", "/.well-known/@evil.example/"),
        ("http://agents.example", ""),
        ("", "/"),
        ("http://agents.example/a b", "/a%20b"),
    ],
)
def test_a_relative_url_is_resolved_and_none_leads_to_another_host(url: str, moved: str) -> None:
    assert urls(edited(interfaces(url))) == [f"https://shim.example{moved}"]


@pytest.mark.parametrize("url", ["http:a2a", "agents.example:80", "mailto:a2a"])
def test_a_url_that_is_no_address_is_none_of_the_shims_interfaces(url: str) -> None:
    assert urls(edited(interfaces(url, "http://h/a"))) == [url, "https://shim.example/a"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://h/", "http://h:80/"),
        ("https://h:443/", "HTTPS://H/"),
        ("http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/"),
        ("http://[FD00::1]:9/", "http://[fd00::0001]:9/"),
        ("http://user:secret@h/", "http://h/"),
    ],
)
def test_two_spellings_of_an_address_are_one(one: str, other: str) -> None:
    assert urls(edited(interfaces(one, other))) == ["https://shim.example/"] * 2


@pytest.mark.parametrize("other", ["https://h/", "http://h:81/", "http://g/", "/"])
def test_another_scheme_host_or_port_is_another_address(other: str) -> None:
    assert urls(edited(interfaces("http://h/", other))) == ["https://shim.example/", other]


def interfaces(*urls: str) -> dict[str, Any]:
    return {"supportedInterfaces": [{"protocolBinding": "JSONRPC", "protocolVersion": "1.0", "url": u} for u in urls]}


@pytest.mark.parametrize(
    "url",
    [
        "shim.example",
        "ftp://shim.example",
        "https://",
        "https://x?",
        "https://x/?a=1",
        "https://x/#",
        "https://:80",
        "https://x:",
        "https://x:abc",
        "https://x:0",
        "https://x:99999",
        "https://x y",
        " https://x",
        "https://x\r\nInjected: 1",
        "https://x\n",
        "https://x\\y",
        "https://x/%zz",
        "https://ü.example",
        "http://[::1",
        "http://[bad]/",
        "http://[:::]/",
        "",
        5,
    ],
)
def test_a_public_url_that_cannot_be_one_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"`public_url` .* write it as https://agents.example") as refused:
        A2A(public_url=url)
    assert repr(url) in str(refused.value)


def test_a_public_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="user name") as refused:
        A2A(public_url="https://user:secret@shim.example")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["http://x", "HTTPS://X.example:8443", "https://my_shim/a%20b/(c);d=1", "http://[fd00::1]:80", "http://10.0.0.1/"],
)
def test_a_public_url_may_have_a_port_and_a_path(url: str) -> None:
    assert urls(edited(interfaces("http://h/a2a"), url)) == [url.rstrip("/") + "/a2a"]


@pytest.mark.parametrize("options", [{"path": "inner"}, {"path": 5}, {"card": ""}, {"card": "https://h/card.json"}])
def test_a_path_without_a_slash_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="begins with a slash"):
        A2A(**options)


def test_without_the_option_cards_stay_unchanged() -> None:
    assert A2A().document_edits == ()
