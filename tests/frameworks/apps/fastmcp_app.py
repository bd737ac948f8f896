import agent
from fastmcp import FastMCP
from starlette.responses import JSONResponse

mcp = FastMCP("agents")


@mcp.custom_route("/threads/t", methods=["GET"])
async def thread(request):
    return JSONResponse(agent.thread())


@mcp.custom_route("/runs/search", methods=["POST"])
async def runs(request):
    return JSONResponse(agent.runs())


@mcp.custom_route("/runs/wait", methods=["POST"])
async def wait(request):
    return JSONResponse(agent.wait(await request.json()))
