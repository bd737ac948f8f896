"""The option `public_url`: the agent's card leads clients to the shim, not past it."""

from __future__ import annotations

import re
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ap_resume_shim.backends.a2a.bindings import Json
from ap_resume_shim.backends.a2a.card import CARD, chosen, resolved
from ap_resume_shim.core.document_edit import Unedited
from ap_resume_shim.core.errors import ConfigurationError, UpstreamUnrecognised

_CARDS = (
    CARD,
    "/.well-known/agent.json",  # before 0.3
    "/extendedAgentCard",
    "/v1/card",  # 0.3
    "/agent/authenticatedExtendedCard",  # before 0.3
)
"""Suffixes of the paths of cards, including those for authenticated clients."""

_INTERFACES = {"supportedInterfaces": "protocolBinding", "additionalInterfaces": "transport"}
"""The lists of interfaces in 1.0 and in 0.3, and the field with the binding of an interface."""

_HOST = r"(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?"
_PATH = r"(?:/(?:[\w.~!$&'()*+,;=:@/-]|%[\da-f]{2})*)?"
_URL = re.compile(f"https?://{_HOST}{_PATH}", re.ASCII | re.IGNORECASE)
"""A URL to which a path can be added: no user name, query or fragment."""


class PublicCard:
    """Replaces the agent's address in cards by the shim's (a `DocumentEdit`)."""

    setting = "public_url"

    def __init__(self, public_url: str, card: str, binding: str | None, path: str | None) -> None:
        """`public_url` is the URL of the shim's root; the others are options of the backend.

        Raises `ConfigurationError` for an invalid URL.
        """
        if not _is_address(public_url):
            shown = "one with a user name" if "@" in str(public_url) else repr(public_url)  # it may hold a password
            raise ConfigurationError(
                "The option `public_url` of the backend 'a2a' is the URL at which clients reach the shim, in ASCII: "
                f"write it as https://agents.example or https://agents.example:8443/path, not {shown}."
            )
        self._public, self._binding, self._path = public_url.rstrip("/"), binding, path
        self._cards = (*_CARDS, unquote(card.partition("?")[0]))

    def covers(self, path: str) -> bool:
        """Return True for the path of a card, below any path: a server may have several agents."""
        return path.endswith(self._cards)

    def apply(self, path: str, document: Any, mount: str) -> Any:
        """Return the card with the shim's address in place of the agent's.

        The agent's address is that of the interface that the shim uses. Interfaces at other addresses stay unchanged.
        Raises `Unedited` for a signed card, and for one without an interface that the shim uses.
        """
        if not isinstance(document, dict):
            raise Unedited("It is not an agent card.")
        try:
            used = chosen(document, path, self._binding).url
        except UpstreamUnrecognised as error:
            raise Unedited(error.message) from None
        if document.get("signatures"):
            raise Unedited(
                "The card is signed, and a change would break its signature. Its URLs lead clients past the shim, "
                "unless the agent publishes the shim's."
            )
        moved = partial(self._moved, path, used, mount)
        card = {**document, **moved(document, "preferredTransport")}
        for name, binding in _INTERFACES.items():
            if isinstance(entries := document.get(name), list):
                card[name] = [{**each, **moved(each, binding)} if isinstance(each, dict) else each for each in entries]
        return card

    def _moved(self, at: str, used: SplitResult, mount: str, entry: Json, binding: str) -> Json:
        """Return the field `url` with the new URL of an interface; an empty object if its URL stays unchanged.

        `at` is the path of the card.
        """
        url = resolved(at, entry.get("url"))
        if url is None or str(entry.get(binding)).upper() == "GRPC" or _address(url) != _address(used):
            return {}
        path = mount + self._path if self._path is not None and url == used else url.path
        return {"url": self._public + path + (f"?{url.query}" if url.query else "")}


def _is_address(url: Any) -> bool:
    if not isinstance(url, str) or _URL.fullmatch(url) is None:
        return False
    try:
        return urlsplit(url).port != 0  # raises for an address that is no IPv6, and for a port that is too large
    except ValueError:
        return False


def _address(url: SplitResult) -> tuple[str, str, int | None]:
    """Return scheme, host and port in normal form; all are empty for a URL that is relative to the card's."""
    host = url.hostname or ""
    try:
        host = str(ip_address(host))
    except ValueError:
        pass  # it is a name
    return url.scheme, host, url.port or {"http": 80, "https": 443}.get(url.scheme)
