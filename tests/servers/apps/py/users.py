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
    if isinstance(value, dict):
        value["metadata"] = {**(value.get("metadata") or {}), "owner": ctx.user.identity}
    return {"owner": ctx.user.identity}
