"""An A2A agent on the current SDK, with three bindings: REST 1.0, JSON-RPC 1.0 and JSON-RPC 0.3.

The card at the root names all three, JSON-RPC 1.0 first; the one under `/rest` names REST alone.
"""

from __future__ import annotations

from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from tests.servers.apps.families.a2a import Question, Theatre

THEATRE = Theatre()
REST = ("HTTP+JSON", "1.0")
ALL = (("JSONRPC", "1.0"), REST, ("JSONRPC", "0.3"))


class Stage:
    """A task of this SDK."""

    def __init__(self, updater: TaskUpdater) -> None:
        self._updater = updater

    async def work(self) -> None:
        await self._updater.start_work()

    async def ask(self, question: Question) -> None:
        message = self._updater.new_agent_message([Part(text=question.text)])
        await (self._updater.requires_auth if question.login else self._updater.requires_input)(message)

    async def fail(self, error: Exception) -> None:
        """The SDK itself marks the task as failed."""
        raise error

    async def end(self, result: Any) -> None:
        part = Part(text=result) if isinstance(result, str) else Part(data=ParseDict(result, Value()))
        await self._updater.add_artifact([part], name="result", last_chunk=True)
        await self._updater.complete()


class Agent(AgentExecutor):
    """Hands messages to the theatre, with their values as Python has them."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message, task_id, context_id = context.message, context.task_id, context.context_id
        assert message and task_id and context_id
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            task = Task(id=task_id, context_id=context_id, status=status, history=[message])
            await event_queue.enqueue_event(task)
        await THEATRE.message(task_id, values(message), Stage(TaskUpdater(event_queue, task_id, context_id)))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def values(message: Message) -> list[Any]:
    return [MessageToDict(part.data) if part.HasField("data") else part.text for part in message.parts]


def routes(address: str, bindings: tuple[tuple[str, str], ...]) -> list[BaseRoute]:
    """An agent at an address, and a card that names these of its bindings."""
    card = AgentCard(
        name="Theatre",
        description="Plays the scenarios of the tests.",
        version="1",
        supported_interfaces=[
            AgentInterface(protocol_binding=binding, protocol_version=version, url=f"{address}/a2a")
            for binding, version in bindings
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[AgentSkill(id="play", name="play", description="Plays.", tags=["test"])],
    )
    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card)
    return [
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, rpc_url="/a2a", enable_v0_3_compat=True),
        *create_rest_routes(handler, path_prefix="/a2a"),
    ]


def app(address: str) -> Starlette:
    """The agent, at the root and under `/rest`."""
    alone = Mount("/rest", routes=routes(f"{address}/rest", (REST,)))
    return Starlette(routes=[alone, *routes(address, ALL)])
