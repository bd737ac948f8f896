// @ag-ui/client: a run that asks, and clicks on its answer.
import { randomUUID } from 'node:crypto';
import { HttpAgent } from '@ag-ui/client';
import { clicks, serve } from './serve.mjs';

// `entries`: answers by the id of the interrupt; without them, LangGraph's older `command.resume`.
const answer = async ({ url, scenario, ref, value, entries, count, pause }) => {
  const content = JSON.stringify({ scenario, ref });
  const agent = new HttpAgent({ url, threadId: randomUUID(), initialMessages: [{ id: randomUUID(), role: 'user', content }] });
  await agent.runAgent();
  const resume = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: 'resolved', payload: value }));
  const given = entries ? { resume } : { forwardedProps: { command: { resume: value } } };
  const outcomes = await clicks(count, pause, () => agent.clone().runAgent(given)); // each click in a tab of its own
  return { thread: agent.threadId, outcomes };
};

await serve({ answer });
