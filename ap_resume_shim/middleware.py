"""`ResumeShim`: pure ASGI middleware that serves the three resume routes and passes every other request through."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ap_resume_shim._shutdown import delay_shutdown
from ap_resume_shim.backends import configured_dialect, known_fingerprints, load_backend
from ap_resume_shim.backends.detection import NATIVE, detect_flow
from ap_resume_shim.core.asgi import SYNTHESISED, as_app, as_names, as_prefix, escape, route_path
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError, UpstreamUnrecognised
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.idempotency import CREDENTIALS
from ap_resume_shim.core.protocol import ROUTES, Mode
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Flow
from ap_resume_shim.core.vendor_flow import vendor_flow
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.guard import Guard, Moment, load_guard
from ap_resume_shim.runtime.arguments import check_arguments
from ap_resume_shim.runtime.bodies import Bodies, Body
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.cors import BackendCors, Cors
from ap_resume_shim.runtime.detection_beside import DetectionBeside
from ap_resume_shim.runtime.driver import Resumption
from ap_resume_shim.runtime.edited_documents import EditedDocuments, openapi_edits
from ap_resume_shim.runtime.exchange import OWN_SCOPE, WrappedApp
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.lookups import Lookups, Reading, ask
from ap_resume_shim.runtime.naming import DOUBLE_CLICK, Naming
from ap_resume_shim.runtime.resume_log import RESUME, ResumeLine
from ap_resume_shim.runtime.resumptions import Resumptions
from ap_resume_shim.runtime.stepping import drive
from ap_resume_shim.runtime.telemetry import Combined, Telemetry
from ap_resume_shim.runtime.traffic_observer import TrafficObserver, wants_traffic
from ap_resume_shim.runtime.vendor_counts import DRAFT, VendorCounts
from ap_resume_shim.runtime.vendor_observation import VendorObserver
from ap_resume_shim.runtime.vendor_resumes import VendorClient, VendorResumes, locate, websocket_conventions

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ap_resume_shim.policy.authorize import Hook
    from ap_resume_shim.policy.resumes import Audit

logger = logging.getLogger("ap_resume_shim")

VendorMode = Literal["pass", "observe", "guard"]

_OURS, _ENDS = ("PATCH", "OPTIONS"), tuple(ROUTES)


class ResumeShim:
    """Adds `PATCH /runs/resume`, `/runs/resume/wait` and `/runs/resume/stream` to an agent server.

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
        credentials: str | Sequence[str] = CREDENTIALS,
        share_ledger: bool = False,
        lenient: bool = False,
        prefix: str = "",
        settle: float = 1.0,
        typed_answers: Literal["check", "show"] = "check",
        vendor_resumes: VendorMode = "pass",
        report_key: str | None = None,
        limits: Limits | None = None,
        cors: str | Sequence[str] = (),
        merge_openapi: bool = False,
        telemetry: Sequence[Telemetry] = (),
        authorize: Hook | str | None = None,
        audit: Audit | None = None,
    ) -> None:
        """Wrap `app`.

        - `backend`: a name that `ap-resume-shim backends` lists; "auto" to detect the server; "native" for a server
          that has the three routes itself; a `Dialect`; or the `Path` of a profile.
        - `profile`: path of a TOML file that describes the backend (`docs/reference/profile.md`), in place of
          `backend`.
        - `resume_at`: JSON pointer to the place of the answer in the request body (backends that are profiles).
        - `options`: settings of the backend, such as `{"path": "/agent"}`; `docs/backends` lists them.
        - `guard`: admits one resume of a thread at a time. "memory": within this process; the URL of a Redis or Valkey
          server: among all processes that share it; or a `Guard`.
        - `namespace`: name of the set of threads. Processes in front of the same backend must use the same one.
          Default: the address of a `ReverseProxy`, in lower case and without a default port.
        - `credentials`: names of the header fields that identify a caller, for `Idempotency-Key` and the ledger.
        - `share_ledger`: use what one caller's traffic revealed about a thread (questions, state, properties) for every
          caller that the backend admits. Default: only for the same caller.
        - `lenient`: drop fields that the backend cannot honour, and list them in `AP-Resume-Ignored`.
        - `prefix`: path in front of the backend's routes and the shim's, such as `/api`.
        - `settle`: seconds to wait for a busy thread before 409: servers announce a question before they record it.
        - `typed_answers`: "check" refuses an answer that certainly violates its question's schema; "show" only includes
          the schema in error responses.
        - `vendor_resumes`: how answers in the backend's own convention are treated, such as `command.resume` of
          LangGraph's SDK. "pass": they pass like any other request; "observe": they pass, and `report` shows which of
          them would have been refused; "guard": they are judged, held and refused as resumes of the draft are.
        - `report_key`: secret from which `report` makes the digests of callers; processes with the same key have the
          same digests. Default: random.
        - `limits`: time and size limits.
        - `cors`: origins whose pages may call the three routes from a browser, such as `https://app.example`; `*` is
          every page, without cookies. Default: the backend's own policy, also for the shim's responses.
        - `merge_openapi`: add the three routes and their schemas to the backend's `GET /openapi.json`.
        - `authorize`: decides about each resume before it is sent: an async function, or the URL of a service.
        - `audit`: file with a line for each resume before it is sent: a path, or an `AuditFile` with options.
        - `telemetry`: `ap_resume_shim.metrics.Metrics` and `ap_resume_shim.tracing.Tracing`, to observe the resumes.

        A single name may be passed as a string. Raises `ConfigurationError`.
        """
        check_arguments(locals())
        self.app, self._telemetry = as_app(app), Combined(telemetry)
        self._line = self._telemetry.lines()
        self._routes = {as_prefix(prefix) + route: mode for route, mode in ROUTES.items()}
        self._backend_cors = BackendCors(self._serve, app)
        self._entry = self._telemetry.around_clients(Cors(self._serve, cors) if cors else self._backend_cors)
        self._guard = self._telemetry.around_guard(load_guard(guard) if isinstance(guard, str) else guard)
        self._namespace = str(getattr(app, "origin", "")) if namespace is None else namespace
        self._credentials, self._share_ledger, self._limits = as_names(credentials), share_ledger, limits or Limits()
        self._wrapped = partial(WrappedApp, prefix=prefix, limits=self._limits)
        self._bodies = Bodies(self._limits.body, self._limits.bodies)
        self._settings = FlowSettings(
            settle=settle, commit_timeout=self._limits.commit, typed_answers=typed_answers == "check", lenient=lenient
        )
        self._vendor_resumes, self._counts = vendor_resumes, VendorCounts(vendor_resumes, self._credentials, report_key)
        if authorize is not None or audit is not None:
            self._settings.review, self._settings.refresh_after_review = True, authorize is not None
            from ap_resume_shim.policy.resumes import Policy

            self._line = Policy(authorize, audit, self._credentials, self._counts.caller).lines(self._line)
        self._prefix, self._resume_at, self._options = prefix, resume_at, dict(options or {})
        self._naming: Naming | None = None  # until the backend is known
        self._native, self._edits = backend == NATIVE, openapi_edits(prefix) if merge_openapi else ()
        self._beside = DetectionBeside(self._detect, self._telemetry.around_clients)
        self._set_app(app)
        self._detecting = asyncio.Lock()
        self._resumptions = Resumptions()
        if (dialect := configured_dialect(backend, profile, resume_at=resume_at, options=options)) is not None:
            self._use(dialect)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a resume; pass any other request to the wrapped app."""
        if scope["type"] == "http":
            if scope["method"] in self._apps:
                if scope["method"] in _OURS and scope["path"].endswith(_ENDS) and route_path(scope) in self._routes:
                    await self._entry(scope, receive, send)
                else:
                    await self._apps[scope["method"]](scope, receive, send)
                return
        elif scope["type"] == "lifespan":
            receive = delay_shutdown(receive, self._resumptions.running)
        elif scope["type"] == "websocket" and self._vendor_resumes == "guard":
            await self._vendor_app(scope, receive, send)
            return
        await self._passed(scope, receive, send)

    def reads_websocket(self, scope: Scope) -> bool:
        """Return True if answers in this WebSocket are guarded, or if they may be: the backend is not known yet."""
        if self._naming is None or self._vendor_resumes != "guard":
            return self._vendor_resumes == "guard" and not self._native
        return websocket_conventions(self._naming.dialect, scope, self._prefix) != []

    async def _detect_and_pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that may be a vendor resume; detect the backend before that (`guard`) or concurrently."""
        if SYNTHESISED not in scope:
            if self._vendor_resumes != "guard":
                self._beside.begin(scope)
            elif not await self._beside.admit(scope, receive, send):
                return
        await (self._passed if self._naming is None else self._vendor_app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request on one of the three routes."""
        if scope["method"] != "PATCH" or self._native or SYNTHESISED in scope:
            await self.app(scope, receive, send)
            return
        mode = self._routes[route_path(scope)]
        with self._bodies.body() as body:
            await self._serve_resume(mode, body, scope, receive, send)

    async def _serve_resume(self, mode: Mode, body: Body, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a resume, unless detection shows that the backend serves these routes itself."""
        arrived = self._guard.now()
        client = Client(scope, receive, send, base=escape(scope.get("root_path", "")) + self._prefix)
        line = self._line(scope, mode, client)
        scope[RESUME] = True

        async def prepare() -> Resumption | None:
            with line.upstream:
                naming = self._naming or await self._detect(scope)
            if naming is None:
                return None
            line.backend = naming.dialect.name
            incoming = await IncomingResume.read(scope, receive, mode=mode, body=body, naming=naming, line=line)
            flow = resume_flow(incoming.resume, naming.dialect, self._settings)
            return self._begin(incoming, arrived, flow, client, line)

        if not await self._resumptions.run(prepare, client, line):
            del scope[RESUME]
            await self.app(scope, receive, send)
        else:
            self._counts.count(scope, DRAFT, line.outcome)

    async def _guard_vendor(self, scope: Scope, arrived: Moment, vendor: VendorResume, client: VendorClient) -> None:
        """Judge and hold a vendor resume as a resume of the draft, and pass it on."""
        assert self._naming is not None, "conventions are those of a dialect"
        naming, line = self._naming, self._line(scope, vendor.mode, client, convention=vendor.convention.name)
        line.backend = naming.dialect.name

        async def prepare() -> Resumption:
            thread_id = vendor.thread_id or await locate(vendor, naming.dialect, self._lookups(naming, scope))
            incoming = IncomingResume.from_vendor(scope, vendor, thread_id, naming)
            line.thread_id = incoming.resume.thread_id
            flow = vendor_flow(vendor, incoming.resume, naming.dialect, self._settings)
            return self._begin(incoming, arrived, flow, client, line)

        await self._resumptions.run(prepare, client, line)
        self._counts.count(scope, vendor.convention.name, line.outcome)

    def _begin(self, incoming: IncomingResume, at: Moment, flow: Flow, client: Client, line: ResumeLine) -> Resumption:
        """Begin a guard session for a resume that arrived at that moment, and prepare its flow."""
        naming = self._naming
        assert naming is not None, "a resume is read in a dialect"
        return Resumption(
            flow,
            self._guard.begin(incoming.key, at),
            incoming,
            app=self._wrapped(self._observed_app),
            client=client,
            line=line,
            ledger=naming.ledger_reader(self._guard.ledger, incoming.scope, incoming.resume.thread_id),
        )

    async def reading(self, scope: Scope, own: str = "", largest: int | None = None) -> Reading | None:
        """Return the means by which `Questions` reads threads for a request's caller; None for a native backend."""
        if (naming := self._naming or await self._detect(scope)) is None:
            return None
        return Reading(naming.dialect, self._lookups(naming, scope, own, largest), self._prefix)

    def _lookups(self, naming: Naming, scope: Scope, own: str = "", largest: int | None = None) -> Lookups:
        app = self._wrapped(self._observed_app)
        return Lookups(app, scope, naming.ledger_reader(self._guard.ledger, scope, own), largest)

    def report(self) -> dict[str, Any]:
        """Return the counts of resumes by convention and verdict, since the start, as JSON values."""
        return self._counts.report()

    @property
    def backend(self) -> str | None:
        """The name of the backend's dialect, or "native"; None until the backend is detected."""
        if self._native:
            return NATIVE
        return None if self._naming is None else self._naming.dialect.name

    async def ready(self) -> str:
        """Return the name of the backend's dialect, or "native", once the backend responds and is recognised.

        Raises `ResumeError` if it is unreachable or unrecognised, or if the guard's store would refuse a resume.
        """
        await self._guard.check()
        name = await self.detect()
        await ask(self._wrapped(self.app), OWN_SCOPE, Request.get("/info"))
        return name

    async def detect(self) -> str:
        """Detect the backend without credentials: return the name of its dialect, or "native". Raises `ResumeError`."""
        naming = self._naming or await self._detect(OWN_SCOPE)
        return NATIVE if naming is None else naming.dialect.name

    async def _detect(self, scope: Scope) -> Naming | None:
        """Detect the backend, once. Returns None for one that has the three routes itself."""
        async with self._detecting:
            if self._naming is None and not self._native:
                # In threads, since these calls read files: LangGraph's server raises an error if its loop is blocked.
                known = await asyncio.to_thread(known_fingerprints)
                name = await drive(detect_flow(known, self._prefix), Lookups(self._wrapped(self.app), scope).do)
                logger.info("the backend is %s (detected)", name)
                self._native = name == NATIVE
                self._set_app(self.app)
                try:
                    if not self._native:
                        load = partial(load_backend, name, resume_at=self._resume_at, options=self._options)
                        self._use(await asyncio.to_thread(load))
                except ConfigurationError as error:  # options of another backend
                    raise UpstreamUnrecognised(
                        "The shim is not set up for this backend: its log has the reason.",
                        detail=f"The shim is not set up for the backend {name}: {error}",
                    ) from None
            return self._naming

    def _use(self, dialect: Dialect[Any]) -> None:
        """Use this dialect from now on."""
        # Today's clients cannot name the question that they answer: a second click must not answer the next one.
        window = max(self._guard.duplicate_window, DOUBLE_CLICK if self._vendor_resumes == "guard" else 0.0)
        self._naming = naming = Naming(
            recognising(dialect), self._namespace, self._credentials, self._share_ledger, window
        )
        self._edits += dialect.document_edits
        observer = TrafficObserver(self.app, dialect, self._guard.ledger, naming.view, self._prefix)
        self._set_app(observer if wants_traffic(dialect) else self.app)

    def _set_app(self, app: ASGIApp) -> None:
        """Use `app` for the requests of the flow, and around it what the options add for all other requests."""
        self._observed_app = self._telemetry.around_backend(app, str(getattr(self.app, "origin", "")))
        if self._edits and not self._native:  # a native backend describes its routes itself
            app = EditedDocuments(app, self._edits, self._prefix)
        self._passed = self._vendor_app = self._telemetry.around_clients(app)
        self._apps = dict.fromkeys(_OURS, self._passed)  # by method; any other request goes to `_passed` at once
        if self._vendor_resumes == "pass" or self._native:
            return
        if (naming := self._naming) is None:
            self._vendor_app = self._apps["POST"] = self._detect_and_pass
            return
        lookups, counts, checks = partial(self._lookups, naming), self._counts, self._settings.typed_answers
        guarding = VendorResumes(
            app,
            naming.dialect,
            self._bodies,
            self._prefix,
            guarded=self._guard_vendor if self._vendor_resumes == "guard" else None,
            observer=VendorObserver(
                naming, self._guard, self._bodies, lookups, counts, typed_answers=checks, telemetry=self._telemetry
            ),
            count=counts.count,
            cors=self._backend_cors,
            now=self._guard.now,
        )
        self._vendor_app = self._telemetry.around_clients(guarding)
        self._apps |= {method: self._vendor_app for each in naming.dialect.conventions for method in each.methods}
