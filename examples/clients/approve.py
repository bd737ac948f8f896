"""A person answers the questions of agents on the terminal, for any backend.

    pip install 'ap_resume_shim[serve]' httpx
    ap-resume-shim demo --console --port 8063
    python approve.py http://127.0.0.1:8063

The second command is the sidecar in front of agents that ask. For your own: ap-resume-shim serve --upstream URL
"""

import json
import sys
import time
import uuid
from typing import Any

import httpx


def ask(question: dict[str, Any]) -> Any:
    """Show a question, and return the answer: one of its options, JSON (such as a list of decisions), or a text."""
    print(question["prompt"] or json.dumps(question["actions"] or question["value"], indent=2))
    choices = {option["label"]: option["answer"] for option in question["options"]}
    text = input(f"{' / '.join(choices) or 'answer'}: ")
    try:
        choice = choices[text] if text in choices else json.loads(text)
    except ValueError:
        choice = text
    template = json.dumps(question["answer"])
    return json.loads(template, object_hook=lambda item: choice if "$choice" in item else item)


def answer(client: httpx.Client, question: dict[str, Any]) -> None:
    """Send an answer. After a broken connection, send it again until the run ends: the key makes it count once."""
    path, key = f"{question['resume']['path']}/wait", str(uuid.uuid4())
    body = {**question["resume"]["body"], "input": ask(question), "on_disconnect": "continue"}
    for attempt in range(300):
        try:
            response = client.patch(path, json=body, headers={"Idempotency-Key": key})
            if attempt == 0 or "Retry-After" not in response.headers:
                print(response.json()["values"] if response.is_success else f"refused: {response.json()['message']}")
                return
            time.sleep(int(response.headers["Retry-After"]))
        except httpx.TransportError as error:
            print(f"again, after {error!r}")
            time.sleep(1)
    print("There is no result yet: read the thread later.")


sys.excepthook = lambda kind, error, _: print(f"{kind.__name__}: {error}", file=sys.stderr)
with httpx.Client(base_url=[*sys.argv, "http://127.0.0.1:8063"][1], timeout=60) as client:
    questions, notes, cursor = list[Any](), list[str](), ""
    while cursor is not None:
        page = client.get("/-/questions", params={"cursor": cursor} if cursor else {}).json()
        if "message" in page:
            raise SystemExit(page["message"])
        questions, notes, cursor = questions + page["questions"], notes + page["notes"], page["next"]
    print(f"{len(questions)} pending", *notes, sep="\n")
    for question in questions:
        answer(client, question)
