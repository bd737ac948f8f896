"""The option `public_url`: the agent's card leads clients to the shim, not past it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ap_resume_shim.backends.a2a import bindings as wire
from ap_resume_shim.core.document_edit import Unedited
from ap_resume_shim.core.errors import ConfigurationError

_CARDS = (
    wire.CARD,
    "/.well-known/agent.json",  # before 0.3
    "/extendedAgentCard",
    "/v1/card",  # 0.3
    "/agent/authenticatedExtendedCard",  # before 0.3
)
"""Suffixes of the paths of cards, including those for authenticated clients."""

_INTERFACES = {"supportedInterfaces": "protocolBinding", "additionalInterfaces": "transport"}
"""The lists of interfaces in 1.0 and in 0.3, and the field with the binding of an interface."""


class PublicCard:
    """Replaces the agent's address in cards by the shim's (a `DocumentEdit`)."""

    def __init__(self, public_url: str, card: str, binding: str | None, path: str | None) -> None:
        """`public_url` is the URL of the shim's root; the others are options of the backend.

        Raises `ConfigurationError` for an invalid URL.
        """
        parts = urlsplit(public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ConfigurationError(
                "The option `public_url` of the backend 'a2a' is the URL at which clients reach the shim, such as "
                f"https://agents.example, not {public_url!r}."
            )
        self._public, self._binding, self._path = public_url.rstrip("/"), binding, path
        self._cards = (*_CARDS, card)

    def covers(self, path: str) -> bool:
        """Return True for the path of a card, below any path: a server may have several agents."""
        return path.endswith(self._cards)

    def apply(self, path: str, document: Any) -> Any:
        """Return the card with the shim's address in place of the agent's; None if the shim uses none of its URLs.

        The agent's address is that of the interface that the shim uses. Interfaces at other addresses stay unchanged.
        Raises `Unedited` for a signed card.
        """
        used = wire.chosen(document, self._binding) if isinstance(document, dict) else None
        if used is None:
            return None
        if document.get("signatures"):
            raise Unedited(
                f"GET {path} passes unchanged, although `public_url` is set: the card is signed, and a change would "
                "break its signature. Its URLs lead clients past the shim, unless the agent publishes the shim's."
            )
        card = {**document, **self._moved(document, "preferredTransport", used.url)}
        for name, binding in _INTERFACES.items():
            if isinstance(entries := document.get(name), list):
                card[name] = [
                    {**each, **self._moved(each, binding, used.url)} if isinstance(each, dict) else each
                    for each in entries
                ]
        return card

    def _moved(self, entry: wire.Json, binding: str, used: str) -> wire.Json:
        """Return the field `url` with the new URL of an interface; an empty object if its URL stays unchanged."""
        url = entry.get("url")
        if not isinstance(url, str) or entry.get(binding) == "GRPC" or _address(url) != _address(used):
            return {}
        parts = urlsplit(url)
        path = self._path if self._path is not None and url == used else parts.path
        return {"url": self._public + path + (f"?{parts.query}" if parts.query else "")}


def _address(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
