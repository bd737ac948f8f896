"""`RequestFraming`: finds the end of a request in the bytes of a connection, without parsing its fields.

llhttp does not stop at the end of a request, so it receives no bytes of the next one before the response is complete.
Malformed framing is not detected here: the parser refuses it.
"""

from __future__ import annotations

import re

from ap_resume_shim.core.asgi import HeaderList

MAX_PART = 64 * 1024
"""Maximum size of a part in bytes, except in a body with a `Content-Length`."""
_EMPTY_LINE = b"\r\n\r\n"
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[^\n]*\n")


class RequestFraming:
    """The framing of one request: first of its head; after `begin_body`, of its body and trailer section."""

    __slots__ = ("_chunked", "_remaining", "_size_line", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        """The last bytes of an incomplete head or trailer section: its empty line may be split over two reads."""
        self._size_line = b""
        """The beginning of an incomplete line with the size of a chunk."""
        self._remaining = 0
        """Outstanding bytes: of the body, or of a chunk and the end of its line."""
        self._chunked = False

    def begin_body(self, headers: HeaderList) -> None:
        """Continue with the body that the header fields announce; called when the head is complete."""
        fields = dict(headers)
        self._chunked = b"transfer-encoding" in fields
        self._remaining = 0 if self._chunked else int(fields.get(b"content-length", 0))
        self._tail = b""

    def next_end(self, data: bytes, start: int) -> int:
        """Return the end of the part that begins at `start`: at most the end of the head, the request or `data`."""
        if not self._chunked and self._remaining:
            end = min(start + self._remaining, len(data))
            self._remaining -= end - start
            return end
        limit = min(start + MAX_PART, len(data))
        if self._chunked:
            start = self._skip_chunks(data, start, limit)
        found = (self._tail + data[start : min(start + 3, limit)]).find(_EMPTY_LINE) if self._tail else -1
        if found >= 0:
            end = start + found + len(_EMPTY_LINE) - len(self._tail)
        elif (found := data.find(_EMPTY_LINE, start, limit)) >= 0:
            end = found + len(_EMPTY_LINE)
        else:
            self._tail = (self._tail + data[max(start, limit - 3) : limit])[-3:]
            return limit
        self._tail = b""
        return end

    def _skip_chunks(self, data: bytes, start: int, limit: int) -> int:
        """Return the end of the part, or, in the last chunk, whose size is 0, the end of its line."""
        while start < limit:
            if self._remaining:
                step = min(self._remaining, limit - start)
                self._remaining -= step
                start += step
            elif not self._size_line and (line := _SIZE.match(data, start, limit)) and (size := int(line[1], 16)):
                start = line.end() + size + 2
                if start > limit:
                    self._remaining, start = start - limit, limit
            else:
                stop = data.find(b"\n", start, limit) + 1
                self._size_line += data[start : stop or limit]
                start = stop or limit
                if stop and self._is_last():
                    break
        return start

    def _is_last(self) -> bool:
        """Parse a complete line with the size of a chunk. True for 0, and for a line that is malformed."""
        line, self._size_line = self._size_line, b""
        size = _SIZE.match(line)
        if size and (left := int(size[1], 16)):
            self._remaining = left + 2
            return False
        self._chunked, self._tail = False, line[-2:]
        return True
