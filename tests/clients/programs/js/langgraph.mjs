// @langchain/langgraph-sdk: a graph that asks, and clicks on its answer.
import { Client } from '@langchain/langgraph-sdk';
import { clicks, serve, sleep } from './serve.mjs';

const asked = async (client, thread) => {
  for (;;) {
    const { tasks } = await client.threads.getState(thread);
    const [interrupt] = tasks.flatMap(({ interrupts }) => interrupts);
    if (interrupt) return interrupt;
    await sleep(20);
  }
};

const readAll = async (events) => {
  for await (const _ of events) ; // a stream's run ends with it
};

// v1: `runs.create`, `runs.wait` or `runs.stream` with a command.
const runs = async ({ url, graph, method, count, pause }) => {
  const client = new Client({ apiUrl: url, apiKey: null });
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, graph, { input: { topic: 'lunch' } });
  await asked(client, thread_id);
  const outcomes = await clicks(count, pause, async () => {
    const answered = client.runs[method](thread_id, graph, { command: { resume: 'yes' } });
    return method === 'stream' ? readAll(answered) : (await answered, method);
  });
  return { thread: thread_id, outcomes };
};

// v2: `respond` of a thread's stream, or another `start`.
const commands = async ({ url, graph, method, count, pause }) => {
  const client = new Client({ apiUrl: url, apiKey: null });
  const { thread_id } = await client.threads.create();
  const thread = client.threads.stream(thread_id, { assistantId: graph });
  await thread.run.start({ input: { topic: 'lunch' } });
  const { id } = await asked(client, thread_id);
  const outcomes = await clicks(count, pause, async () => {
    await (method === 'respond'
      ? thread.input.respond({ interrupt_id: id, namespace: [], response: 'yes' })
      : thread.run.start({ input: 'yes' }));
    return method;
  });
  await thread.close();
  return { thread: thread_id, outcomes };
};

await serve({ runs, commands });
