"""`Pieces`: where a request ends in the bytes of a connection.

The parser does not stop there by itself, so it is fed no further. What is malformed is for the parser to refuse: pure.
"""

from __future__ import annotations

import re

from ap_resume_shim.core.asgi import HeaderList

MOST = 64 * 1024
"""Bytes of a piece, unless it belongs to a body of known length."""
_EMPTY_LINE = b"\r\n\r\n"
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[^\n]*\n")


class Pieces:
    """Begins at a request's head; `body` goes on with what the head announces."""

    __slots__ = ("_before", "_chunked", "_left", "_line")

    def __init__(self) -> None:
        self._before = b""
        """The last bytes of a head, or of the fields after a body: an empty line may come in two reads."""
        self._line = b""
        """What came of the line with a chunk's size."""
        self._left = 0
        """Bytes of the body, or of the chunk and the end of its line, that are still to come."""
        self._chunked = False

    def body(self, headers: HeaderList) -> None:
        """The head is over."""
        announced = dict(headers)
        self._chunked = b"transfer-encoding" in announced
        self._left = 0 if self._chunked else int(announced.get(b"content-length", 0))
        self._before = b""

    def end(self, data: bytes, at: int) -> int:
        """Where the piece that begins at `at` ends: with the head, with the request, or with the data at the latest."""
        if not self._chunked and self._left:
            end = min(at + self._left, len(data))
            self._left -= end - at
            return end
        most = min(at + MOST, len(data))
        if self._chunked:
            at = self._skip_chunks(data, at, most)
        found = (self._before + data[at : min(at + 3, most)]).find(_EMPTY_LINE) if self._before else -1
        if found >= 0:
            end = at + found + len(_EMPTY_LINE) - len(self._before)
        elif (found := data.find(_EMPTY_LINE, at, most)) >= 0:
            end = found + len(_EMPTY_LINE)
        else:
            self._before = (self._before + data[max(at, most - 3) : most])[-3:]
            return most
        self._before = b""
        return end

    def _skip_chunks(self, data: bytes, at: int, most: int) -> int:
        """Where the piece ends, or the line with the last chunk's size, which is 0."""
        while at < most:
            if self._left:
                step = min(self._left, most - at)
                self._left -= step
                at += step
            elif not self._line and (line := _SIZE.match(data, at, most)) and (size := int(line[1], 16)):
                at = line.end() + size + 2
                if at > most:
                    self._left, at = at - most, most
            else:
                stop = data.find(b"\n", at, most) + 1
                self._line += data[at : stop or most]
                at = stop or most
                if stop and self._is_last():
                    break
        return at

    def _is_last(self) -> bool:
        line, self._line = self._line, b""
        size = _SIZE.match(line)
        if size and (left := int(size[1], 16)):
            self._left = left + 2
            return False
        self._chunked, self._before = False, line[-2:]
        return True
