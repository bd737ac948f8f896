import agent
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def thread(request):
    return JSONResponse(agent.thread())


async def runs(request):
    return JSONResponse(agent.runs())


async def wait(request):
    return JSONResponse(agent.wait(await request.json()))


app = Starlette(
    routes=[
        Route("/threads/t", thread),
        Route("/runs/search", runs, methods=["POST"]),
        Route("/runs/wait", wait, methods=["POST"]),
    ]
)
