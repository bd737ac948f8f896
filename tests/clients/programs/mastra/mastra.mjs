// @mastra/client-js: a workflow or an agent that asks, and clicks on its answer.
import { randomUUID } from 'node:crypto';
import { MastraClient } from '@mastra/client-js';
import { clicks, readAll, serve } from './serve.mjs';

const workflow = async ({ url, scenario, ref, secs = 0, method, value, count, pause }) => {
  const run = await new MastraClient({ baseUrl: url }).getWorkflow(scenario).createRun();
  await run.startAsync({ inputData: { ref, secs } });
  const outcomes = await clicks(count, pause, async () => {
    const answered = await run[method]({ resumeData: value });
    if (method === 'resumeStream') await readAll(answered);
  });
  return { outcomes };
};

const agent = async ({ url, scenario, ref, secs = 0, method, count, pause }) => {
  const helper = new MastraClient({ baseUrl: url }).getAgent('helper');
  const memory = { thread: randomUUID(), resource: 'tests' };
  const { runId, suspendPayload } = await helper.generate(JSON.stringify({ scenario, ref, secs }), { memory });
  const call = { runId, toolCallId: suspendPayload.toolCallId };
  const ways = {
    approveToolCall: async () => readAll((await helper.approveToolCall(call)).body),
    approveToolCallGenerate: () => helper.approveToolCallGenerate(call),
    resumeStream: async () => readAll((await helper.resumeStream({ approved: true }, { ...call, memory })).body),
  };
  return { outcomes: await clicks(count, pause, ways[method]) };
};

await serve({ workflow, agent });
