"""A client of LangGraph before the migration: the second click of a double click answers the next question.

    pip install langgraph-sdk
    python before.py http://127.0.0.1:2024

It needs the server of ../langgraph.
"""

import sys

from langgraph_sdk import get_sync_client

client = get_sync_client(url=sys.argv[1])
thread = client.threads.create()["thread_id"]
client.runs.wait(thread, "deploy", input={"release": "4.2"})
(question,) = client.threads.get_state(thread)["interrupts"]
print(question["value"]["question"])

for click in ("first click", "second click"):
    client.runs.wait(thread, "deploy", command={"resume": "approve"})
    print(f"{click}: {client.threads.get_state(thread)['values']}")
