"""The same client after the migration: the answer names the question that the person has read.

    pip install langgraph-sdk
    python after.py http://127.0.0.1:2024

It needs the server of ../langgraph, or the sidecar in front of a server without the shim.
"""

import sys

from langgraph_sdk import get_sync_client
from langgraph_sdk.errors import APIStatusError

client = get_sync_client(url=sys.argv[1])
thread = client.threads.create()["thread_id"]
client.runs.wait(thread, "deploy", input={"release": "4.2"})
(question,) = client.threads.get_state(thread)["interrupts"]
print(question["value"]["question"])

answer = {"thread_id": thread, "input": "approve", "interrupt_id": question["id"]}
for click in ("first click", "second click"):
    try:
        client.http.patch("/runs/resume/wait", json=answer)
        print(f"{click}: {client.threads.get_state(thread)['values']}")
    except APIStatusError as error:
        print(f"{click}: refused, {error.response.json()['message']}")
