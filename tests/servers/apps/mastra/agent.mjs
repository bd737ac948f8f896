// An agent whose model is a script: the user's message is { scenario, ref, secs } as JSON text.
import { createTool } from '@mastra/core/tools';
import { z } from 'zod';
import { note, sleep } from './witness.mjs';

const call = z.object({ ref: z.string(), question: z.string(), secs: z.number() });
const usage = { inputTokens: 1, outputTokens: 1, totalTokens: 2 };

const approved = createTool({
  id: 'approved', description: 'Asks whether it may run.', inputSchema: call, outputSchema: z.any(), requireApproval: true,
  execute: async ({ ref, question, secs }) => {
    note(ref, 'got', true);
    await sleep(secs);
    return { question, answer: true };
  },
});

const suspending = (id, resumeSchema) => createTool({
  id, description: 'Asks for a value.', inputSchema: call, outputSchema: z.any(), suspendSchema: z.any(), resumeSchema,
  execute: async ({ ref, question, secs }, { agent }) => {
    if (agent.resumeData === undefined) {
      note(ref, 'asked', question);
      return await agent.suspend({ question });
    }
    note(ref, 'got', agent.resumeData);
    await sleep(secs);
    return { question, answer: agent.resumeData };
  },
});

export const tools = {
  approved,
  anything: suspending('anything', z.any()),
  named: suspending('named', z.object({ name: z.string() })),
};

// For each scenario the tools that the model calls, turn by turn.
const turns = {
  'ask': [[['approved', 'ask']]],
  'ask-any': [[['anything', 'ask']]],
  'ask-name': [[['named', 'ask']]],
  'two': [[['approved', 'first']], [['approved', 'second']]],
  'slow': [],
  'slowask': [[['approved', 'ask']]],
  'boom': [[['approved', 'ask']]],
};

let calls = 0;
const DECLINED = 'Tool call was not approved by the user'; // in the place of a reason

async function think(prompt) {
  const start = prompt.findLastIndex(({ role }) => role === 'user');
  const { scenario, ref, secs } = JSON.parse(prompt[start].content.map(({ text }) => text).join(''));
  const answers = prompt.slice(start).filter(({ role }) => role === 'tool').map(({ content }) => content);
  for (const { output, toolName } of answers.at(-1) ?? []) {
    // A tool that was not approved is not run, and text instead of its result tells why: here the agent hears of it.
    if (toolName !== 'approved' || output.type !== 'text') continue;
    note(ref, 'got', output.value === DECLINED ? false : { approved: false, reason: output.value });
  }
  const turn = turns[scenario][answers.length];
  if (turn) {
    return turn.map(([toolName, question]) => {
      if (toolName === 'approved') note(ref, 'asked', question);
      const input = { ref, question, secs: scenario === 'slowask' ? secs : 0 };
      return { type: 'tool-call', toolCallId: `call_${++calls}`, toolName, input: JSON.stringify(input) };
    });
  }
  if (scenario === 'boom') {
    note(ref, 'failed', 'boom');
    throw new Error('boom');
  }
  if (scenario === 'slow') await sleep(secs);
  const heard = answers.flat().map(({ output }) => output);
  note(ref, 'ended', heard);
  return [{ type: 'text', text: JSON.stringify(heard) }];
}

const why = (content) => content.some(({ type }) => type === 'tool-call') ? 'tool-calls' : 'stop';

function* chunks(content) {
  yield { type: 'stream-start', warnings: [] };
  for (const part of content) {
    if (part.type === 'tool-call') {
      yield part;
      continue;
    }
    yield { type: 'text-start', id: 'text' };
    yield { type: 'text-delta', id: 'text', delta: part.text };
    yield { type: 'text-end', id: 'text' };
  }
  yield { type: 'finish', finishReason: why(content), usage };
}

export const model = {
  specificationVersion: 'v2', provider: 'script', modelId: 'script', supportedUrls: {},
  async doGenerate({ prompt }) {
    const content = await think(prompt);
    return { content, finishReason: why(content), usage, warnings: [] };
  },
  async doStream({ prompt }) {
    const content = await think(prompt);
    return { stream: ReadableStream.from(chunks(content)) };
  },
};
