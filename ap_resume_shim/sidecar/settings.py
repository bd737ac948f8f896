"""The settings of the sidecar, with defaults and descriptions.

Each has one name: `resume_timeout` here, `--resume-timeout` as a flag, `AP_RESUME_SHIM_RESUME_TIMEOUT` in the
environment, `resume-timeout` in a TOML file. A value may refer to the environment, so that no secret has to be written
down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasGenerator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from ap_resume_shim.core.idempotency import CREDENTIALS
from ap_resume_shim.guard.memory import DAY
from ap_resume_shim.sidecar.setting_values import REFERENCE, Names, Pairs, Seconds, masked, resolve


def kebab(name: str) -> str:
    """Return a setting's name in files, which is also its flag without dashes in front."""
    return name.replace("_", "-")


class _Group(BaseModel):
    """A group of settings. The docstring is its title in the output of `--help`."""

    model_config = ConfigDict(extra="forbid", alias_generator=AliasGenerator(serialization_alias=kebab))


class Upstream(_Group):
    """the server"""

    upstream: Annotated[
        str, Field(description="address of the server: http://127.0.0.1:2024, https://host, unix:/path/of/a/socket")
    ]
    upstream_ca: Annotated[
        FilePath | None, Field(description="certificates (PEM) to trust for https; default: the system's")
    ] = None
    upstream_cert: Annotated[
        FilePath | None, Field(description="client certificate (PEM), if the server requests one")
    ] = None
    upstream_key: Annotated[
        FilePath | None, Field(description="private key of that certificate; default: in the same file")
    ] = None
    upstream_key_password: Annotated[SecretStr | None, Field(description="password of that key")] = None
    connect_timeout: Annotated[Seconds, Field(description="seconds to connect to the server; then 502")] = 5.0
    answer_timeout: Annotated[
        Seconds | None,
        Field(description="seconds for any response to begin; then 504. Agents take minutes; default: no limit"),
    ] = None
    passed_idle_timeout: Annotated[
        Seconds | None,
        Field(description="seconds of silence in a passed response or upgraded connection; default: no limit"),
    ] = None
    transport: Annotated[
        Literal["http1", "httpx"],
        Field(description="HTTP client for the server: http1 (fast; 1xx responses, trailers, upgrades) or httpx"),
    ] = "http1"
    keep_host: Annotated[bool, Field(description="pass the client's Host on; else send the server's own address")] = (
        True
    )
    via: Annotated[
        str | None, Field(description="name for the Via field; a request that already contains it is a loop: 508")
    ] = None
    forwarded: Annotated[
        Literal["off", "forwarded", "x-forwarded", "both"],
        Field(description="fields that describe the client"),
    ] = "off"
    forwarded_allow_ips: Annotated[
        Names, Field(description="addresses of proxies in front whose forwarded fields are trusted; *: all")
    ] = ["127.0.0.1", "::1"]


class Resumes(_Group):
    """resumes"""

    backend: Annotated[
        str, Field(description="kind of server: auto, native, or one that `ap-resume-shim backends` lists")
    ] = "auto"
    profile: Annotated[
        FilePath | None, Field(description="TOML file that describes the server, in place of --backend")
    ] = None
    option: Annotated[
        Pairs,
        Field(description="option of the backend, NAME=VALUE; `ap-resume-shim backends` lists them"),
    ] = []
    resume_at: Annotated[
        str | None, Field(description="JSON pointer to the answer in the body, such as /command/resume (profiles)")
    ] = None
    lenient: Annotated[
        bool, Field(description="drop fields that the backend cannot honour, and list them in AP-Resume-Ignored")
    ] = False
    prefix: Annotated[str, Field(description="path in front of the backend's routes and the shim's, such as /api")] = ""
    settle: Annotated[float, Field(ge=0, description="seconds to wait for a busy thread before 409")] = 1.0
    commit_timeout: Annotated[
        Seconds,
        Field(description="maximum seconds to hold a thread until its state shows an accepted resume"),
    ] = 30.0
    typed_answers: Annotated[
        Literal["check", "show"],
        Field(description="check: refuse an answer that certainly violates its question's schema; show: only show it"),
    ] = "check"
    vendor_resumes: Annotated[
        Literal["pass", "observe", "guard"],
        Field(description="answers in the backend's own convention: pass, observe (pass and count) or guard them"),
    ] = "observe"
    report_key: Annotated[
        SecretStr | None,
        Field(description="secret for the digests of callers in the report, shared by sidecars; default: random"),
    ] = None
    lookup_timeout: Annotated[Seconds, Field(description="seconds for each lookup; then 504")] = 30.0
    resume_timeout: Annotated[
        Seconds,
        Field(description="seconds for a resume: to the head of a stream, or the end of another response; then 504"),
    ] = 3600.0
    idle_timeout: Annotated[Seconds, Field(description="seconds of silence in the middle of a stream")] = 3600.0
    max_body: Annotated[int, Field(ge=1024, description="maximum size of a resume's body in bytes; then 413")] = (
        4 * 1024 * 1024
    )
    max_bodies: Annotated[
        int, Field(ge=1024, description="bytes of all resumes' bodies in memory, at most; then 503")
    ] = 64 * 1024 * 1024
    cors: Annotated[
        Names, Field(description="origins whose pages may resume from a browser: https://app.example, or *")
    ] = []
    merge_openapi: Annotated[bool, Field(description="add the three routes to the server's GET /openapi.json")] = False


class Guarding(_Group):
    """one resume at a time"""

    guard: Annotated[
        str, Field(description="store of the guard: memory, or redis://host:port/0, shared by all sidecars")
    ] = "memory"
    guard_required: Annotated[
        bool, Field(description="send 503 while the shared guard is unreachable; else this process guards alone")
    ] = True
    guard_lease: Annotated[
        Seconds, Field(description="seconds after which the thread of a sidecar that died is free (redis); minimum: 3")
    ] = 30.0
    namespace: Annotated[
        str | None,
        Field(description="name of the set of threads; default: the upstream's address, lower case, no default port"),
    ] = None
    credentials: Annotated[
        Names,
        Field(description="header fields that identify a caller, for Idempotency-Key and the ledger of the traffic"),
    ] = list(CREDENTIALS)
    share_ledger: Annotated[
        bool,
        Field(description="use one caller's traffic of a thread for every caller that the backend admits"),
    ] = False
    duplicate_window: Annotated[
        float, Field(ge=0, description="seconds in which a caller's repeated answer to a thread is refused; 0: off")
    ] = 0.0
    keep_answers: Annotated[Seconds, Field(description="seconds to store a response under its Idempotency-Key")] = DAY


class Policy(_Group):
    """your own policy"""

    authorize: Annotated[
        str | None, Field(description="URL of a service that decides about each resume before it is sent")
    ] = None
    audit: Annotated[Path | None, Field(description="file with a line for each resume, before it is sent")] = None
    audit_who: Annotated[
        str | None, Field(description="header field that names the person, such as x-forwarded-user")
    ] = None
    audit_questions: Annotated[bool, Field(description="record the texts of questions; else their digests")] = False
    audit_answers: Annotated[bool, Field(description="record the values of answers; else their digests")] = False
    audit_required: Annotated[
        bool, Field(description="send 503 while the audit file cannot be written; else send resumes without a record")
    ] = True


class Listening(_Group):
    """clients"""

    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0: any free one")] = 8063
    uds: Annotated[str | None, Field(description="path of a Unix socket to listen on, in place of a port")] = None
    ssl_certfile: Annotated[FilePath | None, Field(description="the sidecar's certificate (PEM), to serve TLS")] = None
    ssl_keyfile: Annotated[FilePath | None, Field(description="its private key; default: in the same file")] = None
    ssl_keyfile_password: Annotated[SecretStr | None, Field(description="password of that key")] = None
    ssl_ca_certs: Annotated[
        FilePath | None, Field(description="CA certificates (PEM) for clients: clients must present a certificate")
    ] = None
    ssl_cert_reqs: Annotated[
        Literal["required", "optional", "none"],
        Field(description="whether clients must present a certificate, with --ssl-ca-certs"),
    ] = "required"
    max_head: Annotated[int, Field(ge=1024, description="bytes of a request's head, at most; then 431")] = 65536
    timeout_keep_alive: Annotated[Seconds, Field(description="seconds to keep a client's idle connection open")] = 75.0


class ProcessSettings(_Group):
    """the process"""

    timeout_graceful_shutdown: Annotated[
        float, Field(ge=0, description="seconds that requests in progress have after SIGTERM, before they are cut")
    ] = 10.0
    reserved_prefix: Annotated[
        str,
        Field(
            pattern=r"^(/[^/?#\s]+)*$|^/$",
            description="path in front of healthz, readyz and questions; empty: they are off",
        ),
    ] = "/-"
    console: Annotated[
        bool, Field(description="serve a page that lists and answers pending questions, at /-/console")
    ] = False
    health_port: Annotated[
        int | None, Field(ge=0, le=65535, description="port for healthz and readyz, in place of the one for clients")
    ] = None


class Logs(_Group):
    """logs"""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="level of the log on standard error")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "human", "json"], Field(description="text or JSON lines; auto: text on a terminal")
    ] = "auto"
    access_log: Annotated[bool, Field(description="log each request that is not a resume, too")] = False


class Monitoring(_Group):
    """metrics and traces"""

    metrics: Annotated[
        bool,
        Field(description="serve metrics on the clients' port, too; a health port always has them"),
    ] = False
    otel: Annotated[bool, Field(description="trace resumes with OpenTelemetry")] = False


GROUPS = (Upstream, Resumes, Guarding, Policy, Listening, ProcessSettings, Logs, Monitoring)
"""In the order of `--help` and of the docs."""


class Settings(Monitoring, Logs, ProcessSettings, Listening, Policy, Guarding, Resumes, Upstream):
    """Settings of `ap-resume-shim serve`."""

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, written: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        settings = handler(written)
        settings._written = dict(written)
        return settings

    @field_validator("*", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        return resolve(value)

    def shown(self) -> dict[str, str]:
        """Return the settings that were set, for display: passwords are masked, references are not resolved."""
        return {kebab(name): self._shown(name) for name in NAMES if name in self.model_fields_set}

    def _shown(self, name: str) -> str:
        written = self._written.get(name)
        value = written if REFERENCE.search(str(written)) else getattr(self, name)
        return "" if value is None else masked(",".join(value) if isinstance(value, list) else str(value))

    def masked(self, text: str) -> str:
        """Return `text` with passwords, and the values of references, masked."""
        for name in filter(None, REFERENCE.findall(str(self._written))):
            if len(value := os.environ[name]) > 3:  # shorter values are no secrets, and occur inside words
                text = text.replace(value, f"${{{name}}}")
        return masked(text)


NAMES = tuple(name for group in GROUPS for name in group.model_fields)
"""The names of all settings, in display order."""


def schema() -> dict[str, Any]:
    """Return the JSON schema of a settings file."""
    made = Settings.model_json_schema(mode="serialization")["properties"]
    properties = {name: made[name] for name in map(kebab, NAMES)}
    for described in properties.values():
        described.pop("title")
        if "anyOf" in described:  # TOML has no null
            described |= described.pop("anyOf")[0]
            described.pop("default")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ap-resume-shim",
        "description": "Settings of `ap-resume-shim serve`: a TOML file, or its section [tool.ap-resume-shim].",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
