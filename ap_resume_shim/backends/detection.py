"""Detection: which kind of backend is this? Decided by what the server says of itself, never guessed.

A kind is ruled out only by documents that were answered: one that is protected, or that failed, may hold the marks of
a more particular kind than the others do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from ap_resume_shim.core.dialect import Fingerprint, plain_path
from ap_resume_shim.core.dialect_helpers import read_redirect, read_refusal
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.json_pointer import MISSING, point
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.profiles.schema import ANOTHER_KIND

NATIVE = "native"
"""The backend answers the resume routes itself: nothing is left to do but to pass requests on."""

KnownFingerprints = Mapping[str, tuple[Fingerprint, ...]]
"""The backends that can be told from others, by name, the more particular first."""

INFO, OPENAPI, CARD = "/info", "/openapi.json", "/.well-known/agent-card.json"
_NATIVE = {NATIVE: (Fingerprint(openapi=frozenset(f"PATCH {mode.route}" for mode in Mode)),)}
_ABSENT = (404, 405, 410)
_NAME_IT = (
    'Say which one it is: backend="…" for the middleware, --backend … for the sidecar '
    "(`ap-resume-shim backends` lists them)."
)


@dataclass(frozen=True)
class ServerMetadata:
    """What a server says of itself."""

    info: Response
    openapi: Response
    card: Response
    below: str = ""
    """Where the backend's routes are in `openapi`: a path that stands before them."""

    @cached_property
    def bodies(self) -> dict[str, frozenset[str] | None]:
        """By route, such as `POST /runs/{}`, the fields that its body knows; None where they are not described."""
        return {
            f"{method.upper()} {plain_path(path)}": _fields(route, self._spec) for path, method, route in self._routes
        }

    @cached_property
    def routes(self) -> frozenset[str]:
        """Its paths, as `/runs/{}` and as `POST /runs/{}`; and what its routes take, as `POST <RunAgentInput>`."""
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
    """The name of the backend, whose routes are below `prefix`.

    FastAPI describes the routes of a router with a prefix in the one `/openapi.json` at the root, which is read where
    there is none below the prefix. Raises `UpstreamUnrecognised` where no kind fits, and what a refusal means where a
    kind cannot be ruled out.
    """
    info, openapi, card = yield from Ask(tuple(Request.get(path) for path in (INFO, OPENAPI, CARD)))
    told = ServerMetadata(info, openapi, card)
    if not prefix or not _is_absent(OPENAPI, told.openapi):
        return recognise(told, known)
    (root,) = yield from Ask((Request("GET", OPENAPI, below_prefix=False),))
    try:
        return recognise(replace(told, openapi=root, below=prefix) if root.ok else told, known)
    except UpstreamUnrecognised:
        if root.ok or _is_absent(OPENAPI, root):
            raise
        raise _refusal(OPENAPI, root) from None


def recognise(told: ServerMetadata, known: KnownFingerprints) -> str:
    """The backend, from what the server says of itself: the first whose marks it bears."""
    for name, fingerprints in {**_NATIVE, **known}.items():
        verdicts = [_matches(told, mark) for mark in fingerprints]
        if True in verdicts:
            return name
        for verdict in verdicts:
            if isinstance(verdict, ResumeError):
                raise verdict
    unknown = (
        "The kind of backend could not be detected: neither its /info nor its /openapi.json nor an agent card tells."
    )
    redirect = next(filter(None, map(read_redirect, (told.info, told.openapi, told.card))), None)
    raise UpstreamUnrecognised(
        f"{unknown} {redirect.message + ' ' if redirect else ''}{_NAME_IT} {ANOTHER_KIND}",
        {"info_status": told.info.status, "openapi_status": told.openapi.status, "card_status": told.card.status},
        detail=f"{unknown} {redirect.detail + ' ' if redirect else ''}{_NAME_IT}",
    )


def _matches(told: ServerMetadata, mark: Fingerprint) -> bool | ResumeError:
    """Whether a server bears a mark; the refusal of a document that had to say so, where the others do not deny it."""
    refusal: ResumeError | None = None
    for path, answer, wanted, matches in (
        (INFO, told.info, bool(mark.info), _in_info),
        (OPENAPI, told.openapi, bool(mark.openapi), _in_routes),
        (CARD, told.card, mark.card, _in_card),
    ):
        if wanted and not (answer.ok or _is_absent(path, answer)):
            refusal = refusal or _refusal(path, answer)
        elif wanted and not matches(told, mark):
            return False
    return refusal or bool(mark.info or mark.openapi or mark.card)


def _is_absent(path: str, answer: Response) -> bool:
    """Whether the server has no such document; Starlette's mounts send to a folder of its name, which is none."""
    folder = answer.status in (301, 302, 307, 308) and urlsplit(answer.header("location") or "").path
    return answer.status in _ABSENT or bool(folder and folder.endswith(f"{path}/"))


def _in_info(told: ServerMetadata, mark: Fingerprint) -> bool:
    info = told.info.json if told.info.ok else None
    found = [(point(info, pointer), wanted) for pointer, wanted in mark.info.items()]
    return all(value is not MISSING and wanted in (None, value) for value, wanted in found)


def _in_routes(told: ServerMetadata, mark: Fingerprint) -> bool:
    described = ((told.bodies.get(route), names) for route, names in mark.takes.items())
    return mark.openapi <= told.routes and all(body is None or names <= body for body, names in described)


def _in_card(told: ServerMetadata, mark: Fingerprint) -> bool:
    return told.card.ok and "name" in _dict(told.card.json)


def _refusal(path: str, answer: Response) -> ResumeError:
    if answer.status in (401, 403, 429):
        refused = read_refusal(answer)
        refused.metadata["document"] = path
        return refused
    unknown = f"The kind of backend is not known yet: it answered {answer.status} to GET {path}."
    redirect = read_redirect(answer)
    return UpstreamError(
        f"{unknown} {redirect.message if redirect else 'Try again.'} {_NAME_IT}",
        {"upstream_status": answer.status, "document": path},
        detail=f"{unknown} {redirect.detail if redirect else 'Try again.'} {_NAME_IT}",
    )


def _schema(route: Any) -> dict[str, Any]:
    return _dict(point(route, "/requestBody/content/application~1json/schema"))


def _schema_name(route: Any) -> str:
    """The name of the schema of a route's body: FastAPI refers to it, or writes it out."""
    schema = _schema(route)
    return str(schema.get("$ref") or schema.get("title") or "").rpartition("/")[2]


def _fields(route: Any, spec: dict[str, Any]) -> frozenset[str] | None:
    """The fields that the body of a route knows, through references, and all that it is made of."""
    fields: set[str] = set()
    left, seen = [_schema(route)], set[str]()
    while left:
        schema = left.pop()
        fields |= {*_dict(schema.get("properties"))}
        for word in ("allOf", "anyOf", "oneOf"):
            several = schema.get(word)
            left += map(_dict, several) if isinstance(several, list) else ()
        reference = str(schema.get("$ref") or "")
        if reference.startswith("#/") and reference not in seen:
            seen.add(reference)
            left.append(_dict(point(spec, reference[1:])))
    return frozenset(fields) or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
