import agent
from sanic import Sanic
from sanic.response import json

app = Sanic("agents")


@app.get("/threads/t")
async def thread(request):
    return json(agent.thread())


@app.post("/runs/search")
async def runs(request):
    return json(agent.runs())


@app.post("/runs/wait")
async def wait(request):
    return json(agent.wait(request.json))
