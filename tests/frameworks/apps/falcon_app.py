import agent
from falcon.asgi import App


class Thread:
    async def on_get(self, request, response):
        response.media = agent.thread()


class Runs:
    async def on_post(self, request, response):
        response.media = agent.runs()


class Wait:
    async def on_post(self, request, response):
        response.media = agent.wait(await request.get_media())


app = App()
app.add_route("/threads/t", Thread())
app.add_route("/runs/search", Runs())
app.add_route("/runs/wait", Wait())
