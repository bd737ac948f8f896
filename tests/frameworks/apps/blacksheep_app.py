import agent
from blacksheep import Application, Request, json

app = Application()


@app.router.get("/threads/t")
async def thread():
    return json(agent.thread())


@app.router.post("/runs/search")
async def runs():
    return json(agent.runs())


@app.router.post("/runs/wait")
async def wait(request: Request):
    return json(agent.wait(await request.json()))
