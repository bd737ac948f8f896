// `useStream` of LangGraph's React hooks, v1 and v2, in a page: a question with a button that answers it.
import { useStream as useStreamV1 } from '@langchain/langgraph-sdk/react';
import { useStream as useStreamV2 } from '@langchain/react';
import { createElement, useState } from 'react';
import { createRoot } from 'react-dom/client';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const until = async (happened, what) => {
  for (const start = Date.now(); Date.now() < start + 20000;) {
    const value = happened();
    if (value) return value;
    await sleep(20);
  }
  throw new Error(`it did not happen: ${what}`);
};

const named = (error) => `${error.constructor.name}: ${error.message}`;

const Page = ({ question, error, loading, start, answer }) => createElement('main', { className: loading ? 'loading' : 'idle' },
  createElement('button', { className: 'start', onClick: start }, 'Start'),
  question && createElement('button', { className: 'answer', onClick: answer }, question),
  error && createElement('p', { role: 'alert' }, named(error)));

const V1 = ({ url, graph, thread, noted }) => {
  const [threadId, setThreadId] = useState(thread);
  const onThreadId = (id) => { noted.thread = id; setThreadId(id); };
  const onError = (error) => void noted.reported.push(named(error));
  const stream = useStreamV1({ apiUrl: url, assistantId: graph, threadId, onThreadId, onError });
  return createElement(Page, {
    question: stream.interrupt?.value?.question,
    error: stream.error,
    loading: stream.isLoading,
    start: () => stream.submit({ topic: 'lunch' }),
    answer: () => stream.submit(undefined, { command: { resume: 'yes' } }),
  });
};

const V2 = ({ url, graph, thread, noted }) => {
  const [threadId, setThreadId] = useState(thread);
  const onThreadId = (id) => { noted.thread = id; setThreadId(id); };
  const stream = useStreamV2({ apiUrl: url, assistantId: graph, threadId, onThreadId });
  return createElement(Page, {
    question: stream.interrupt?.value?.question,
    error: stream.error,
    loading: stream.isLoading,
    start: () => stream.submit({ topic: 'lunch' }),
    answer: () => stream.respond('yes', { interruptId: stream.interrupt.id })
      .catch((error) => noted.reported.push(named(error))),
  });
};

const open = (version, given) => {
  const noted = { thread: given.thread, reported: [], alert: null };
  const place = document.body.appendChild(document.createElement('div'));
  const find = (selector) => place.querySelector(selector);
  const note = () => { noted.alert ??= find('[role=alert]')?.textContent ?? null; }; // a page may show it for a moment only
  new MutationObserver(note).observe(place, { subtree: true, childList: true, characterData: true });
  createRoot(place).render(createElement(version === 1 ? V1 : V2, { ...given, noted }));
  return { noted, find };
};

// Start a run in one tab, or open a `thread` that asks; click on its question in each tab, and return what they show.
// `taken` and `refused`: whether one of the clicks is expected to be. A page that leaves earlier cancels its run.
export const answer = async ({
  version, url, graph, thread = null, tabs = 1, clicks = 1, pause = 0, taken = true, refused = true,
}) => {
  const opened = [open(version, { url, graph, thread })];
  const shown = (tab) => until(() => tab.find('.answer'), 'the question is shown');
  if (!thread) {
    (await until(() => opened[0].find('.start'), 'the page is there')).click();
    await shown(opened[0]);
  }
  while (opened.length < tabs) opened.push(open(version, { url, graph, thread: opened[0].noted.thread }));
  const buttons = await Promise.all(opened.map(shown));
  const question = buttons[0].textContent;
  for (let click = 0; click < clicks; click += 1) {
    if (click && pause) await sleep(pause); // else both come before the page can hide the button
    buttons[click % tabs].click();
  }
  if (refused) await until(() => opened.some(({ noted }) => noted.reported.length), 'the hook reports an error');
  if (refused && tabs === clicks) await until(() => opened.some(({ noted }) => noted.alert), 'a page shows it');
  const over = ({ find }) => find('.idle') && find('.answer')?.textContent !== question;
  if (taken) await until(() => opened.some(over), 'a click is taken');
  return { thread: opened[0].noted.thread, tabs: opened.map(({ noted }) => noted) };
};
