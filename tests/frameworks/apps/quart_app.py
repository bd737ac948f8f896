import agent
from quart import Quart, request

app = Quart(__name__)


@app.get("/threads/t")
async def thread():
    return agent.thread()


@app.post("/runs/search")
async def runs():
    return agent.runs()


@app.post("/runs/wait")
async def wait():
    return agent.wait(await request.get_json())
