"""An A2A agent on the last SDK of version 0.3: JSON-RPC at the root."""

from __future__ import annotations

from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2AStarletteApplication
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentSkill, DataPart, Message, Part, TextPart
from a2a.utils import new_task

from tests.servers.apps.families.a2a import Question, Theatre

THEATRE = Theatre()


class Stage:
    """A task of this SDK."""

    def __init__(self, updater: TaskUpdater) -> None:
        self._updater = updater

    async def work(self) -> None:
        await self._updater.start_work()

    async def ask(self, question: Question) -> None:
        message = self._updater.new_agent_message([Part(root=TextPart(text=question.text))])
        await (self._updater.requires_auth if question.login else self._updater.requires_input)(message, final=True)

    async def fail(self, error: Exception) -> None:
        """This SDK leaves the task of an executor that raises `working` for ever, so that agents say it themselves."""
        await self._updater.failed(self._updater.new_agent_message([Part(root=TextPart(text=str(error)))]))

    async def end(self, result: Any) -> None:
        part = TextPart(text=result) if isinstance(result, str) else DataPart(data={"result": result})
        await self._updater.add_artifact([Part(root=part)], name="result")
        await self._updater.complete()


class Agent(AgentExecutor):
    """Hands messages to the theatre, with their values as Python has them."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message
        task = context.current_task
        if task is None:
            task = new_task(message)
            await event_queue.enqueue_event(task)
        await THEATRE.message(task.id, values(message), Stage(TaskUpdater(event_queue, task.id, task.context_id)))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def values(message: Message) -> list[Any]:
    parts = [part.root for part in message.parts]
    return [part.data if isinstance(part, DataPart) else part.text for part in parts if part.kind != "file"]


def app(address: str) -> Any:
    """The agent, at the root."""
    card = AgentCard(
        name="Theatre",
        description="Plays the scenarios of the tests.",
        version="1",
        url=f"{address}/",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[AgentSkill(id="play", name="play", description="Plays.", tags=["test"])],
    )
    return A2AStarletteApplication(card, DefaultRequestHandler(Agent(), InMemoryTaskStore())).build()
