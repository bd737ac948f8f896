"""Names that were retired: each has one successor, which ARCHITECTURE.md and the glossary use."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import ap_resume_shim

RETIRED = """
Tells tells Course course_of Resulting Streamed silence_is_consent _never_heard Peek Consult Begin Tell Finish
Overtaken Settled Unsettled Untaken Known Accepted Arrival arrive Ticket Passage WirePassage pass_on _Young Hop
Watched looks_on Life _Stage _play rehearsal Rehearsal GoOn Verdict Marks bears Told took_all came_body came_end
lingered _see_through _keep_company _holding_on _unless_gone WireTransport RedisArrival HttpxPassage Loops NEVER_AFTER
AFTER leaves_http ClientLeft Outgoing Young look_again Note Kept _behind _speak NOBODY Pieces request_pieces
_tell_pump _one_zero _unsettled _to_settle LAST_WORDS
"""


def names(path: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_no_retired_name_is_left() -> None:
    modules = Path(ap_resume_shim.__file__).parent.rglob("*.py")
    assert {str(path): found for path in modules if (found := names(path) & set(RETIRED.split()))} == {}
