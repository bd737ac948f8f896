/**
 * The graphs of `../py/graph.py`, under the same names and with the same state, for LangGraph.js.
 *
 * Everything a resumed node does shows in the thread's state: `runs` counts how often a gate completed, the lists
 * `answers`, `done` and `steps` grow by one entry for each completed piece of work.
 */
import { AIMessage } from "@langchain/core/messages";
import {
  Annotation,
  END,
  GraphInterrupt,
  interrupt,
  MessagesAnnotation,
  NodeInterrupt,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { z } from "zod";

const sleep = (secs) => new Promise((resolve) => setTimeout(resolve, secs * 1000));
const growing = () => Annotation({ reducer: (before, more) => before.concat(more), default: () => [] });

/** A graph that runs its nodes, `{name: node}`, one after the other. */
const chain = (schema, nodes) => {
  const graph = new StateGraph(schema);
  const names = Object.keys(nodes);
  names.forEach((name) => graph.addNode(name, nodes[name]));
  [...names, END].forEach((name, i) => graph.addEdge(i ? names[i - 1] : START, name));
  return graph;
};

/** A graph that runs its nodes at the same time. */
const sideBySide = (schema, nodes) => {
  const graph = new StateGraph(schema);
  for (const [name, node] of Object.entries(nodes)) {
    graph.addNode(name, node).addEdge(START, name).addEdge(name, END);
  }
  return graph;
};

// --- ask, two, sub: one question, two in a row, one inside a subgraph

const Approval = Annotation.Root({ topic: Annotation, answer: Annotation, runs: Annotation, secs: Annotation });

const approve = async (state) => {
  const answer = interrupt({ question: `approve ${state.topic}?` });
  await new Promise((resolve) => setTimeout(resolve, (state.secs ?? 0) * 1000));
  return { answer, runs: (state.runs ?? 0) + 1 };
};

const confirm = (state) => {
  const answer = interrupt({ question: `really ${state.topic}?` });
  return { answer: [state.answer, answer], runs: (state.runs ?? 0) + 1 };
};

export const ask = chain(Approval, { approve }).compile();
export const two = chain(Approval, { approve, confirm }).compile();
export const sub = chain(Approval, { inner: ask }).compile();

// --- par: two questions at the same time

const Pair = Annotation.Root({ a: Annotation, b: Annotation, done: growing() });

export const par = sideBySide(Pair, {
  left: () => ({ a: interrupt({ question: "a?" }), done: ["a"] }),
  right: () => ({ b: interrupt({ question: "b?" }), done: ["b"] }),
}).compile();

// --- slow, slowask, twoinone, brk, errask, flakyask: work that takes time, breaks off or fails

const Work = Annotation.Root({ secs: Annotation, tag: Annotation, answers: growing() });

const work = async (state) => {
  await sleep(state.secs ?? 3);
  return { answers: ["worked"] };
};

const askThenWork = async (state) => {
  const answer = interrupt({ question: "go?" });
  await sleep(state.secs ?? 3);
  return { answers: [answer] };
};

const askTwice = () => ({ answers: [interrupt({ question: "first?" }), interrupt({ question: "second?" })] });

const askThenFail = () => {
  throw new Error(`failed after the answer ${JSON.stringify(interrupt({ question: "fail?" }))}`);
};

const failedOnce = new Set();

/** Fails on the first resume of each `tag` that this process sees, works from then on. */
const askThenFailOnce = (state) => {
  const answer = interrupt({ question: "try?" });
  const tag = state.tag ?? "";
  if (!failedOnce.has(tag)) {
    failedOnce.add(tag);
    throw new Error(`failed once after the answer ${JSON.stringify(answer)}`);
  }
  return { answers: [answer] };
};

export const slow = chain(Work, { work }).compile();
export const slowask = chain(Work, { ask: askThenWork }).compile();
export const twoinone = chain(Work, { ask: askTwice }).compile();
export const brk = chain(Work, {
  first: () => ({ answers: ["first"] }),
  second: () => ({ answers: ["second"] }),
}).compile({ interruptBefore: ["second"] });
export const errask = chain(Work, { ask: askThenFail }).compile();
export const flakyask = chain(Work, { ask: askThenFailOnce }).compile();

// --- noid, noids, byhand, beside, half: questions that nothing can answer, failures beside a question

const attempts = {};

/** How often this process has run a node for the state's `tag`, this time included. */
const attempt = (node, state) => {
  const key = `${node} ${state.tag ?? ""}`;
  attempts[key] = (attempts[key] ?? 0) + 1;
  return attempts[key];
};

/** Stops once with a question that has no id, and asks a real one when it runs again. */
const askWithoutId = (state) => {
  if (attempt("noid", state) === 1) throw new NodeInterrupt({ question: "continue?" });
  return { answers: [interrupt({ question: "really?" })] };
};

const askByHand = (state) => {
  if (attempt("byhand", state) === 1) throw new GraphInterrupt([{ id: "mine", value: { question: "continue?" } }]);
  return { answers: [interrupt({ question: "really?" })] };
};

const stopOnce = (node) => (state) => {
  if (attempt(node, state) === 1) throw new NodeInterrupt({ question: `${node}?` });
  return { answers: [node] };
};

const askBeside = () => ({ answers: [interrupt({ question: "beside?" })] });

const failTwice = async (state) => {
  await sleep(0.3);
  if (attempt("beside", state) <= 2) throw new Error("failed beside the question");
  return { answers: ["worked"] };
};

export const noid = chain(Work, { ask: askWithoutId }).compile();
export const byhand = chain(Work, { ask: askByHand }).compile();
export const noids = sideBySide(Work, { left: stopOnce("left"), right: stopOnce("right") }).compile();
export const beside = sideBySide(Work, { ask: askBeside, work: failTwice }).compile();
export const half = sideBySide(Work, { ask: askBeside, fail: askThenFail }).compile();

// --- msgs: a conversation

const draft = () => {
  const answer = interrupt({ action: "reply", draft: "hi there" });
  return { messages: [new AIMessage({ content: `answer: ${JSON.stringify(answer)}`, id: "ai-final" })] };
};

export const msgs = chain(MessagesAnnotation, { draft }).compile();

// --- steps: five events, 0.3 s apart

const Steps = Annotation.Root({ answer: Annotation, steps: growing() });

/** A node that takes 0.3 s and announces itself as a custom stream event. */
const step = (number) => async (_state, config) => {
  await sleep(0.3);
  config.writer?.({ step: number });
  return { steps: [number] };
};

export const steps = chain(Steps, {
  begin: () => ({ answer: interrupt({ question: "begin?" }) }),
  ...Object.fromEntries([1, 2, 3, 4, 5].map((number) => [`step${number}`, step(number)])),
}).compile();

// --- echo, cfg: what exactly arrived (`type` speaks of JSON types here, of Python types in graph.py)

const jsonType = (value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);

const Echo = Annotation.Root({ got: Annotation, type: Annotation, json: Annotation });
const Seen = Annotation.Root({ answer: Annotation, seen: Annotation });

const pick = (object, wanted) => Object.fromEntries(Object.entries(object ?? {}).filter(([key]) => wanted(key)));

const look = (_state, config) => ({
  answer: interrupt({ question: "look?" }),
  seen: {
    configurable: pick(config.configurable, (key) => ["flavour", "colour"].includes(key)),
    metadata: pick(config.metadata, (key) => key.startsWith("test_")),
    tags: config.tags ?? [],
    recursion_limit: config.recursionLimit,
  },
});

export const echo = chain(Echo, {
  echo: () => {
    const got = interrupt({ question: "what?" });
    return { got, type: jsonType(got), json: JSON.stringify(got) };
  },
}).compile();
export const cfg = chain(Seen, { look }).compile();

// --- typed, schema: questions that say what an answer looks like

const Choice = z.object({ decision: z.enum(["pay", "keep"]), amount: z.number().default(0) });

/** A node that asks for an answer of that shape, and fails when `amount` is 13 only after it was answered. */
const askWith = (responseSchema) => () => {
  const answer = interrupt({ question: "pay?" }, { responseSchema });
  if (answer?.amount === 13) throw new Error("failed after the answer");
  return { got: answer };
};

export const typed = chain(Echo, { ask: askWith(Choice) }).compile();
export const schema = chain(Echo, {
  ask: askWith({
    type: "object",
    properties: { decision: { enum: ["pay", "keep"] }, amount: { type: "number" } },
    required: ["decision"],
  }),
}).compile();
