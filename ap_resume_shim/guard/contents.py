"""Whose contents an entry of the ledger has.

Facts of a thread (ids, what was answered, what goes on) are for all who may resume it. Contents (questions, state,
properties, answers) are for the caller whose traffic held them. The owner is a digest of that caller's credentials and
the thread's id, neither of which is in a store; contents in a shared store are sealed under it.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.steps import Entry


def owned(entry: Entry, owner: str) -> dict[str, Any]:
    """An entry as a ledger of this process keeps it."""
    if entry.contents is None:
        return {"facts": entry.facts}
    return {"facts": entry.facts, "owner": owner, "contents": entry.contents}


def sealed(kept: Any) -> Any:
    """What `owned` made, as a shared store keeps it."""
    from ap_resume_shim.guard.sealing import seal

    match kept:
        case {"facts": facts, "owner": str(owner), "contents": contents}:
            return {"facts": facts, "sealed": b64encode(seal(strictjson.dumps(contents), owner)).decode()}
    return kept


def seen_by(owner: str, kept: Any) -> Entry | None:
    """An entry as this caller may see it; None for one that cannot be read."""
    match kept:
        case {"facts": dict() as facts, "sealed": str(text)}:
            return Entry(facts, _unsealed(text, owner))
        case {"facts": dict() as facts, "owner": str(other), "contents": contents}:
            return Entry(facts, contents if hmac.compare_digest(other, owner) else None)
        case {"facts": dict() as facts}:
            return Entry(facts)
    return None


def _unsealed(text: str, owner: str) -> Any:
    from ap_resume_shim.guard.sealing import unseal

    try:
        plain = unseal(b64decode(text, validate=True), owner)
    except ValueError:
        return None
    return None if plain is None else strictjson.read(plain)
