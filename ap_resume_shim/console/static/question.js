// One question: what it asks, the controls that answer it, and the run that follows.

import { MODES, fill, newKey, sendAnswer } from "./api.js";
import { controlsOf } from "./controls.js";
import { button, h, isObject, table, time, uid } from "./dom.js";
import { sentence } from "./editor.js";
import { runPanel } from "./run.js";

export const KINDS = {
  text: "Text",
  confirm: "Confirmation",
  choice: "Choice",
  form: "Form",
  tool_approval: "Tool approval",
  any: "Question",
};
const GONE = new Set([
  "interrupt_not_pending",
  "thread_not_interrupted",
  "thread_not_found",
  "interrupt_already_answered",
]);
const SETTLE = 350; // milliseconds
const LONGEST = 600; // characters of a heading
const clipped = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);

// The ids of the questions that the server answers only together with this one; null if it can be answered alone.
export const together = ({ interrupt_id: id, resume: { body } }) =>
  id === null || "interrupt_id" in body ? null : Object.keys(body.input);

export const title = ({ prompt, kind, actions }) => {
  if (prompt) return clipped(prompt);
  if (kind === "tool_approval" && actions.length)
    return actions.length === 1 ? `Call ${actions[0].name}?` : `Call ${actions.length} tools?`;
  return "The agent waits for an answer";
};

// `page`: changed(view), check(view), collect(view), open(question), credentials(), next(view), after(view),
// announce(text).
export function questionView(question, page) {
  const view = { question, phase: "open" };
  const heading = h(
    "h2",
    { tabindex: -1, id: uid("title"), class: title(question).length > 120 ? "long" : null },
    title(question),
  );
  const notice = h("div", { class: "notice", hidden: true, role: "alert" });
  const fields = h("fieldset", { class: "plain", "aria-labelledby": heading.id });
  const run = h("div", {});
  const answer = h("form", { novalidate: true, onsubmit: (event) => event.preventDefault() }, fields);
  view.element = h(
    "article",
    { class: "question", "aria-labelledby": heading.id },
    h("header", {}, h("p", { class: "kind" }, KINDS[question.kind] ?? "Question"), heading, meta(question)),
    context(question),
    notice,
    answer,
    run,
    raw(question),
  );
  view.focus = () => heading.focus();
  // The second click of a double click must not answer a question that has just taken the place of another.
  view.settle = () => {
    answer.inert = true;
    setTimeout(() => (answer.inert = false), SETTLE);
  };

  let [sent, key] = [null, null];
  const controls = controlsOf(question, (choice) =>
    together(question) ? prepare(fill(question.answer, choice)) : send(fill(question.resume.body.input, choice)),
  );
  fields.append(controls.element);

  function enter(phase) {
    view.phase = phase;
    fields.disabled = phase !== "open";
    answer.hidden = !["open", "sending"].includes(phase);
    view.element.setAttribute("aria-busy", phase === "sending");
    page.changed(view);
  }

  function showNotice(kind, head, message, ...more) {
    notice.className = `notice ${kind}`;
    notice.hidden = false;
    notice.replaceChildren(
      h("p", {}, head ? h("strong", { tabindex: -1 }, head, " ") : null, message),
      ...more.filter(Boolean),
    );
  }

  // The page sends the answers to all questions at once, when it has the last one.
  function prepare(answer) {
    if (view.phase !== "open") return;
    view.prepared = { answer };
    const { input, missing } = page.collect(view);
    if (input) return send(input);
    showNotice(
      "info",
      "Not sent yet.",
      `The server accepts the answers to the ${together(question).length} questions of this thread only at once: answer the others, too.`,
      missing && h("div", { class: "buttons" }, button("Next question of this thread", () => page.open(missing), "primary")),
    );
    (notice.querySelector("button") ?? notice.querySelector("strong")).focus();
  }

  // The phase changes before anything is awaited, so that a second click finds it changed. The same answer always has
  // the same key, so that a repetition cannot answer twice either.
  async function send(input) {
    if (view.phase !== "open") return;
    notice.hidden = true;
    enter("sending");
    page.announce("Sending the answer.");
    const body = JSON.stringify({ ...question.resume.body, input, stream_mode: MODES, on_disconnect: "continue" });
    if (body !== sent) [sent, key] = [body, newKey()];
    let response;
    try {
      response = await sendAnswer(question, body, key);
    } catch (failure) {
      failed(failure);
      return;
    }
    enter("running");
    const panel = runPanel(input);
    run.replaceChildren(panel.element);
    panel.focus();
    page.announce("The answer was accepted. The agent continues.");
    await panel.follow(response);
    enter("answered");
    page.announce(panel.summary());
    panel.after(await page.after(view), () => page.next(view));
  }

  view.gone = (message) => {
    const losesFocus = view.phase === "sending" || view.element.contains(document.activeElement); // to what is hidden now
    showNotice(
      "info",
      "No longer pending.",
      message,
      h(
        "div",
        { class: "buttons" },
        button("Next question", () => page.next(view), "primary"),
      ),
    );
    enter("gone");
    page.announce("");
    if (losesFocus) notice.querySelector("strong").focus();
  };

  function failed(failure) {
    const { code, status, message, metadata } = failure;
    if (GONE.has(code) || metadata.resume_state === "consumed") return view.gone(message);
    enter("open");
    if (code === "invalid_answer") controls.show?.(metadata.problems ?? []);
    const more = [];
    if (code === "invalid_answer") more.push(list((metadata.problems ?? []).map(sentence)));
    if (status === 401 || status === 403) more.push(button("Set credentials", page.credentials, ""));
    else if (status === 0) more.push(h("p", {}, "If you send the same answer again, the agent receives it once."));
    else if (code !== "invalid_answer" && status !== 422)
      more.push(button("Check whether it is still pending", () => page.check(view), ""));
    showNotice(
      "bad",
      HEADS[code] ?? (status >= 500 ? "The answer was not confirmed." : "Not accepted."),
      message,
      ...more,
    );
    page.announce("");
    notice.querySelector("strong").focus();
  }

  view.note = (message) => showNotice("info", "", message);
  return view;
}

const HEADS = {
  invalid_answer: "The answer does not fit the question.",
  unauthorized: "The backend requires credentials.",
  forbidden: "The backend refuses these credentials.",
  no_connection: "Not sent, or not confirmed.",
};

// --- what surrounds the answer

function meta({ agent_id: agent, thread_id: thread, asked_at: asked, expires_at: expires }) {
  const entry = (name, value) => value && h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h(
    "dl",
    { class: "meta" },
    entry("Agent", agent),
    entry("Thread", h("code", {}, thread)),
    entry("Asked", asked && time(asked)),
    entry("Expires", expires && time(expires)),
  );
}

// What the question has besides its prompt.
function context({ kind, value, prompt }) {
  const isShown = kind === "tool_approval" || !isObject(value);
  const rest = isShown ? [] : Object.entries(value).filter(([, item]) => item !== prompt);
  const whole = prompt?.length > LONGEST && h("pre", { class: "value", tabindex: 0 }, prompt);
  return h("div", { class: "context" }, whole, rest.length > 0 && table(Object.fromEntries(rest)));
}

const raw = ({ value, response_schema: schema }) =>
  h(
    "details",
    { class: "raw" },
    h("summary", {}, "Question as JSON"),
    h("pre", { class: "value", tabindex: 0 }, JSON.stringify(value, null, 2)),
    schema === null || schema === undefined
      ? null
      : [
          h("p", { class: "hint" }, "Schema of the answer"),
          h("pre", { class: "value", tabindex: 0 }, JSON.stringify(schema, null, 2)),
        ],
  );

const list = (items) =>
  items.length
    ? h(
        "ul",
        {},
        items.map((item) => h("li", {}, item)),
      )
    : "";
