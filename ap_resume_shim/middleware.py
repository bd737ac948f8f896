"""`ResumeShim`: pure ASGI middleware that answers the three resume routes and leaves everything else alone."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ap_resume_shim.backends import known_fingerprints, load_backend, read_profile
from ap_resume_shim.backends.detection import NATIVE, detect_flow
from ap_resume_shim.core.asgi import SYNTHESISED, escape, route_path
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError, ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.idempotency import CREDENTIALS
from ap_resume_shim.core.protocol import ROUTES, Mode
from ap_resume_shim.core.steps import Flow
from ap_resume_shim.core.vendor_estimate import estimate
from ap_resume_shim.core.vendor_flow import vendor_flow
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.guard import Guard, load_guard
from ap_resume_shim.runtime.bodies import Bodies, Body
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.cors import BackendCors, Cors
from ap_resume_shim.runtime.driver import Resumption
from ap_resume_shim.runtime.exchange import NOBODY, WrappedApp
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.log_lines import cut, printable
from ap_resume_shim.runtime.lookups import Lookups, ask
from ap_resume_shim.runtime.naming import Naming
from ap_resume_shim.runtime.resume_log import CLIENT_LEFT, RESUME, ResumeLine
from ap_resume_shim.runtime.resumptions import Resumptions
from ap_resume_shim.runtime.traffic_observer import TrafficObserver, wants_traffic
from ap_resume_shim.runtime.vendor_counts import DRAFT, VendorCounts
from ap_resume_shim.runtime.vendor_observation import Observation
from ap_resume_shim.runtime.vendor_resumes import VendorClient, VendorResumes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

_DOUBLE_CLICK = 1.0
"""Seconds in which a caller's same answer to the same thread is a double click, if vendor resumes are guarded."""

VendorMode = Literal["pass", "observe", "guard"]

_METHODS = ("PATCH", "OPTIONS")
_ROUTES = tuple(ROUTES)


class ResumeShim:
    """Puts `PATCH /runs/resume`, `/runs/resume/wait` and `/runs/resume/stream` in front of an agent server.

        app.add_middleware(ResumeShim, backend="langgraph")     # in a Starlette or FastAPI app
        app = ResumeShim(app, backend="langgraph")              # around any ASGI app
        app = ResumeShim(ReverseProxy("http://127.0.0.1:2024")) # in front of a server elsewhere

    Every other request reaches the wrapped app with the same scope, receive and send.
    """

    def __init__(
        self,
        app: ASGIApp,
        backend: str | Dialect[Any] | os.PathLike[str] = "auto",
        *,
        profile: str | os.PathLike[str] | None = None,
        resume_at: str | None = None,
        options: Mapping[str, str] | None = None,
        guard: Guard | str = "memory",
        namespace: str | None = None,
        credentials: Sequence[str] = CREDENTIALS,
        share_ledger: bool = False,
        lenient: bool = False,
        prefix: str = "",
        settle: float = 1.0,
        typed_answers: Literal["check", "show"] = "check",
        vendor_resumes: VendorMode = "pass",
        limits: Limits | None = None,
        cors: Sequence[str] = (),
    ) -> None:
        """Wrap `app`.

        - `backend`: a name that `ap-resume-shim backends` lists; "auto" asks the server itself; "native" for one
          that answers the routes by now; a `Dialect`; or the `Path` of a profile.
        - `profile`: the path of a TOML file that describes the backend (`docs/reference/profile.md`), in place of
          `backend`.
        - `resume_at`: where the answer goes in the body, a JSON pointer (backends that are profiles).
        - `options`: what the backend has to be told beside, such as `{"path": "/agent"}`; `docs/backends` has them.
        - `guard`: who may resume which thread: "memory", one resume of a thread at a time in this process; the URL of
          a Redis or Valkey server, over all processes that share it; or a `Guard`.
        - `namespace`: what the threads belong to. Processes in front of the same backend have to agree on it; default:
          the address of a `ReverseProxy`, in lower case and without a usual port.
        - `credentials`: header fields that tell callers apart, for `Idempotency-Key` and the ledger.
        - `share_ledger`: whether what one caller's traffic said of a thread (questions, state, properties) is used for
          every caller that the backend admits. Default: for the same caller alone.
        - `lenient`: drop fields that the backend cannot honour, and name them in `AP-Resume-Ignored`.
        - `prefix`: a path that stands before the backend's routes and the shim's, such as `/api`.
        - `settle`: seconds that a busy thread is given before 409: servers announce a question before they record it.
        - `typed_answers`: "check" refuses an answer that certainly violates the schema of its question; "show" only
          shows the schema.
        - `vendor_resumes`: how answers in the conventions of today's clients are treated, such as `command.resume` of
          LangGraph's SDK. "pass": they pass like any request; "observe": they pass, and `report` tells which of them
          would have been refused; "guard": they are judged, held and refused as resumes of the draft are.
        - `cors`: origins whose pages may call the three routes from a browser, such as `https://app.example`; `*` is
          every page, without cookies. Default: the backend's own policy, on the shim's answers too.

        Raises `ConfigurationError`.
        """
        self.app = app
        self._routes = {prefix + route: mode for route, mode in ROUTES.items()}
        self._entry = Cors(self._serve, cors) if cors else BackendCors(self._serve, app)
        self._prefix = prefix
        self._guard = load_guard(guard) if isinstance(guard, str) else guard
        self._namespace = str(getattr(app, "origin", "")) if namespace is None else namespace
        self._credentials, self._share_ledger = tuple(credentials), share_ledger
        self._limits = limits or Limits()
        self._bodies = Bodies(self._limits.body, self._limits.bodies)
        self._settings = FlowSettings(
            settle=settle,
            commit_timeout=self._limits.commit,
            typed_answers=typed_answers == "check",
            lenient=lenient,
        )
        self._vendor_resumes = vendor_resumes
        self._counts = VendorCounts(vendor_resumes, tuple(credentials))
        self._resume_at, self._options = resume_at, dict(options or {})
        self._naming: Naming | None = None
        """None as long as the backend has not been detected."""
        self._behind: ASGIApp = app
        self._passed: ASGIApp = app if vendor_resumes == "pass" else self._detect_and_pass
        self._native = backend == NATIVE
        self._detecting = asyncio.Lock()
        self._resumptions = Resumptions()
        if isinstance(backend, os.PathLike):
            backend, profile = "auto", backend
        if profile is not None:
            if backend != "auto" or options:
                raise ConfigurationError("`profile` says what the backend is: leave `backend` and `options` out.")
            backend = read_profile(profile, resume_at=resume_at)
        if not isinstance(backend, str):
            self._speak(backend)
        elif backend not in ("auto", NATIVE):
            self._speak(self._load(backend))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a resume; pass anything else through."""
        if scope["type"] != "http" or scope["method"] not in _METHODS or not scope["path"].endswith(_ROUTES):
            await self._passed(scope, receive, send)
        elif route_path(scope) in self._routes:
            await self._entry(scope, receive, send)
        else:
            await self._passed(scope, receive, send)

    async def _detect_and_pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; detect the backend first, since the request may be a vendor resume."""
        if scope["type"] == "http" and scope["method"] == "POST" and SYNTHESISED not in scope and not self._native:
            try:
                await self._detect(scope)
            except ResumeError as error:
                logger.warning("the backend was not detected, vendor resumes pass: %s", printable(cut(error.reason)))
        known = self._behind if self._naming is None else self._passed
        await known(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is on one of our routes."""
        if scope["method"] != "PATCH" or self._native or SYNTHESISED in scope:
            await self.app(scope, receive, send)
            return
        mode = self._routes[route_path(scope)]
        with self._bodies.body() as body:
            await self._answer(mode, body, scope, receive, send)

    async def _answer(self, mode: Mode, body: Body, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a resume, unless the backend turns out to answer those itself."""
        client = Client(scope, receive, send, base=escape(scope.get("root_path", "")) + self._prefix)
        line = ResumeLine(scope, mode, client)
        scope[RESUME] = True

        async def prepare() -> Resumption | None:
            with line.upstream:
                naming = self._naming or await self._detect(scope)
            if naming is None:
                return None
            line.backend = naming.dialect.name
            incoming = await IncomingResume.read(scope, receive, mode=mode, body=body, naming=naming, line=line)
            return self._begin(incoming, resume_flow(incoming.resume, naming.dialect, self._settings), client, line)

        if not await self._resumptions.run(prepare, client, line):
            del scope[RESUME]
            await self.app(scope, receive, send)
        else:
            self._counts.count(scope, DRAFT, line.verdict or CLIENT_LEFT)

    async def _guard_vendor(self, scope: Scope, vendor: VendorResume, client: VendorClient) -> None:
        """Judge and hold a vendor resume as a resume of the draft, and pass it on."""
        assert self._naming is not None, "conventions are those of a dialect"
        naming, line = self._naming, ResumeLine(scope, vendor.mode, client, convention=vendor.convention.name)
        line.backend = naming.dialect.name

        async def prepare() -> Resumption:
            assert vendor.thread_id is not None
            incoming = IncomingResume.from_vendor(scope, vendor, vendor.thread_id, naming)
            line.thread_id = incoming.resume.thread_id
            flow = vendor_flow(vendor, incoming.resume, naming.dialect, self._settings)
            return self._begin(incoming, flow, client, line)

        await self._resumptions.run(prepare, client, line)
        self._counts.count(scope, vendor.convention.name, line.verdict or CLIENT_LEFT)

    def _observe_vendor(self, scope: Scope, vendor: VendorResume) -> Observation | None:
        """Begin the observation of a vendor resume that passes."""
        naming = self._naming
        if naming is None or vendor.thread_id is None:
            return None
        incoming = IncomingResume.from_vendor(scope, vendor, vendor.thread_id, naming)
        page = naming.page(scope, vendor.thread_id)
        return Observation(
            vendor,
            estimate(vendor, incoming.resume, naming.dialect),
            self._guard.begin(incoming.key),
            Lookups(self._wrapped(self._behind), scope, lambda _: page.read(self._guard.ledger)),
            lambda verdict, status: self._counts.count(scope, vendor.convention.name, verdict),
        )

    def _begin(self, incoming: IncomingResume, flow: Flow, client: Client, line: ResumeLine) -> Resumption:
        """Announce a resume to the guard, and prepare its flow."""
        scope, resume, naming = incoming.scope, incoming.resume, self._naming
        assert naming is not None, "a resume is read in a dialect"
        return Resumption(
            flow,
            self._guard.begin(incoming.key),
            incoming,
            app=self._wrapped(self._behind),
            client=client,
            line=line,
            ledger=lambda of: naming.page(scope, resume.thread_id if of is None else of).read(self._guard.ledger),
        )

    def _wrapped(self, app: ASGIApp) -> WrappedApp:
        return WrappedApp(app, self._prefix, self._limits)

    def report(self) -> dict[str, Any]:
        """Return the counts of resumes by convention and verdict, since the start, as JSON values."""
        return self._counts.report()

    @property
    def backend(self) -> str | None:
        """The name of the backend's dialect, or "native"; None as long as it has not been found out."""
        if self._native:
            return NATIVE
        return None if self._naming is None else self._naming.dialect.name

    async def ready(self) -> str:
        """The name of the backend's dialect, or "native": the backend is there, and it is known what it is.

        Raises `ResumeError` when it cannot be reached or recognised, or when the guard's store would refuse a resume.
        """
        await self._guard.check()
        name = await self.detect()
        await ask(self._wrapped(self.app), NOBODY, Request.get("/info"))
        return name

    async def detect(self) -> str:
        """The name of the backend's dialect, or "native", found out without credentials. Raises `ResumeError`."""
        naming = self._naming or await self._detect(NOBODY)
        return NATIVE if naming is None else naming.dialect.name

    async def _detect(self, scope: Scope) -> Naming | None:
        """Find out the backend, once; None for one that answers the routes itself."""
        async with self._detecting:
            if self._naming is None and not self._native:
                name = await self._recognise(scope)
                logger.info("the backend is %s (found out by what it says of itself)", name)
                self._native = name == NATIVE
                try:
                    if not self._native:
                        self._speak(await asyncio.to_thread(self._load, name))
                except ConfigurationError as error:  # options that are those of another backend
                    raise UpstreamUnrecognised(
                        "The shim is not set up for this backend: its log has the reason.",
                        detail=f"The shim is not set up for the backend {name}: {error}",
                    ) from None
            return self._naming

    async def _recognise(self, scope: Scope) -> str:
        # Reads files: servers that watch for what blocks, as LangGraph's do, let no event loop do that.
        flow = detect_flow(await asyncio.to_thread(known_fingerprints), self._prefix)
        try:
            step: Any = next(flow)
            while True:
                answers = [await ask(self._wrapped(self.app), scope, request) for request in step.requests]
                step = flow.send(tuple(answers))
        except StopIteration as found:
            return str(found.value)

    def _load(self, name: str) -> Dialect[Any]:
        return load_backend(name, resume_at=self._resume_at, options=self._options)

    def _speak(self, dialect: Dialect[Any]) -> None:
        """The kind of the backend is known from now on."""
        # Clients of today cannot name the question that they answer: a second click must not answer the next one.
        window = max(self._guard.duplicate_window, _DOUBLE_CLICK if self._vendor_resumes == "guard" else 0.0)
        self._naming = naming = Naming(dialect, self._namespace, self._credentials, self._share_ledger, window)
        if wants_traffic(dialect):
            self._behind = TrafficObserver(self.app, dialect, self._guard.ledger, naming.page, self._prefix)
        self._passed = self._behind
        if self._vendor_resumes != "pass" and dialect.conventions:
            self._passed = VendorResumes(
                self._behind,
                dialect,
                self._bodies,
                self._prefix,
                guarded=self._guard_vendor if self._vendor_resumes == "guard" else None,
                observed=self._observe_vendor,
                count=self._counts.count,
            )
