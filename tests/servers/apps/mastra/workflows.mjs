// One workflow for each scenario; its input is { ref, secs }.
import { createStep, createWorkflow } from '@mastra/core/workflows';
import { z } from 'zod';
import { note, sleep } from './witness.mjs';

const any = z.any();
const approval = z.object({ approved: z.boolean() });

// A step that asks once and hands the answer to `after`. Answered is what has `resumeData`, be it null, false or "".
const asking = (id, { answers = approval, after = async (answer) => answer } = {}) => createStep({
  id, inputSchema: any, outputSchema: any, suspendSchema: any, resumeSchema: answers,
  execute: async ({ getInitData, resumeData, suspend }) => {
    const { ref, secs } = getInitData();
    if (resumeData === undefined) {
      note(ref, 'asked', id);
      return await suspend({ question: `${id}?` });
    }
    note(ref, 'got', resumeData);
    return { answer: await after(resumeData, { ref, secs }) };
  },
});

const ending = createStep({
  id: 'end', inputSchema: any, outputSchema: any,
  execute: async ({ getInitData, inputData }) => {
    note(getInitData().ref, 'ended', inputData ?? null);
    return inputData;
  },
});

const working = createStep({
  id: 'work', inputSchema: any, outputSchema: any,
  execute: async ({ inputData }) => {
    await sleep(inputData.secs);
    return { slept: inputData.secs };
  },
});

const slowly = async (answer, { secs }) => {
  await sleep(secs);
  return answer;
};

const failing = async (answer, { ref }) => {
  note(ref, 'failed', 'boom');
  throw new Error('boom');
};

const workflow = (id) => createWorkflow({ id, inputSchema: any, outputSchema: any });
const inner = workflow('inner').then(asking('ask', { answers: any })).commit();
const items = createStep({ id: 'items', inputSchema: any, outputSchema: any, execute: async () => ['a', 'b'] });

export const workflows = {
  'ask': workflow('ask').then(asking('ask')).then(ending).commit(),
  'ask-any': workflow('ask-any').then(asking('ask', { answers: any })).then(ending).commit(),
  // A step of a workflow within the workflow: its name is a path.
  'ask-nested': workflow('ask-nested').then(inner).then(ending).commit(),
  'two': workflow('two').then(asking('first', { after: slowly })).then(asking('second')).then(ending).commit(),
  'par': workflow('par').parallel([asking('a'), asking('b')]).then(ending).commit(),
  // One step for several items at once: its questions differ by their index alone.
  'par-items': workflow('par-items').then(items).foreach(asking('item'), { concurrency: 2 }).then(ending).commit(),
  // One step again and again: its questions differ by their time alone.
  'two-again': workflow('two-again').dowhile(asking('ask'), async ({ iterationCount }) => iterationCount < 2)
    .then(ending).commit(),
  'slow': workflow('slow').then(working).then(ending).commit(),
  'slowask': workflow('slowask').then(asking('ask', { after: slowly })).then(ending).commit(),
  'boom': workflow('boom').then(asking('ask', { after: failing })).then(ending).commit(),
};
