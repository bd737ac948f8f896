"""A person answers the questions of agents on the terminal, for any backend.

    pip install 'ap_resume_shim[serve]' uvicorn httpx
    uvicorn --factory ap_resume_shim.demo:create_app --port 2024
    ap-resume-shim serve --upstream http://127.0.0.1:2024 --port 8063
    curl --json '{"thread_id": "a", "if_not_exists": "create"}' http://127.0.0.1:8063/runs/wait
    python approve.py http://127.0.0.1:8063

The uvicorn and ap-resume-shim commands are servers. The curl command starts an agent, which asks its question.
"""

import json
import sys
import time
import uuid
from typing import Any

import httpx


def fill(template: Any, choice: Any) -> Any:
    """Return the template with the choice in place of its placeholder."""
    if isinstance(template, list):
        return [fill(item, choice) for item in template]
    if not isinstance(template, dict):
        return template
    return choice if "$choice" in template else {name: fill(item, choice) for name, item in template.items()}


def ask(question: dict[str, Any]) -> Any:
    """Show a question, and return the answer: one of its options, JSON, or a text."""
    print(question["prompt"] or json.dumps(question["value"], indent=2))
    choices = {option["label"]: option["answer"] for option in question["options"]}
    text = input(f"{' / '.join(choices) or 'answer'}: ")
    try:
        return choices[text] if text in choices else json.loads(text)
    except ValueError:
        return text


def send(client: httpx.Client, resume: dict[str, Any], answer: Any) -> httpx.Response:
    """Send an answer, and retry after a broken connection: because of the key, the agent receives the answer once."""
    key = str(uuid.uuid4())
    body = {**resume["body"], "input": fill(resume["body"]["input"], answer)}
    for _ in range(10):
        try:
            return client.patch(f"{resume['path']}/wait", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError as error:
            print(f"again, after {error!r}")
            time.sleep(1)
    raise SystemExit("No connection to the shim.")


with httpx.Client(base_url=sys.argv[1], timeout=60) as client:
    page = client.get("/-/questions").raise_for_status().json()
    print(f"{len(page['questions'])} pending", *page["notes"], sep="\n")
    for question in page["questions"]:
        response = send(client, question["resume"], ask(question))
        result = response.json()
        print(result["values"] if response.is_success else f"refused: {result['message']}")
