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
    return edit.apply(CARD, card)


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


def test_a_signed_card_stays_unchanged_for_a_reason() -> None:
    with pytest.raises(Unedited, match="the card is signed"):
        edited({**NEW, "signatures": [{"protected": "e30", "signature": "QQ"}]})


@pytest.mark.parametrize(
    "document",
    [None, [], "text", {}, {"supportedInterfaces": []}, {"supportedInterfaces": NEW["supportedInterfaces"][:1]}],
)
def test_a_document_without_an_interface_for_the_shim_stays_unchanged(document: Any) -> None:
    assert edited(document) is None


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
    (edit,) = A2A(public_url="https://shim.example", card="/cards/mine.json").document_edits
    assert edit.covers(path) is covered


@pytest.mark.parametrize("url", ["shim.example", "ftp://shim.example", "https://", "https://x/?a=1", "https://x/#a"])
def test_a_public_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="`public_url`"):
        A2A(public_url=url)


def test_without_the_option_cards_stay_unchanged() -> None:
    assert A2A().document_edits == ()
