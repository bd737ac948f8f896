"""A client that resumes, and disconnects before the response is complete."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from ap_resume_shim.core.protocol import Mode


@contextmanager
def leaving(url: str, mode: Mode, body: dict[str, Any]) -> Iterator[None]:
    """Send a resume, and disconnect at the end of the block.

    When the block starts, a stream has started; when the block ends, a wait has no response yet.
    """
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
    response: HTTPResponse | None = None
    try:
        content = {"content-type": "application/json"}
        connection.request("PATCH", address.path.rstrip("/") + mode.route, json.dumps(body), content)
        if mode is Mode.STREAM:
            response = connection.getresponse()
            assert response.status == 200, response.read()
            assert response.read1(), "the stream begins"
        yield
        if mode is Mode.WAIT:
            assert not select.select([connection.sock], [], [], 0)[0], connection.getresponse().read()
    finally:
        if response is not None:
            response.close()  # it would keep the socket open
        connection.close()
