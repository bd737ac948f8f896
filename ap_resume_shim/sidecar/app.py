"""Builds the app and the TLS contexts from the sidecar's settings."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ap_resume_shim.core.errors import ConfigurationError, GuardMisconfigured, GuardUnavailable
from ap_resume_shim.guard import Guard, load_guard
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.proxy.forwarded import Forwarding
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.questions import Questions
from ap_resume_shim.runtime.resume_log import AccessLog
from ap_resume_shim.runtime.telemetry import Telemetry
from ap_resume_shim.sidecar.health import not_found
from ap_resume_shim.sidecar.monitoring import check_metrics, load_tracing
from ap_resume_shim.sidecar.reserved import ReservedPaths
from ap_resume_shim.sidecar.setting_values import pairs
from ap_resume_shim.sidecar.settings import Settings
from ap_resume_shim.sidecar.sockets import reaches

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from ap_resume_shim.policy import AuditFile


def check(settings: Settings) -> list[str]:
    """Check settings that are valid one by one: return a line for each problem. Opens files, but no connection."""
    parts: tuple[Callable[[Settings], object], ...] = (
        _refuse_missing_unix_sockets,
        server_tls,
        _limits,
        _refuse_loop,
        _refuse_console_without_path,
        _refuse_missing_folder,
        _guard,
        _backend,
        check_metrics,
        load_tracing,
    )
    problems = []
    for make in parts:
        try:
            make(settings)
        except ConfigurationError as error:
            problems.append(settings.masked(str(error)))
    return problems


async def check_guard(settings: Settings) -> tuple[str, ...]:
    """Check that the guard's store is usable; return warnings.

    Raises `ConfigurationError` for a fault that an operator must fix.
    """
    guard = _guard(settings)
    try:
        return await guard.check()
    except GuardMisconfigured as failure:
        raise ConfigurationError(failure.message) from failure
    except GuardUnavailable as failure:
        return (failure.reason,)
    finally:
        await guard.aclose()


def build(settings: Settings, telemetry: Sequence[Telemetry] = (), audit: AuditFile | None = None) -> ResumeShim:
    """Build the app: the shim in front of a reverse proxy. Raises `ConfigurationError`."""
    return ResumeShim(
        _proxy(settings),
        **_backend_arguments(settings),
        guard=_guard(settings),
        namespace=settings.namespace,
        credentials=settings.credentials,
        share_ledger=settings.share_ledger,
        lenient=settings.lenient,
        prefix=settings.prefix,
        settle=settings.settle,
        typed_answers=settings.typed_answers,
        vendor_resumes=settings.vendor_resumes,
        report_key=_report_key(settings),
        limits=_limits(settings),
        cors=settings.cors,
        merge_openapi=settings.merge_openapi,
        telemetry=telemetry,
        authorize=settings.authorize,
        audit=audit,
    )


def open_audit(settings: Settings) -> AuditFile | None:
    """Open the audit file, if there is one. Raises `ConfigurationError`."""
    if settings.audit is None:
        return None
    from ap_resume_shim.policy import AuditFile

    return AuditFile(
        settings.audit,
        who=settings.audit_who,
        questions=settings.audit_questions,
        answers=settings.audit_answers,
        required=settings.audit_required,
    )


def clients_app(settings: Settings, shim: ResumeShim, health: ASGIApp) -> ASGIApp:
    """Return the app for the clients' port: the shim, and the sidecar's own addresses below the reserved prefix."""

    def logged(app: ASGIApp) -> ASGIApp:
        return AccessLog(app) if settings.access_log else app

    if not settings.reserved_prefix:
        return logged(shim)
    prefix = settings.reserved_prefix.rstrip("/")
    questions = Questions(shim, prefix=f"{prefix}/questions", cors=settings.cors)
    apps = dict.fromkeys(("questions", "questions/"), logged(questions))
    if settings.health_port is None:
        apps |= {"healthz": health, "readyz": health}
    if settings.metrics:
        apps["metrics"] = health
    if settings.console:
        apps |= dict.fromkeys(("console", "console/"), _console(prefix))
    return ReservedPaths(logged(shim), prefix, apps)


def _console(prefix: str) -> ASGIApp:
    """Return the console. It is imported only here, since most sidecars do not serve it."""
    from ap_resume_shim.console import Console

    return Console(f"{prefix}/console")


def _limits(settings: Settings) -> Limits:
    return Limits(
        lookup=settings.lookup_timeout,
        resume=settings.resume_timeout,
        idle=settings.idle_timeout,
        commit=settings.commit_timeout,
        body=settings.max_body,
        bodies=settings.max_bodies,
    )


def _backend(settings: Settings) -> ResumeShim:
    return ResumeShim(
        not_found,
        **_backend_arguments(settings),
        prefix=settings.prefix,
        cors=settings.cors,
        report_key=_report_key(settings),
        authorize=settings.authorize,
    )


def _report_key(settings: Settings) -> str | None:
    return None if settings.report_key is None else settings.report_key.get_secret_value()


def _backend_arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `ResumeShim` that describe the backend. Raises `ConfigurationError`."""
    if settings.profile is None:
        return {"backend": settings.backend, "resume_at": settings.resume_at, "options": pairs(settings.option)}
    if "backend" in settings.model_fields_set or settings.option:
        raise ConfigurationError("--profile already describes the server: omit --backend and --option.")
    return {"profile": settings.profile, "resume_at": settings.resume_at}


def _proxy(settings: Settings) -> ReverseProxy:
    return ReverseProxy(
        settings.upstream,
        connect=settings.connect_timeout,
        answer=settings.answer_timeout,
        idle=settings.passed_idle_timeout,
        tls=upstream_tls(settings),
        transport=Http1Transport if settings.transport == "http1" else HttpxTransport,
        forwarding=Forwarding(
            keep_host=settings.keep_host,
            via=settings.via,
            forwarded=None if settings.forwarded == "off" else settings.forwarded,
            trusted=settings.forwarded_allow_ips,
        ),
    )


def _guard(settings: Settings) -> Guard:
    options: dict[str, Any] = {"keep": settings.keep_answers, "duplicate_window": settings.duplicate_window}
    if settings.guard != "memory":
        options |= {"lease": settings.guard_lease, "required": settings.guard_required}
    return load_guard(settings.guard, **options)


def _refuse_missing_unix_sockets(settings: Settings) -> None:
    if settings.uds is not None and not hasattr(socket, "AF_UNIX"):
        raise ConfigurationError("This system has no Unix sockets: use --host and --port in place of --uds.")


def _refuse_missing_folder(settings: Settings) -> None:
    if settings.audit is not None and not settings.audit.absolute().parent.is_dir():
        raise ConfigurationError(f"The folder of the audit file {settings.audit} does not exist: create it.")


def _refuse_loop(settings: Settings) -> None:
    upstream = _proxy(settings).address
    if upstream.uds is not None and settings.uds is not None and realpath(upstream.uds) == realpath(settings.uds):
        raise _loop_error(upstream, f"unix:{settings.uds}", "--uds")
    ports = {"--port": None if settings.uds else settings.port, "--health-port": settings.health_port}
    for flag, port in ports.items():
        if port and reaches(upstream, settings.host, port):
            raise _loop_error(upstream, f"{settings.host}:{port}", flag)


def _refuse_console_without_path(settings: Settings) -> None:
    if settings.console and not settings.reserved_prefix:
        raise ConfigurationError("The console is served below --reserved-prefix, which is empty: set it, such as /-.")


def _loop_error(upstream: Address, where: str, flag: str) -> ConfigurationError:
    return ConfigurationError(
        f"The upstream {upstream.url} is the sidecar itself, which listens on {where}: "
        f"pass the server's address as --upstream, or another {flag}."
    )


def upstream_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context for connections to the server; None for the default. Raises `ConfigurationError`."""
    given = settings.upstream_ca, settings.upstream_cert, settings.upstream_key
    if not any(given):
        return None
    context = _context(ssl.Purpose.SERVER_AUTH, settings.upstream_ca)
    if settings.upstream_cert or settings.upstream_key:
        _load_certificate(
            context, settings.upstream_cert, settings.upstream_key, settings.upstream_key_password, "--upstream-cert"
        )
    return context


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context for clients' connections; None without TLS. Raises `ConfigurationError`."""
    given = settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_ca_certs
    if not any(given):
        return None
    context = _context(ssl.Purpose.CLIENT_AUTH, settings.ssl_ca_certs)
    _load_certificate(
        context, settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_keyfile_password, "--ssl-certfile"
    )
    context.set_alpn_protocols(["http/1.1"])
    if settings.ssl_ca_certs is not None:
        context.verify_mode = ssl.VerifyMode[f"CERT_{settings.ssl_cert_reqs.upper()}"]
    return context


def _context(purpose: ssl.Purpose, authorities: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(purpose, cafile=authorities)
    except OSError as error:
        raise ConfigurationError(f"No trusted certificates can be read from {authorities}: {_reason(error)}.") from None


def _load_certificate(
    context: ssl.SSLContext, certificate: Path | None, key: Path | None, password: SecretStr | None, flag: str
) -> None:
    """Load the certificate that a context presents. Raises `ConfigurationError`."""
    if certificate is None:
        raise ConfigurationError(f"TLS needs a certificate: pass it with {flag}.")

    def get_password() -> str:
        if password is None:  # otherwise OpenSSL would prompt on the terminal
            raise ConfigurationError(f"The key in {key or certificate} is encrypted, and no password was passed.")
        return password.get_secret_value()

    try:
        context.load_cert_chain(certificate, key, get_password)
    except OSError as error:
        files = f"{certificate} and {key}" if key else f"{certificate}"
        raise ConfigurationError(f"{files} cannot be used as certificate and key: {_reason(error)}.") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is not PEM").replace("_", " ").lower()
    return str(error.strerror)
