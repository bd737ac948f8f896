"""Shows who still answers in a vendor's convention: the counts of a running sidecar, as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.vendor_estimate import NEW_TURN, WOULD_ACCEPT

_TIMEOUT = 10.0
"""Seconds to wait for the sidecar."""
_NOT_REFUSED = frozenset({WOULD_ACCEPT, NEW_TURN, "replayed", "client_left", "cancelled", "not_examined"})
"""Verdicts that are no refusals."""


def fetch_report(url: str) -> dict[str, Any]:
    """Read the report of a sidecar. `url` is that of its health port, with the reserved prefix if it is not `/-`.

    Raises `ConfigurationError`.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is not a URL: write http://host:port, with the sidecar's health port.")
    prefix = "" if urlsplit(url).path.strip("/") else "/-"
    address = f"{url.rstrip('/').removesuffix('/report')}{prefix}/report"
    try:
        with urlopen(address, timeout=_TIMEOUT) as response:
            report = json.load(response)
    except (URLError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{address} could not be read: {error}. The report is on the port that --health-port sets."
        ) from None
    if not isinstance(report, dict) or "conventions" not in report:
        raise ConfigurationError(f"{address} is not the report of a sidecar.")
    return report


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a report: a table of conventions, and below each its verdicts other than `accepted`."""
    mode = report["vendor_resumes"]
    estimated = ", the refusals are estimates" if report["estimated"] else ""
    yield f"since {report['since']}, vendor-resumes = {mode}{estimated}"
    if mode == "pass":
        yield "Answers in vendors' conventions are not counted: start the sidecar with --vendor-resumes observe."
    yield ""
    yield f"{'convention':<24}{'resumes':>8}{'refused':>9}{'callers':>9}  clients"
    for name, counts in report["conventions"].items():
        refused = {verdict: count for verdict, count in counts["verdicts"].items() if verdict not in _NOT_REFUSED}
        clients = ", ".join(f"{client} {count}" for client, count in counts["clients"].items())
        total = sum(refused.values())
        yield f"{name:<24}{counts['resumes']:>8}{total:>9}{len(counts['callers']):>9}  {clients}"
        for verdict, count in counts["verdicts"].items():
            if verdict != WOULD_ACCEPT:
                yield f"    {count} {verdict}"
