"""Authentication for the servers of LangGraph's family: two users, each of whom sees only threads of their own."""

from langgraph_sdk import Auth

USERS = ("alice", "bob")
auth = Auth()


@auth.authenticate
async def authenticate(headers: dict):
    sent = headers.get("authorization") or headers.get(b"authorization") or b""
    token = (sent.decode() if isinstance(sent, bytes) else sent).removeprefix("Bearer ")
    if token not in USERS:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no such user")
    return {"identity": token, "is_authenticated": True}


@auth.on.threads
async def own(ctx, value):
    """LangGraph reads the metadata that it passed, changed in place; Aegra may pass none."""
    if isinstance(value, dict):
        if value.get("metadata") is None:
            value["metadata"] = {}
        value["metadata"]["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
