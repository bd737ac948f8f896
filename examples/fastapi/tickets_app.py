"""A FastAPI app with its own API for answers, which a profile, tickets.toml, describes to the shim around the app.

    pip install ap_resume_shim fastapi uvicorn
    uvicorn tickets_app:app --port 8063

Open a ticket, and answer its question twice. The second answer is refused:

    curl --json '{"question": "Refund order 17?"}' http://127.0.0.1:8063/tickets
    curl -X PATCH --json '{"thread_id": "1", "input": "yes"}' http://127.0.0.1:8063/runs/resume/wait
    curl -X PATCH --json '{"thread_id": "1", "input": "yes"}' http://127.0.0.1:8063/runs/resume/wait
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException

from ap_resume_shim import ResumeShim

api = FastAPI()
tickets: dict[str, dict[str, Any]] = {}


@api.post("/tickets")
def open_ticket(question: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
    number = str(len(tickets) + 1)
    tickets[number] = {"number": number, "state": "asking", "question": question, "answers": []}
    return tickets[number]


@api.get("/tickets/{number}")
def read_ticket(number: str) -> dict[str, Any]:
    if number not in tickets:
        raise HTTPException(404, "There is no such ticket.")
    return tickets[number]


@api.post("/tickets/{number}/answers")
def answer_ticket(number: str, answer: Annotated[Any, Body(embed=True)]) -> dict[str, Any]:
    ticket = read_ticket(number)
    ticket.update(state="done", question=None)
    ticket["answers"].append(answer)  # like many servers, this one accepts every answer, even of a second click
    return ticket


app = ResumeShim(api, profile=Path(__file__).with_name("tickets.toml"))
