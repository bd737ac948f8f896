"""The agent's card: which interface the shim uses, and the agent as the card describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ap_resume_shim.backends.a2a.bindings import BINDINGS, Binding, Json, OldRpc, Rest
from ap_resume_shim.core.asgi import mounted_at
from ap_resume_shim.core.dialect import DEFAULT_KINDS, ResponseKind
from ap_resume_shim.core.dialect_helpers import read_refusal
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Mode

CARD = "/.well-known/agent-card.json"


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, as its card describes it."""

    binding: Binding
    name: str | None = None
    streams: bool = True
    doubles: bool = True
    """True if numbers pass through Protocol Buffers, which have only doubles: always in 1.0, and in 0.3 if the agent
    offers 1.0 as well."""

    @property
    def response_kinds(self) -> Mapping[Mode, ResponseKind]:
        """The kind of response for each mode.

        The wait of REST is not used, because it reports a failed agent with status 500.
        """
        stream: ResponseKind = "events" if self.streams else "run"
        return {**DEFAULT_KINDS, Mode.WAIT: stream if isinstance(self.binding, Rest) else "result", Mode.STREAM: stream}


def read_card(response: Response, at: str, wanted: str | None, path: str | None) -> Agent:
    """Read the agent card at the path `at`; use the `wanted` binding, or else the first one that the shim implements.

    `path` replaces the path of the interface's URL. That one is as clients see it, so it may contain the mount point,
    which the runtime adds to each request. Raises `UpstreamUnrecognised` if there is no card or no usable binding.
    """
    card: Any = response.json if response.ok else None
    if not isinstance(card, dict):
        if response.status in (401, 403, 429):
            raise read_refusal(response)
        raise UpstreamUnrecognised(
            f"There is no agent card: the backend responded with {response.status}. Set the option `card` to its path.",
            {"upstream_status": response.status},
        )
    used = chosen(card, response.mount + at, wanted)
    public = used.url.path or "/"
    where = public[len(mounted_at(response.mount, public)) :] if path is None else path
    streams = (card.get("capabilities") or {}).get("streaming") is True
    doubles = used.binding != OldRpc.name or "supportedInterfaces" in card
    return Agent(BINDINGS[used.binding](where, used.tenant), card.get("name"), streams, doubles)


class Interface(NamedTuple):
    """An interface in a card."""

    binding: str
    url: SplitResult
    tenant: str = ""


def chosen(card: Json, at: str, wanted: str | None) -> Interface:
    """Return the interface that the shim uses: the `wanted` binding, or else the first that it implements.

    `at` is the path of the card. Raises `UpstreamUnrecognised` if there is none.
    """
    offered = list(_offered(card))
    for binding, entry in offered:
        url = resolved(at, entry.get("url") or "")
        if binding in BINDINGS and wanted in (None, binding) and url is not None:
            return Interface(binding, url, entry.get("tenant") or "")
    names = [binding for binding, _ in offered]
    there, supported = ", ".join(names) or "none", wanted or ", ".join(BINDINGS)
    raise UpstreamUnrecognised(
        f"The agent's card offers {there}; the shim supports {supported}, with a valid URL.", {"offered": names}
    )


def _offered(card: Json) -> Iterator[tuple[str, Json]]:
    """Yield the binding and the entry of each interface, in the agent's order of preference."""
    for entry in _entries(card, "supportedInterfaces"):
        yield _spelled(entry.get("protocolBinding"), entry.get("protocolVersion")), entry
    if "supportedInterfaces" not in card and card.get("url"):
        yield _spelled(card.get("preferredTransport") or "JSONRPC", "0.3"), {"url": card["url"]}
        for entry in _entries(card, "additionalInterfaces"):
            yield _spelled(entry.get("transport"), "0.3"), {"url": entry.get("url")}


def _entries(card: Json, name: str) -> list[Json]:
    """Return the objects in a list of the card; anything else is malformed, and left out."""
    entries = card.get(name)
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def resolved(at: str, url: Any) -> SplitResult | None:
    """Return the URL of an interface, which may be relative to the card's path; None if it is not a valid one.

    Its path is escaped, and is empty or begins with a slash. An empty URL is the root, since ProtoJSON omits it.
    """
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(urljoin(at, url or "/"))
        _ = parts.port  # raises if it is no port
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    except ValueError:
        return None
    return parts._replace(path=path) if path[:1] in ("", "/") else None


def _spelled(binding: Any, version: Any) -> str:
    name = {"HTTP+JSON": "rest", "JSONRPC": "jsonrpc", "GRPC": "grpc"}.get(str(binding), str(binding))
    major, _, minor = str(version).partition(".")
    return name if major == "1" else f"{name}-{major}.{minor.partition('.')[0] or '0'}"
