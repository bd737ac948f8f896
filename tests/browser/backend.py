"""A backend as browsers know them: the legacy server behind a log-in, with a CORS policy from before the routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ap_resume_shim.demo import create_app
from ap_resume_shim.demo.legacy_server.agents import Context
from tests.servers.apps.py.tap import Tap

COOKIE = "session=ours"


class Backend:
    """The app, and what reached it.

    What comes late waits until the page says `POST /go`: so nobody has to guess what a page has read by now.
    """

    def __init__(self, origin: str) -> None:
        """`origin`: whose pages it knows. It does not know of PATCH."""
        self.closes: list[tuple[int, str]] = []
        """How clients closed their WebSockets."""
        self._told_to = asyncio.Event()
        cors = Middleware(
            CORSMiddleware,
            allow_origins=[origin],
            allow_methods=["GET", "POST"],
            allow_headers=["content-type"],
            allow_credentials=True,
        )
        routes = [
            Route("/login", self._log_in, methods=["POST"]),
            Route("/go", self._go, methods=["POST"]),
            Route("/feed", self._feed),
            WebSocketRoute("/echo", self._echo),
            Mount("/", app=LogIn(create_app())),
        ]
        self.app = Tap(Starlette(routes=routes, middleware=[cors]))

    def asked_for(self, path: str) -> list[str]:
        """The methods of the requests for a path."""
        return [entry["method"] for entry in self.app.seen if entry["path"] == path]

    async def agent(self, context: Context) -> None:
        """Asks, does one step, and another when it is told to."""
        context.update("one", answer=await context.interrupt({"question": "go?"}))
        await self._told()
        context.update("other", done=True)

    async def _told(self) -> None:
        await self._told_to.wait()
        self._told_to.clear()

    async def _go(self, _: Request) -> Response:
        self._told_to.set()
        return Response(status_code=204)

    async def _log_in(self, _: Request) -> Response:
        return Response(status_code=204, headers={"set-cookie": f"{COOKIE}; HttpOnly"})

    async def _feed(self, request: Request) -> Response:
        """Two events, the second when it is told to; who comes back is told where it was."""

        async def events(last: str | None) -> AsyncIterator[str]:
            if last is None:
                yield "retry: 1\nid: 1\ndata: first\n\n"
                await self._told()
                yield "id: 2\ndata: second\n\n"
            else:
                yield f"data: again after {last}\n\n"

        return StreamingResponse(events(request.headers.get("last-event-id")), media_type="text/event-stream")

    async def _echo(self, socket: WebSocket) -> None:
        """Says what it hears, in the last protocol that it is offered; closes when it is told to."""
        await socket.accept(subprotocol=socket.scope["subprotocols"][-1])
        while (message := await socket.receive())["type"] == "websocket.receive":
            if message.get("text") == "close":
                await socket.close(4002, "as you wish")
                return
            await socket.send({**message, "type": "websocket.send"})
        self.closes.append((message["code"], message["reason"]))


class LogIn:
    """Who has no cookie is nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and (b"cookie", COOKIE.encode()) not in scope["headers"]:
            app = PlainTextResponse("Log in.", 401, {"www-authenticate": "Cookie"})
        await app(scope, receive, send)
