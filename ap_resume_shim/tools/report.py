"""Shows which clients still answer in a vendor's convention: the counts of running sidecars, as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.vendor_estimate import WOULD_ACCEPT
from ap_resume_shim.core.vendor_flow import NEW_TURN
from ap_resume_shim.runtime.resume_log import BACKEND_REFUSED
from ap_resume_shim.runtime.vendor_counts import CALLERS

_TIMEOUT = 10.0
"""Seconds to wait for the sidecar."""
_NOT_REFUSED = frozenset(
    {WOULD_ACCEPT, NEW_TURN, BACKEND_REFUSED, "replayed", "client_left", "cancelled", "not_examined", "unclear"}
)
"""Verdicts that are not refusals by the shim."""

Report = dict[str, Any]


def fetch_report(url: str) -> Report:
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
    try:
        list(lines(merge([report])))
    except (AttributeError, KeyError, TypeError):
        raise ConfigurationError(f"{address} is not the report of a sidecar of this version.") from None
    return dict(report)


def merge(reports: Sequence[Report]) -> Report:
    """Add up the reports of several sidecars. Callers are the same if the sidecars have the same `report-key`."""
    keys = {report["callers_of"] for report in reports}
    names = sorted({name for report in reports for name in report["conventions"]})
    return {
        "since": min(report["since"] for report in reports),
        "vendor_resumes": ", ".join(sorted({report["vendor_resumes"] for report in reports})),
        "estimated": any(report["estimated"] for report in reports),
        "callers_of": keys.pop() if len(keys) == 1 else None,
        "conventions": {
            name: _sum(report["conventions"][name] for report in reports if name in report["conventions"])
            for name in names
        },
    }


def _sum(counts: Iterable[Report]) -> Report:
    added, clients = list(counts), dict[str, Counter[str]]()
    for count in added:
        for family, verdicts in count["clients"].items():
            clients.setdefault(family, Counter()).update(verdicts)
    verdicts = sum(clients.values(), Counter[str]())
    return {
        "resumes": verdicts.total(),
        "verdicts": dict(verdicts.most_common()),
        "clients": {family: dict(of.most_common()) for family, of in sorted(clients.items())},
        "callers": sorted({who for count in added for who in count["callers"]}),
        "last": max(count["last"] for count in added),
    }


def lines(report: Report) -> Iterator[str]:
    """Yield the lines of a report: a table of conventions, and below each its verdicts other than `accepted`."""
    mode = report["vendor_resumes"]
    estimated = ", the refusals are estimates" if report["estimated"] else ""
    yield f"since {report['since']}, vendor-resumes = {mode}{estimated}"
    if mode == "pass":
        yield "Answers in vendors' conventions are not counted: start the sidecar with --vendor-resumes observe."
    if report["callers_of"] is None:
        yield "The sidecars have different report keys: a caller of several of them is counted several times."
    yield ""
    yield f"{'convention':<24}{'resumes':>8}{'refused':>9}{'callers':>9}  clients"
    for name, counts in report["conventions"].items():
        refused = sum(count for verdict, count in counts["verdicts"].items() if verdict not in _NOT_REFUSED)
        callers = f"{len(counts['callers'])}{'+' if len(counts['callers']) >= CALLERS else ''}"
        clients = {family: sum(verdicts.values()) for family, verdicts in counts["clients"].items()}
        yield f"{name:<24}{counts['resumes']:>8}{refused:>9}{callers:>9}  {_listed(clients)}"
        for verdict, count in counts["verdicts"].items():
            if verdict != WOULD_ACCEPT:
                of = {family: each[verdict] for family, each in counts["clients"].items() if verdict in each}
                yield f"    {count} {verdict} ({_listed(of)})"


def _listed(clients: dict[str, int]) -> str:
    return ", ".join(f"{client} {count}" for client, count in sorted(clients.items(), key=lambda item: -item[1]))
