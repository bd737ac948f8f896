"""Making a recording stable: what belongs to a machine is dropped, ids and times are numbered."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.sse import Decoder
from tests.recordings import Document, is_stream

NOW = "2026-01-01T00:00:00+00:00"
"""The shim's own clock, in every recording."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID = re.compile(rf"(?<![0-9a-f])(?:{_UUID}|[0-9a-f]{{32}})(?![0-9a-f])")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
_NOISE = re.compile(
    r"kwargs|user-agent|x-request-id|user_display_name|ls_integration|__request_start_time_ms__|__after_seconds__"
    r"|parents|parent_checkpoint(_id)?|langgraph_(api_url|host|plan|version|api_version|request_id|auth_.*)"
)
"""Keys that no dialect reads: they tell of the machine, the client or the moment, or make recordings long."""


def tidy(document: Document) -> Document:
    """Make a recording stable."""
    for message in _answers(document):
        _quieten(message)
    text = _with_numbered_ids(json.dumps(document, ensure_ascii=False))
    stable: Document = json.loads(_with_numbered_times(text, json.dumps(document["exchanges"])))
    for message in _answers(stable):
        if "cuts" in message:
            whole, cuts = message["body"], message.pop("cuts")
            message["body"] = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return stable


def shim_times(reply: Any, exchanges: Any) -> Any:
    """A reply in which a time that no exchange told, which is the shim's own, is `NOW`."""
    told = json.dumps(exchanges)
    return json.loads(_TIME.sub(lambda match: _own(match[0], told), json.dumps(reply)))


def _own(time: str, told: str) -> str:
    return time if time in told else NOW


_NAMED = {str(uuid5(UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), agent)) for agent in ("ask", "two", "nobody")}
"""Ids of default assistants, which LangGraph's servers derive from the names that the cases send as `agent_id`."""


def _with_numbered_ids(text: str) -> str:
    """The n-th id becomes the number n, in its own shape; but for those that follow from a name."""
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        if match[0] in _NAMED:
            return match[0]
        number = numbers.setdefault(match[0], len(numbers) + 1)
        return f"00000000-0000-4000-8000-{number:012x}" if "-" in match[0] else f"{number:032x}"

    return _ID.sub(numbered, text)


def _with_numbered_times(text: str, told: str) -> str:
    """Times keep their order and their shape: the n-th in time is n seconds after `NOW`."""
    moments = sorted({_moment(match[0]) for match in _TIME.finditer(told)})
    numbers = {moment: number for number, moment in enumerate(moments, start=1)}

    def numbered(match: re.Match[str]) -> str:
        if match[0] not in told:
            return NOW
        made = datetime.fromisoformat(NOW) + timedelta(seconds=numbers[_moment(match[0])])
        fraction = match[1] or ""
        return made.strftime("%Y-%m-%dT%H:%M:%S") + re.sub(r"\d", "0", fraction) + match[0][19 + len(fraction) :]

    return _TIME.sub(numbered, text)


def _moment(time: str) -> datetime:
    moment = datetime.fromisoformat(time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _answers(document: Document) -> list[Document]:
    return [exchange["response"] for step in document["exchanges"] for exchange in step] + [document["reply"]]


def _quieten(message: Document) -> None:
    """Drop the noise of an answer, inside of the events of a stream too.

    A stream is joined meanwhile, since an event or an id may reach from one chunk into the next; `cuts` tells where
    its chunks began.
    """
    if not is_stream(message["headers"]):
        message["body"] = _without_noise(message["body"])
        return
    chunks, whole = message["body"], "".join(message["body"])
    olds = [event.raw.decode() for event in Decoder().feed(whole.encode())]
    news = [re.sub(r"(?m)^data: (.*?)(\r?)$", _quiet_data, old) for old in olds]
    message["body"] = "".join(news) + whole[len("".join(olds)) :]
    message["cuts"] = [_moved(len("".join(chunks[:count])), olds, news) for count in range(1, len(chunks))]


def _moved(cut: int, olds: list[str], news: list[str]) -> int:
    """Where a cut comes to lie when events have become shorter."""
    before = after = 0
    for old, new in zip(olds, news, strict=True):
        if cut < before + len(old):
            return after + min(cut - before, len(new))
        before, after = before + len(old), after + len(new)
    return after + cut - before


def _quiet_data(match: re.Match[str]) -> str:
    value = strictjson.read(match[1])
    quiet = _without_noise(value)
    return match[0] if quiet == value else f"data: {strictjson.dumps(quiet).decode()}{match[2]}"


def _without_noise(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_noise(item) for key, item in value.items() if not _NOISE.fullmatch(key)}
    return [_without_noise(item) for item in value] if isinstance(value, list) else value
