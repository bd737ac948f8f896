"""A client that resumes, and leaves before its answer is whole."""

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
    """Resume by a connection that is closed when the block ends: what has to happen first decides when, not a clock.

    A stream has begun when the block begins; a wait is still without an answer when it ends.
    """
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
    answer: HTTPResponse | None = None
    try:
        content = {"content-type": "application/json"}
        connection.request("PATCH", address.path.rstrip("/") + mode.route, json.dumps(body), content)
        if mode is Mode.STREAM:
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.read1(), "the stream begins"
        yield
        if mode is Mode.WAIT:
            assert not select.select([connection.sock], [], [], 0)[0], connection.getresponse().read()
    finally:
        if answer is not None:
            answer.close()  # holds the socket, where it is to be closed with the connection
        connection.close()
