"""LangGraph's own SDK, unmodified: the same results through the sidecar as from the server itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Literal, cast
from uuid import uuid4

import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.schema import StreamMode, StreamPart

from tests.servers.run import running
from tests.support.sidecar import sidecar

Call = Callable[[LangGraphClient], Awaitable[Any]]

CALLS: list[Call] = []
"""What succeeds. Each makes what it needs, so that it can run against two addresses at the same time."""
REFUSALS: list[Call] = []
"""What the server refuses."""

SERVERS_OWN = {"created_by": "system"}
"""The metadata of assistants that no test made."""

_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)?|\b1\d{12}(-\d+)?\b")
_IDS = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
_URLS = re.compile(r"http://127\.0\.0\.1:\d+")


def normalised(value: Any) -> Any:
    """The value without what differs from call to call: ids are numbered, times are 0, addresses are gone.

    Whether a run that was just created has begun depends on the moment.
    """
    numbers: dict[str, str] = {}
    text = _URLS.sub("<url>", _TIMES.sub("0", json.dumps(value, default=str)))
    text = text.replace('"status": "running"', '"status": "pending"')
    return json.loads(_IDS.sub(lambda found: numbers.setdefault(found[0], f"<id {len(numbers) + 1}>"), text))


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """The server's own address, and the address of a sidecar in front of it."""
    with running("langgraph") as server, sidecar("--upstream", server, "--port", "0") as shim:
        yield server, shim.url


def at_both(urls: tuple[str, str], call: Call) -> list[Any]:
    """What a call gives at the one and at the other address; an exception counts as a result."""

    async def at(url: str) -> Any:
        async with get_client(url=url, api_key=None) as client:
            return await call(client)

    async def gather() -> list[Any]:
        return await asyncio.gather(*map(at, urls), return_exceptions=True)

    return asyncio.run(gather())


def named(calls: Iterable[Call]) -> pytest.MarkDecorator:
    """Parametrise over calls."""
    return pytest.mark.parametrize("call", [pytest.param(call, id=call.__name__) for call in calls])


# --- the calls ------------------------------------------------------------------------------------------------


async def new_thread(client: LangGraphClient, **options: Any) -> str:
    return (await client.threads.create(**options))["thread_id"]


async def asked(client: LangGraphClient, agent: str = "ask", **state: Any) -> str:
    """A thread that waits for an answer."""
    thread = await new_thread(client)
    await client.runs.wait(thread, agent, input={"topic": "lunch", **state})
    await settled(client, thread)
    return thread


async def settled(client: LangGraphClient, thread: str) -> None:
    """The server tells the end of a run before it records it."""
    while (await client.threads.get(thread))["status"] == "busy":
        await asyncio.sleep(0.05)


async def streamed(
    client: LangGraphClient, agent: str, *modes: StreamMode, **options: Any
) -> list[StreamPart | tuple[str, Any]]:
    """The events of a resume."""
    thread = await asked(client, agent)
    command = {"resume": "yes"}
    parts = client.runs.stream(thread, agent, command=command, stream_mode=modes, **options)  # type: ignore[call-overload]
    return [part async for part in parts]


async def assistant(client: LangGraphClient, graph: str) -> str:
    return (await client.assistants.search(graph_id=graph, metadata=SERVERS_OWN))[0]["assistant_id"]


def succeeds(call: Call) -> Call:
    CALLS.append(call)
    return call


def is_refused(call: Call) -> Call:
    REFUSALS.append(call)
    return call


@succeeds
async def assistants_are_found(client: LangGraphClient) -> Any:
    found = await client.assistants.search(graph_id="ask", metadata=SERVERS_OWN, limit=1)
    return found, await client.assistants.get(found[0]["assistant_id"])


@succeeds
async def an_assistant_is_created_updated_and_deleted(client: LangGraphClient) -> Any:
    made = await client.assistants.create("ask", metadata={"of": str(uuid4())}, name="mine")
    changed = await client.assistants.update(made["assistant_id"], name="yours")
    versions = await client.assistants.get_versions(made["assistant_id"])
    await client.assistants.delete(made["assistant_id"])
    return made, changed, versions


@succeeds
async def an_assistant_goes_back_to_its_first_version(client: LangGraphClient) -> Any:
    made = await client.assistants.create("ask", metadata=(mark := {"of": str(uuid4())}), name="mine")
    await client.assistants.update(made["assistant_id"], name="yours")
    return await client.assistants.set_latest(made["assistant_id"], 1), await client.assistants.count(metadata=mark)


@succeeds
async def a_graph_and_its_schemas_are_read(client: LangGraphClient) -> Any:
    found = await assistant(client, "sub")
    return [
        await client.assistants.get_graph(found, xray=True),
        await client.assistants.get_schemas(found),
        await client.assistants.get_subgraphs(found),
    ]


@succeeds
async def a_thread_is_created_read_and_updated(client: LangGraphClient) -> Any:
    made = await client.threads.create(metadata={"a": 1})
    changed = await client.threads.update(made["thread_id"], metadata={"b": [None, "ü"]})
    return made, changed, await client.threads.get(made["thread_id"])


@succeeds
async def threads_are_searched_and_counted(client: LangGraphClient) -> Any:
    mark = {"of": str(uuid4())}
    for number in range(3):
        await client.threads.create(metadata={**mark, "number": number})
    search = client.threads.search
    return [
        await search(metadata=mark, sort_by="created_at", sort_order="asc"),
        await search(metadata=mark, sort_by="created_at", limit=1, offset=1),
        await search(metadata=mark, status="interrupted"),
        await client.threads.count(metadata=mark),
    ]


@succeeds
async def an_interrupted_thread_is_read(client: LangGraphClient) -> Any:
    thread = await asked(client, "par")
    return await client.threads.get(thread), await client.threads.get_state(thread, subgraphs=True)


@succeeds
async def a_thread_is_copied_and_deleted(client: LangGraphClient) -> Any:
    thread = await asked(client)
    copy: Any = await client.threads.copy(thread)  # type: ignore[func-returns-value]
    values = (await client.threads.get_state(copy["thread_id"]))["values"]
    await client.threads.delete(thread)
    return copy, values, await client.threads.search(ids=[thread])


@succeeds
async def threads_are_pruned(client: LangGraphClient) -> Any:
    threads = [await new_thread(client) for _ in range(2)]
    return await client.threads.prune(threads), await client.threads.search(ids=threads)


@succeeds
async def the_history_is_read(client: LangGraphClient) -> Any:
    thread = await asked(client, "two")
    await client.runs.wait(thread, "two", command={"resume": "first"})
    await settled(client, thread)
    return await client.threads.get_history(thread, limit=10), await client.threads.get_history(thread, limit=1)


@succeeds
async def a_state_is_updated(client: LangGraphClient) -> Any:
    thread = await asked(client)
    changed = await client.threads.update_state(thread, {"topic": "dinner"}, as_node="__start__")
    return changed, await client.threads.get_state(thread)


@succeeds
async def a_run_is_created_joined_read_and_listed(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"secs": 0.3}, metadata={"a": None}, durability="sync")
    joined = await client.runs.join(thread, run["run_id"])
    await settled(client, thread)
    return run, joined, await client.runs.get(thread, run["run_id"]), await client.runs.list(thread)


@succeeds
async def a_run_without_a_thread_is_waited_for(client: LangGraphClient) -> Any:
    return await client.runs.wait(None, "slow", input={"secs": 0})


@succeeds
async def runs_are_created_in_a_batch(client: LangGraphClient) -> Any:
    agent = await assistant(client, "slow")
    payloads: Any = [{"assistant_id": agent, "input": {"secs": 0, "tag": tag}} for tag in "ab"]
    return await client.runs.create_batch(payloads)


@succeeds
async def a_wait_ends_at_the_question(client: LangGraphClient) -> Any:
    return await client.runs.wait(await new_thread(client), "ask", input={"topic": "Grüße 🎈"})


@succeeds
async def a_wait_resumes_the_legacy_way(client: LangGraphClient) -> Any:
    thread = await asked(client, "two")
    first = await client.runs.wait(thread, "two", command={"resume": {"a": [None, 0.5]}})
    return first, await client.runs.wait(thread, "two", command={"resume": False})


@succeeds
async def a_run_in_the_background_resumes_the_legacy_way(client: LangGraphClient) -> Any:
    thread = await asked(client)
    run = await client.runs.create(thread, "ask", command={"resume": "yes"}, multitask_strategy="reject")
    return run, await client.runs.join(thread, run["run_id"])


@succeeds
async def a_stream_of_values_resumes_the_legacy_way(client: LangGraphClient) -> Any:
    return await streamed(client, "ask", "values")


@succeeds
async def a_stream_has_updates(client: LangGraphClient) -> Any:
    return await streamed(client, "sub", "updates", stream_subgraphs=True)


@succeeds
async def a_stream_has_messages(client: LangGraphClient) -> Any:
    return await streamed(client, "msgs", "messages")


@succeeds
async def a_stream_has_message_tuples(client: LangGraphClient) -> Any:
    return await streamed(client, "msgs", "messages-tuple")


@succeeds
async def a_stream_has_what_the_agent_wrote(client: LangGraphClient) -> Any:
    return await streamed(client, "steps", "custom")


@succeeds
async def a_stream_has_several_modes(client: LangGraphClient) -> Any:
    return await streamed(client, "two", "values", "updates", "messages", "custom", "tasks", "checkpoints")


@succeeds
async def a_stream_has_the_second_version_of_the_format(client: LangGraphClient) -> Any:
    return await streamed(client, "ask", "values", "updates", version="v2")


@succeeds
async def a_stream_is_joined_from_its_beginning(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    run = await client.runs.create(
        thread, "slow", input={"secs": 0.3}, stream_mode=["values", "updates"], stream_resumable=True
    )
    parts = client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    return run, [part async for part in parts]


@succeeds
async def a_run_is_cancelled(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"secs": 30})
    while (await client.runs.get(thread, run["run_id"]))["status"] == "pending":
        await asyncio.sleep(0.05)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    return (await client.runs.get(thread, run["run_id"]))["status"], (await client.threads.get_state(thread))["next"]


@succeeds
async def several_runs_are_cancelled(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    runs = [await client.runs.create(thread, "slow", input={"secs": 30}) for _ in range(2)]
    await client.runs.cancel_many(thread_id=thread, run_ids=[run["run_id"] for run in runs])
    await settled(client, thread)
    return [run["status"] for run in await client.runs.list(thread)]


@succeeds
async def a_run_is_deleted(client: LangGraphClient) -> Any:
    thread = await asked(client)
    (run,) = await client.runs.list(thread)
    await client.runs.delete(thread, run["run_id"])
    return await client.runs.list(thread)


@succeeds
async def a_client_that_leaves_its_stream_cancels_the_run(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"secs": 30}, on_disconnect="cancel")
    begun = [await anext(stream), await anext(stream)]
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(settled(client, thread), 15)
    return begun, [run["status"] for run in await client.runs.list(thread)]


@succeeds
async def the_stream_of_a_thread_is_joined(client: LangGraphClient) -> Any:
    thread = await new_thread(client)

    async def first_end() -> StreamPart:
        parts = await client.threads.join_stream(thread)
        return await anext(part async for part in parts if part.data.get("status") == "run_done")

    listening = asyncio.create_task(first_end())
    while not listening.done():  # only what begins after it has joined is heard
        await client.runs.wait(thread, "slow", input={"secs": 0})
    return await listening


@succeeds
async def a_thread_answers_over_events(client: LangGraphClient) -> Any:
    return await session(client, "sse")


@succeeds
async def a_thread_answers_over_a_websocket(client: LangGraphClient) -> Any:
    return await session(client, "websocket")


async def session(client: LangGraphClient, transport: Literal["sse", "websocket"]) -> Any:
    """A question and its answer in the SDK's newest protocol: commands, and one connection for all events."""
    async with client.threads.stream(assistant_id="ask", transport=transport) as thread:
        await thread.run.start(input={"topic": "lunch"})
        questions = []
        async for event in thread.events:
            match cast(dict[str, Any], event):
                case {"method": "input.requested", "params": {"data": question}}:
                    questions.append(question)
                    while not thread.interrupted:
                        await asyncio.sleep(0.05)
                    await settled(client, thread.thread_id)
                    await thread.run.respond("Grüße 🎈")
                case {"method": "lifecycle", "params": {"data": {"event": "completed"}}}:
                    break
        return questions, await thread.output


@succeeds
async def a_schedule_is_made_changed_found_and_deleted(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    made: Any = await client.crons.create_for_thread(thread, "slow", schedule="0 0 1 1 *", input={"secs": 0})
    changed = await client.crons.update(made["cron_id"], schedule="0 0 2 1 *", enabled=False)
    found = await client.crons.search(thread_id=thread), await client.crons.count(thread_id=thread)
    await client.crons.delete(made["cron_id"])
    return made, changed, found, await client.crons.search(thread_id=thread)


@succeeds
async def items_are_stored_found_and_deleted(client: LangGraphClient) -> Any:
    space, store = [str(uuid4()), "menu"], client.store
    await store.put_item(space, "lunch", {"dish": "soup", "price": 4.5})
    await store.put_item(space, "dinner", {"dish": "stew", "price": 9})
    found = [
        await store.get_item(space, "lunch"),
        await store.search_items(space[:1], filter={"dish": "stew"}),
        await store.list_namespaces(prefix=space[:1]),
    ]
    await store.delete_item(space, "lunch")
    return found, await store.get_item(space, "lunch"), await store.search_items(space)


@is_refused
async def a_thread_that_does_not_exist(client: LangGraphClient) -> Any:
    await client.threads.get(str(uuid4()))


@is_refused
async def an_id_that_is_none(client: LangGraphClient) -> Any:
    await client.threads.get_state("lunch")


@is_refused
async def a_thread_that_exists_already(client: LangGraphClient) -> Any:
    await client.threads.create(thread_id=await new_thread(client))


@is_refused
async def an_assistant_that_does_not_exist(client: LangGraphClient) -> Any:
    await client.assistants.update(str(uuid4()), name="nobody")


@is_refused
async def a_run_of_an_unknown_agent(client: LangGraphClient) -> Any:
    await client.runs.create(await new_thread(client), "nobody")


@is_refused
async def a_wait_for_an_unknown_agent(client: LangGraphClient) -> Any:
    await client.runs.wait(await new_thread(client), "nobody")


@is_refused
async def a_stream_of_a_thread_that_does_not_exist(client: LangGraphClient) -> Any:
    return [part async for part in client.runs.stream(str(uuid4()), "ask", input={})]


@is_refused
async def a_run_with_an_unknown_strategy(client: LangGraphClient) -> Any:
    strategy: Any = "hope"
    await client.runs.create(await new_thread(client), "ask", multitask_strategy=strategy)


@is_refused
async def a_second_run_of_a_busy_thread(client: LangGraphClient) -> Any:
    thread = await new_thread(client)
    await client.runs.create(thread, "slow", input={"secs": 1})
    await client.runs.create(thread, "slow", input={"secs": 0}, multitask_strategy="reject")


@is_refused
async def an_agent_that_fails(client: LangGraphClient) -> Any:
    await client.runs.wait(await asked(client, "errask"), "errask", command={"resume": "yes"})


# --- the tests ------------------------------------------------------------------------------------------------


@named(CALLS)
def test_the_sidecar_gives_what_the_server_gives(urls: tuple[str, str], call: Call) -> None:
    direct, through = at_both(urls, call)
    for result in (direct, through):
        if isinstance(result, BaseException):
            raise result
    assert normalised(through) == normalised(direct)


@named(REFUSALS)
def test_the_sidecar_raises_what_the_server_raises(urls: tuple[str, str], call: Call) -> None:
    direct, through = at_both(urls, call)
    assert isinstance(direct, Exception)
    assert (type(through), normalised(str(through))) == (type(direct), normalised(str(direct)))


def test_the_synchronous_client_sees_no_difference_either(urls: tuple[str, str]) -> None:
    def session(client: SyncLangGraphClient) -> Any:
        thread = client.threads.create()["thread_id"]
        stopped = client.runs.wait(thread, "two", input={"topic": "lunch"})
        parts = list(client.runs.stream(thread, "two", command={"resume": 1}, stream_mode=["values", "updates"]))
        ended = client.runs.wait(thread, "two", command={"resume": 2})
        client.threads.delete(thread)
        return stopped, parts, ended, client.threads.search(ids=[thread])

    results = []
    for url in urls:
        with get_sync_client(url=url, api_key=None) as client:
            results.append(normalised(session(client)))
    assert results[0] == results[1]
