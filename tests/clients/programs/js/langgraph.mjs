// @langchain/langgraph-sdk: a graph that asks, and clicks on its answer.
import { Client } from '@langchain/langgraph-sdk';
import { Client as Client1_11 } from 'langgraph-sdk-1.11';
import { clicks, readAll, serve, sleep } from './serve.mjs';


const question = async (client, thread) => {
  for (;;) {
    const { tasks } = await client.threads.getState(thread);
    const [interrupt] = tasks.flatMap(({ interrupts }) => interrupts);
    if (interrupt) return interrupt;
    await sleep(20);
  }
};

// v1: `runs.create`, `runs.wait` or `runs.stream` with a command. `server` is where the run starts.
const runs = async ({ url, server = url, old = false, graph, secs = 0, method, count, pause }) => {
  const direct = new Client({ apiUrl: server, apiKey: null });
  const client = new (old ? Client1_11 : Client)({ apiUrl: url, apiKey: null });
  const { thread_id: thread } = await direct.threads.create();
  await direct.runs.wait(thread, graph, { input: { topic: 'lunch', secs } });
  await question(direct, thread);
  const outcomes = await clicks(count, pause, async () => {
    const answered = client.runs[method](thread, graph, { command: { resume: 'yes' } });
    await (method === 'stream' ? readAll(answered) : answered);
  });
  return { thread, outcomes };
};

// v2: `input.respond`, or `run.start` on a thread that asks.
const commands = async ({ url, graph, method, count, pause }) => {
  const client = new Client({ apiUrl: url, apiKey: null });
  const stream = client.threads.stream({ assistantId: graph });
  await stream.run.start({ input: { topic: 'lunch', secs: 0 } });
  const { id } = await question(client, stream.threadId);
  const response = { interrupt_id: id, namespace: [], response: 'yes' };
  const ways = { respond: () => stream.input.respond(response), start: () => stream.run.start({ input: 'yes' }) };
  const outcomes = await clicks(count, pause, ways[method]);
  await stream.close();
  return { thread: stream.threadId, outcomes };
};

await serve({ runs, commands });
