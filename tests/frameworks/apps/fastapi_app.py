import agent
from fastapi import FastAPI

app = FastAPI()


@app.get("/threads/t")
def thread() -> dict:
    return agent.thread()


@app.post("/runs/search")
def runs() -> list:
    return agent.runs()


@app.post("/runs/wait")
def wait(body: dict) -> dict:
    return agent.wait(body)
