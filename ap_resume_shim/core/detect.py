"""Detection: which kind of backend is this? Found out from what the server says of itself, never guessed."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect import Marks
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.exchange import Ask, Request, Response, Step
from ap_resume_shim.core.profile import ANOTHER_KIND
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.template import MISSING, point

NATIVE = "native"
"""The backend answers the resume routes itself: nothing is left to do but to pass requests on."""

KnownMarks = Mapping[str, tuple[Marks, ...]]
"""The backends that can be told from others, by name, the more particular first."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of itself."""

    info: Response
    openapi: Response
    card: Response

    @property
    def routes(self) -> set[str]:
        """Its paths, as `/runs/{}` and as `POST /runs/{}`; and what its routes take, as `POST <RunAgentInput>`."""
        found = set()
        for path, methods in _dict(_dict(self.openapi.json).get("paths") if self.openapi.ok else None).items():
            plain = re.sub(r"\{[^}]*\}", "{}", path)
            found |= {plain, *(f"{method.upper()} {plain}" for method in _dict(methods))}
            found |= {f"{method.upper()} <{_taken(route)}>" for method, route in _dict(methods).items()}
        return found


def detect_flow(known: KnownMarks) -> Generator[Step, Any, str]:
    """The name of the backend; raises `UpstreamUnrecognised` when unsure."""
    paths = ("/info", "/openapi.json", "/.well-known/agent-card.json")
    answers = yield Ask(tuple(Request.get(path) for path in paths))
    return recognise(Told(*answers), known)


def recognise(told: Told, known: KnownMarks) -> str:
    """The backend, from what the server says of itself: the first whose marks it bears."""
    routes = told.routes
    if all(f"PATCH {mode.route}" in routes for mode in Mode):
        return NATIVE
    for name, marks in known.items():
        if any(_bears(told, routes, mark) for mark in marks):
            return name
    raise UpstreamUnrecognised(
        "The kind of backend could not be found out: neither its /info nor its /openapi.json nor an agent card tells. "
        'Say which one it is: backend="…" for the middleware, --backend … for the sidecar '
        f"(`ap-resume-shim backends` lists them). {ANOTHER_KIND}",
        {"info_status": told.info.status, "openapi_status": told.openapi.status, "card_status": told.card.status},
    )


def _bears(told: Told, routes: set[str], mark: Marks) -> bool:
    """Whether a server bears a mark; one that says nothing is borne by none."""
    info = told.info.json if told.info.ok else None
    found = {pointer: point(info, pointer) for pointer in mark.info}
    said = all(
        value is not MISSING and wanted in (None, value)
        for value, wanted in ((found[pointer], wanted) for pointer, wanted in mark.info.items())
    )
    card = not mark.card or (told.card.ok and "name" in _dict(told.card.json))
    return bool(mark.info or mark.openapi or mark.card) and said and mark.openapi <= routes and card


def _taken(route: Any) -> str:
    """The name of the schema of a route's body: FastAPI refers to it, or writes it out."""
    schema = point(route, "/requestBody/content/application~1json/schema")
    name = _dict(schema).get("$ref") or _dict(schema).get("title") or ""
    return str(name).rpartition("/")[2]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
