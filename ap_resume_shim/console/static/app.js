// The page: the list of pending questions, the question that is open, and the credentials.

import { Failure, hasCredentials, listQuestions, threadQuestions } from "./api.js";
import { openCredentials, watchCredentials } from "./credentials.js";
import { button, h, time } from "./dom.js";
import { KINDS, questionView, title, together } from "./question.js";

const $ = (id) => document.getElementById(id);
const REFRESH = 15_000; // milliseconds between refreshes, for each page that is loaded
const MOST_EMPTY = 4; // pages without a question that are passed over at once
const WIDE = matchMedia("(min-width: 56rem)");

const state = { questions: [], next: null, pages: 1, notes: [], listed: true, failure: null, loaded: null, turn: 0 };
const filter = { agent: "", thread: "" };
const views = new Map(); // by the key of their question
const answered = []; // views whose answer was accepted here
const agents = new Set();
let current = null;

const keyOf = ({ thread_id: thread, interrupt_id: id, value }) =>
  JSON.stringify([thread, id ?? ["without an id", value]]);
const pending = () =>
  state.questions.filter((question) => !["running", "answered"].includes(views.get(keyOf(question))?.phase));

// --- loading

async function load(pages = state.pages) {
  const turn = ++state.turn;
  state.isLoading = true;
  $("list").setAttribute("aria-busy", "true");
  let found;
  try {
    found = { ...(await (filter.thread ? readThread() : readPages(pages))), failure: null };
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    found = {
      failure,
      ...(failure.status === 401 || failure.status === 403 ? { questions: [], next: null, notes: [] } : {}),
    };
  }
  if (turn !== state.turn) return;
  Object.assign(state, found, { pages, loaded: Date.now(), isLoading: false });
  $("list").setAttribute("aria-busy", "false");
  state.questions.forEach(({ agent_id: agent }) => agent && agents.add(agent));
  dropOldViews();
  render();
  const isLost =
    current?.phase === "open" && !found.failure && !state.questions.some((each) => keyOf(each) === current.key);
  if (isLost) await check(current, { quiet: true });
}

async function readPages(pages) {
  const [questions, notes] = [new Map(), new Set()];
  let [page, cursor] = [null, null];
  const wants = (count) => count < pages || (questions.size === 0 && count < pages + MOST_EMPTY); // a page may be empty
  for (let count = 0; count === 0 || (cursor && wants(count)); count++) {
    page = await listQuestions({ agent: filter.agent, cursor });
    page.questions.forEach((question) => questions.set(keyOf(question), question)); // a page may overlap the one before
    page.notes.forEach((note) => notes.add(note));
    cursor = page.next;
  }
  return {
    questions: [...questions.values()].sort(byAge),
    next: cursor,
    notes: [...notes],
    listed: page.listed !== false,
  };
}

// Oldest first: some backends list the newest first. Questions without a time keep their place at the end.
function byAge({ asked_at: left }, { asked_at: right }) {
  const [first, second] = [left, right].map((text) => (text ? Date.parse(text) : Infinity));
  return first < second ? -1 : first > second ? 1 : 0;
}

async function readThread() {
  const { questions, notes } = await threadQuestions(filter.thread, filter.agent);
  return { questions, next: null, notes: notes ?? [], listed: true };
}

// A question may be asked again under the same id: then its view begins anew.
function dropOldViews() {
  for (const [key, view] of views) {
    const isListed = state.questions.some((question) => keyOf(question) === key);
    if (!isListed) delete view.prepared;
    if (view !== current && (isListed ? ["answered", "gone"].includes(view.phase) : view.phase === "gone"))
      views.delete(key);
  }
}

// --- the list

const rows = new Map(); // elements by key: a refresh leaves focus and scroll position where they are

function render() {
  const questions = pending();
  const items = questions.map((question) => row(question, views.get(keyOf(question))?.phase));
  place($("rows"), items);
  for (const key of rows.keys()) if (!questions.some((question) => keyOf(question) === key)) rows.delete(key);
  $("answered").hidden = answered.length === 0;
  place($("answered-rows"), answered.map(answeredRow));
  renderState(questions);
}

// Put these elements into a list. Those that are there already are not moved; if the one with the focus leaves, the next
// one gets it.
function place(list, items) {
  const before = [...list.children];
  const focused = before.findIndex((child) => child.contains(document.activeElement));
  before.filter((child) => !items.includes(child)).forEach((child) => child.remove());
  items.forEach(
    (item, index) => list.children[index] !== item && list.insertBefore(item, list.children[index] ?? null),
  );
  if (focused >= 0 && !before[focused].isConnected)
    list.children[Math.min(focused, items.length - 1)]?.firstElementChild.focus();
}

function row(question, phase) {
  const key = keyOf(question);
  if (!rows.has(key))
    rows.set(
      key,
      h("li", {}, h("button", { type: "button", class: "row", onclick: () => select(question, { focus: true }) })),
    );
  const item = rows.get(key);
  describe(
    item.firstElementChild,
    question,
    phase === "sending" ? "Sending" : (KINDS[question.kind] ?? "Question"),
    "",
    current?.key === key,
  );
  return item;
}

const PHASES = { running: ["Running", "running"], answered: ["Answered", "done"] };

function answeredRow(view) {
  view.row ??= h("li", {}, h("button", { type: "button", class: "row", onclick: () => show(view, { focus: true }) }));
  describe(view.row.firstElementChild, view.question, ...PHASES[view.phase], view === current);
  return view.row;
}

function describe(control, question, label, style, isCurrent) {
  const about = [question.agent_id, question.asked_at && time(question.asked_at)].filter(Boolean);
  control.replaceChildren(
    h("span", { class: "row-title" }, title(question)),
    h(
      "span",
      { class: "row-meta" },
      h("span", { class: `badge ${style}` }, label),
      about.map((each) => h("span", {}, each)),
    ),
  );
  if (isCurrent) control.setAttribute("aria-current", "true");
  else control.removeAttribute("aria-current");
}

function renderState(questions) {
  const { failure, next, listed, notes } = state;
  const count = `${questions.length}${next ? "+" : ""}`;
  $("count").replaceChildren(count, h("span", { class: "hidden" }, " pending"));
  $("count").hidden = failure !== null || !questions.length;
  document.title = questions.length ? `(${count}) Questions` : "Questions";
  $("more").hidden = !next;
  $("agents").replaceChildren(...[...agents].sort().map((agent) => h("option", { value: agent })));
  $("notes").replaceChildren(
    ...(failure ? [failureNote(failure)] : notes.map((note) => h("p", { class: "notice info" }, note))),
  );
  $("empty").hidden = failure !== null || questions.length > 0 || state.loaded === null;
  $("empty").textContent = emptyText(listed, next);
  $("placeholder").hidden = current !== null;
  renderAge();
}

function emptyText(listed, next) {
  if (!listed) return "Enter a thread to see its questions.";
  if (filter.thread) return "No question of this thread is pending.";
  return next ? "No question was found so far." : "No question is pending.";
}

function failureNote({ status, message }) {
  const isRefused = status === 401 || status === 403;
  const more = isRefused ? button("Set credentials", openCredentials, "primary") : button("Try again", () => load());
  const head = isRefused && !hasCredentials() ? "The backend requires credentials." : "The list could not be read.";
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, head), " ", message),
    h("div", { class: "buttons" }, more),
  );
}

function renderAge() {
  $("updated").replaceChildren(
    ...(state.loaded && !state.failure ? ["Updated ", time(new Date(state.loaded).toISOString())] : []),
  );
}

$("rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...$("list").querySelectorAll(".row")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
});

// --- the question that is open

function select(question, options) {
  const key = keyOf(question);
  if (!views.has(key) || views.get(key).phase === "gone") {
    const open = (other) => select(other, { focus: true });
    const page = { changed, check, collect, open, next, announce, after, credentials: openCredentials };
    const view = questionView(question, page);
    views.set(key, Object.assign(view, { key }));
  }
  show(views.get(key), options);
}

function show(view, { focus = false } = {}) {
  current = view;
  $("view").replaceChildren(view.element);
  view.settle();
  document.body.dataset.pane = "detail";
  render();
  if (focus) view.focus();
}

function changed(view) {
  if (view.phase === "gone") state.questions = state.questions.filter((question) => keyOf(question) !== view.key);
  if (view.phase === "running") {
    answered.unshift(view);
    state.questions.filter((question) => isBeside(view, question)).forEach((question) => views.delete(keyOf(question)));
    state.questions = state.questions.filter((question) => !isBeside(view, question));
  }
  render();
}

// True for another question that the same request answers.
const isBeside = ({ key, question: { thread_id: thread }, question }, other) =>
  other.thread_id === thread && keyOf(other) !== key && together(question)?.includes(other.interrupt_id);

// The answers to the questions that one request has to answer, as {input}; or {missing}: a question without one.
function collect(view) {
  const ids = together(view.question);
  const all = [view.question, ...state.questions.filter((question) => isBeside(view, question))];
  const prepared = new Map(all.map((question) => [question.interrupt_id, views.get(keyOf(question))?.prepared]));
  const missing = ids.find((id) => !prepared.get(id));
  if (missing !== undefined) return { missing: all.find((question) => question.interrupt_id === missing) };
  return { input: Object.fromEntries(ids.map((id) => [id, prepared.get(id).answer])) };
}

// Ask whether a question is still pending, and drop it if it is not.
async function check(view, { quiet = false } = {}) {
  try {
    const { status, questions } = await threadQuestions(view.question.thread_id, view.question.agent_id);
    if (view.phase !== "open") return;
    if (!questions.some((question) => keyOf(question) === view.key)) view.gone(GONE[status] ?? GONE.idle);
    else if (!quiet) view.note("The question is still pending. You can answer it.");
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (failure.code === "thread_not_found") view.gone(failure.message);
    else if (!quiet) view.note(failure.message);
  }
}

const GONE = {
  busy: "The thread is running: another answer was accepted.",
  interrupted: "It was answered elsewhere, or the agent asks something else by now.",
  idle: "It was answered elsewhere, or withdrawn.",
};

// After a run: what the same thread asks next, as [title, open].
async function after(view) {
  const { thread_id: thread, agent_id: agent } = view.question;
  views.delete(view.key);
  const asked = await threadQuestions(thread, agent).then(
    ({ questions }) => questions,
    () => [],
  );
  load();
  return asked.map((question) => [title(question), () => select(question, { focus: true })]);
}

function next() {
  const [question] = pending();
  if (question) return select(question, { focus: true });
  leave();
  $("empty").setAttribute("tabindex", "-1");
  $("empty").focus();
}

function leave() {
  const row = current && (rows.get(current.key) ?? current.row);
  current = null;
  document.body.dataset.pane = "list";
  $("view").replaceChildren();
  render();
  (row?.isConnected ? row.firstElementChild : $("agent")).focus();
}

const announce = (text) => ($("live").textContent = text);

// --- the page

function applyFilter() {
  const given = { agent: $("agent").value.trim(), thread: $("thread").value.trim() };
  if (given.agent === filter.agent && given.thread === filter.thread) return;
  Object.assign(filter, given);
  load(1);
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("thread") && !given.has("agent")) return;
  $("agent").value = given.get("agent") ?? "";
  $("thread").value = given.get("thread") ?? "";
  applyFilter();
}

$("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  applyFilter();
});
$("filter").addEventListener("change", applyFilter);
$("refresh").addEventListener("click", () => load());
$("more").addEventListener("click", async () => {
  const before = new Set(rows.keys());
  await load(state.pages + 1);
  const added = [...rows].find(([key]) => !before.has(key));
  (added?.[1].firstElementChild ?? $("more")).focus();
});
$("back").addEventListener("click", leave);
addEventListener("hashchange", readHash);

const isDue = () => !document.hidden && !state.isLoading && Date.now() - state.loaded >= REFRESH * state.pages;
const isRefused = () => [401, 403].includes(state.failure?.status);
setInterval(() => {
  renderAge();
  if (state.loaded !== null && isDue() && !isRefused()) load();
}, 5000);
document.addEventListener("visibilitychange", () => isDue() && !isRefused() && load());

// What was read and written with credentials that were forgotten leaves the page with them.
function forget() {
  views.clear();
  agents.clear();
  answered.length = 0;
  Object.assign(state, { questions: [], next: null, pages: 1, notes: [] });
  leave();
}

watchCredentials((forgotten) => {
  if (forgotten) forget();
  load();
});
document.body.dataset.pane = "list";
readHash();
await load();
if (WIDE.matches && current === null && pending().length) {
  select(pending()[0]);
}
