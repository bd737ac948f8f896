"""Creates the sidecar's metrics and traces. Their libraries are imported only if they are used."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.sidecar.settings import Settings

if TYPE_CHECKING:
    from ap_resume_shim.metrics import Metrics
    from ap_resume_shim.tracing import Tracing

logger = logging.getLogger("ap_resume_shim")


def check_metrics(settings: Settings) -> bool:
    """Return True if metrics are served: on the health port if prometheus-client is installed; on the port for
    clients with `metrics`.

    Raises `ConfigurationError`.
    """
    installed = find_spec("prometheus_client") is not None
    if settings.metrics and not installed:
        raise ConfigurationError("--metrics needs prometheus-client: pip install 'ap_resume_shim[prometheus]'.")
    if settings.metrics and not settings.reserved_prefix.strip("/"):
        raise ConfigurationError(
            "--metrics has no path on the clients' port: the reserved prefix is empty. Set --reserved-prefix, or "
            "replace --metrics with --health-port, which also serves the metrics."
        )
    return settings.metrics or (settings.health_port is not None and installed)


def load_metrics(settings: Settings) -> Metrics | None:
    """Return the metrics, with those of the process; None if they are not served. Raises `ConfigurationError`."""
    if not check_metrics(settings):
        return None
    from ap_resume_shim.metrics import Metrics, process_registry

    return Metrics(process_registry())


def load_tracing(settings: Settings) -> Tracing | None:
    """Return the traces; None without `otel`. Raises `ConfigurationError`."""
    if not settings.otel:
        return None
    try:
        from ap_resume_shim.tracing import Tracing
    except ModuleNotFoundError:
        raise ConfigurationError("--otel needs opentelemetry-api: pip install 'ap_resume_shim[otel]'.") from None
    return Tracing()


def warn_if_untraced(tracing: Tracing | None) -> None:
    """Log a warning if the spans are not recorded."""
    if tracing is not None and not tracing.recorded:
        logger.warning(
            "--otel records nothing: no OpenTelemetry SDK is set up. Start the sidecar with opentelemetry-instrument."
        )
