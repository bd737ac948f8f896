// @mastra/client-js: a workflow or an agent that asks, and clicks on its answer.
import { randomUUID } from 'node:crypto';
import { MastraClient } from '@mastra/client-js';
import { clicks, serve } from './serve.mjs';

const readAll = async (stream) => {
  for await (const _ of stream) ; // a stream's run ends with it
};

const workflow = async ({ url, scenario, ref, method, value, count, pause }) => {
  const client = new MastraClient({ baseUrl: url });
  const run = await client.getWorkflow(scenario).createRun();
  await run.startAsync({ inputData: { ref, secs: 0 } });
  const outcomes = await clicks(count, pause, async () => {
    const answered = await run[method]({ resumeData: value });
    return method === 'resumeStream' ? readAll(answered) : answered.status ?? answered.message ?? null;
  });
  return { thread: run.runId, outcomes };
};

const agent = async ({ url, scenario, ref, method, count, pause }) => {
  const agent = new MastraClient({ baseUrl: url }).getAgent('helper');
  const memory = { thread: randomUUID(), resource: 'tests' };
  const { runId, suspendPayload } = await agent.generate(JSON.stringify({ scenario, ref, secs: 0 }), { memory });
  const call = { runId, toolCallId: suspendPayload.toolCallId };
  const ways = {
    approveToolCall: async () => readAll((await agent.approveToolCall(call)).body),
    approveToolCallGenerate: async () => (await agent.approveToolCallGenerate(call)).finishReason,
    resumeStream: async () => readAll((await agent.resumeStream({ approved: true }, { ...call, memory })).body),
  };
  return { thread: memory.thread, outcomes: await clicks(count, pause, ways[method]) };
};

await serve({ workflow, agent });
