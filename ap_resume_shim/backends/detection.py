"""Detects the kind of backend from the server's own documents, without guessing.

Only a document that the server sent, or does not have, rules a kind out. A document that is protected or unavailable
might match a more specific kind, so detection fails in that case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from ap_resume_shim.core.dialect_helpers import read_redirect, read_refusal
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamUnrecognised
from ap_resume_shim.core.fingerprint import Fingerprint, plain_path
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.json_pointer import MISSING, point
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.profiles.schema import ANOTHER_KIND

NATIVE = "native"
"""Name of a backend that implements the resume routes itself, so that the shim only passes requests on."""

KnownFingerprints = Mapping[str, tuple[Fingerprint, ...]]
"""Fingerprints by the name of the backend, the most specific first."""

INFO, OPENAPI, CARD = "/info", "/openapi.json", "/.well-known/agent-card.json"
_NATIVE = {NATIVE: (Fingerprint(openapi=frozenset(f"PATCH {mode.route}" for mode in Mode)),)}
_ABSENT = (404, 405, 410)
_NAME_IT = (
    'Name the backend: backend="…" for the middleware, --backend … for the sidecar '
    "(`ap-resume-shim backends` lists them)."
)


@dataclass(frozen=True)
class ServerMetadata:
    """The documents that describe a server: the responses to `/info`, `/openapi.json` and the agent card."""

    info: Response
    openapi: Response
    card: Response
    below: str = ""
    """Prefix of the backend's routes in `openapi`."""

    @cached_property
    def bodies(self) -> dict[str, frozenset[str] | None]:
        """The fields of each route's body, by route such as `POST /runs/{}`; None if they are not described."""
        return {
            f"{method.upper()} {plain_path(path)}": _fields(route, self._spec) for path, method, route in self._routes
        }

    @cached_property
    def routes(self) -> frozenset[str]:
        """The paths, as `/runs/{}` and as `POST /runs/{}`; and the schemas of bodies, as `POST <RunAgentInput>`."""
        takes = {f"{method.upper()} <{_schema_name(route)}>" for _, method, route in self._routes}
        return frozenset({*(plain_path(path) for path, _ in self._paths), *self.bodies, *takes})

    @cached_property
    def _spec(self) -> dict[str, Any]:
        return _dict(self.openapi.json) if self.openapi.ok else {}

    @property
    def _routes(self) -> Iterator[tuple[str, str, Any]]:
        for path, methods in self._paths:
            for method, route in _dict(methods).items():
                yield path, method, route

    @property
    def _paths(self) -> Iterator[tuple[str, Any]]:
        for path, methods in _dict(self._spec.get("paths")).items():
            if path.startswith(f"{self.below}/"):
                yield path.removeprefix(self.below), methods


def detect_flow(known: KnownFingerprints, prefix: str = "") -> Steps[str]:
    """Detect the backend whose routes are below `prefix`, and return its name.

    If there is no `/openapi.json` below the prefix, the one at the root is read, in which FastAPI describes a router
    with a prefix. Raises `UpstreamUnrecognised` if no kind matches, and another `ResumeError` if a document was refused
    or failed, so that a kind cannot be ruled out.
    """
    info, openapi, card = yield from Ask(tuple(Request.get(path) for path in (INFO, OPENAPI, CARD)))
    server = ServerMetadata(info, openapi, card)
    if not prefix or not _is_absent(OPENAPI, server.openapi):
        return recognise(server, known)
    (root,) = yield from Ask((Request("GET", OPENAPI, below_prefix=False),))
    try:
        return recognise(replace(server, openapi=root, below=prefix) if root.ok else server, known)
    except UpstreamUnrecognised:
        if root.ok or _is_absent(OPENAPI, root):
            raise
        raise _refusal(OPENAPI, root) from None


def recognise(server: ServerMetadata, known: KnownFingerprints) -> str:
    """Return the first backend whose fingerprint matches the server. Raises like `detect_flow`."""
    for name, fingerprints in {**_NATIVE, **known}.items():
        verdicts = [_matches(server, fingerprint) for fingerprint in fingerprints]
        if True in verdicts:
            return name
        for verdict in verdicts:
            if isinstance(verdict, ResumeError):
                raise verdict
    unknown = (
        "The kind of backend could not be detected: its /info, its /openapi.json and its agent card match no backend."
    )
    redirect = next(filter(None, map(read_redirect, (server.info, server.openapi, server.card))), None)
    raise UpstreamUnrecognised(
        f"{unknown} {redirect.message + ' ' if redirect else ''}{_NAME_IT} {ANOTHER_KIND}",
        {
            "info_status": server.info.status,
            "openapi_status": server.openapi.status,
            "card_status": server.card.status,
        },
        detail=f"{unknown} {redirect.detail + ' ' if redirect else ''}{_NAME_IT}",
    )


def _matches(server: ServerMetadata, fingerprint: Fingerprint) -> bool | ResumeError:
    """True if the server matches every condition of `fingerprint`. An empty one matches no server.

    Returns an error if a document that the fingerprint needs is unavailable, and no other document rules it out.
    """
    refusal: ResumeError | None = None
    for path, answer, wanted, matches in (
        (INFO, server.info, bool(fingerprint.info), _in_info),
        (OPENAPI, server.openapi, bool(fingerprint.openapi), _in_routes),
        (CARD, server.card, fingerprint.card, _in_card),
    ):
        if wanted and not (answer.ok or _is_absent(path, answer)):
            refusal = refusal or _refusal(path, answer)
        elif wanted and not matches(server, fingerprint):
            return False
    return refusal or bool(fingerprint.info or fingerprint.openapi or fingerprint.card)


def _is_absent(path: str, answer: Response) -> bool:
    """True if the server has no such document. Starlette's mounts redirect to a folder with its name, which counts."""
    folder = answer.status in (301, 302, 307, 308) and urlsplit(answer.header("location") or "").path
    return answer.status in _ABSENT or bool(folder and folder.endswith(f"{path}/"))


def _in_info(server: ServerMetadata, fingerprint: Fingerprint) -> bool:
    info = server.info.json if server.info.ok else None
    found = [(point(info, pointer), wanted) for pointer, wanted in fingerprint.info.items()]
    return all(value is not MISSING and wanted in (None, value) for value, wanted in found)


def _in_routes(server: ServerMetadata, fingerprint: Fingerprint) -> bool:
    described = ((server.bodies.get(route), names) for route, names in fingerprint.takes.items())
    return fingerprint.openapi <= server.routes and all(body is None or names <= body for body, names in described)


def _in_card(server: ServerMetadata, fingerprint: Fingerprint) -> bool:
    return server.card.ok and "name" in _dict(server.card.json)


def _refusal(path: str, answer: Response) -> ResumeError:
    if answer.status in (401, 403, 429):
        refused = read_refusal(answer)
        refused.metadata["document"] = path
        return refused
    unknown = f"The kind of backend is not known yet: it responded with {answer.status} to GET {path}."
    redirect = read_redirect(answer)
    return UpstreamError(
        f"{unknown} {redirect.message if redirect else 'Try again.'} {_NAME_IT}",
        {"upstream_status": answer.status, "document": path},
        detail=f"{unknown} {redirect.detail if redirect else 'Try again.'} {_NAME_IT}",
    )


def _schema(route: Any) -> dict[str, Any]:
    return _dict(point(route, "/requestBody/content/application~1json/schema"))


def _schema_name(route: Any) -> str:
    """Return the name of the schema of a route's body, from its `$ref` or its title."""
    schema = _schema(route)
    return str(schema.get("$ref") or schema.get("title") or "").rpartition("/")[2]


def _fields(route: Any, spec: dict[str, Any]) -> frozenset[str] | None:
    """Return the fields of a route's body, through references and `allOf`, `anyOf` and `oneOf`; None if unknown."""
    fields: set[str] = set()
    left, seen = [_schema(route)], set[str]()
    while left:
        schema = left.pop()
        fields |= {*_dict(schema.get("properties"))}
        for word in ("allOf", "anyOf", "oneOf"):
            parts = schema.get(word)
            left += map(_dict, parts) if isinstance(parts, list) else ()
        reference = str(schema.get("$ref") or "")
        if reference.startswith("#/") and reference not in seen:
            seen.add(reference)
            left.append(_dict(point(spec, reference[1:])))
    return frozenset(fields) or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
