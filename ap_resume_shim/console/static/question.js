// One question: what it asks, the controls that answer it, and the run that follows.

import { MODES, fill, holes, newKey, sendAnswer } from "./api.js";
import { button, h, isObject, shown, table, time, uid } from "./dom.js";
import { alternatives, boxes, editor, json, sentence, text } from "./editor.js";
import { runPanel } from "./run.js";
import { drawing, inferred } from "./schema.js";

export const KINDS = { text: "Text", confirm: "Confirmation", choice: "Choice", form: "Form", tool_approval: "Tool approval", any: "Question" };
const GONE = new Set(["interrupt_not_pending", "thread_not_interrupted", "thread_not_found", "interrupt_already_answered"]);
const SETTLE = 350; // milliseconds
const POSITIVE = new Set(["approve", "accept"]);
const VERBS = { edit: "Edit", reject: "Reject", respond: "Respond", response: "Respond", approve: "Approve", accept: "Accept", ignore: "Ignore" };
const verb = (name) => VERBS[name] ?? name;

export const title = ({ prompt, kind, actions }) => {
  if (prompt) return prompt;
  if (kind === "tool_approval" && actions.length) return actions.length === 1 ? `Call ${actions[0].name}?` : `Call ${actions.length} tools?`;
  return "The agent waits for an answer";
};

// `actions` of the page: changed(view), check(view), credentials(), next(view), say(text).
export function questionView(question, page) {
  const view = { question, phase: "open" };
  const heading = h("h2", { tabindex: -1, id: uid("title"), class: title(question).length > 120 ? "long" : null }, title(question));
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
  const controls = (CONTROLS[question.kind] ?? CONTROLS.any)(question, (choice) => send(fill(question.resume.body.input, choice)));
  fields.append(controls.element);

  function enter(phase) {
    view.phase = phase;
    fields.disabled = phase !== "open";
    answer.hidden = !["open", "sending"].includes(phase);
    view.element.setAttribute("aria-busy", phase === "sending");
    page.changed(view);
  }

  function tell(kind, head, message, ...more) {
    notice.className = `notice ${kind}`;
    notice.hidden = false;
    notice.replaceChildren(h("p", {}, head ? h("strong", { tabindex: -1 }, head, " ") : null, message), ...more);
  }

  // The phase changes before anything is awaited, so that a second click finds it changed. The same answer always has
  // the same key, so that a repetition cannot answer twice either.
  async function send(input) {
    if (view.phase !== "open") return;
    notice.hidden = true;
    enter("sending");
    page.say("Sending the answer.");
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
    page.say("The answer was accepted. The agent continues.");
    await panel.follow(response);
    enter("answered");
    page.say(panel.summary());
    panel.after(await page.after(view), () => page.next(view));
  }

  view.gone = (message) => {
    const losesFocus = view.phase === "sending" || view.element.contains(document.activeElement); // to what is hidden now
    tell("info", "No longer pending.", message, h("div", { class: "buttons" }, button("Next question", () => page.next(view), "primary")));
    enter("gone");
    page.say("");
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
    else if (code !== "invalid_answer" && status !== 422) more.push(button("Check whether it is still pending", () => page.check(view), ""));
    tell("bad", HEADS[code] ?? (status >= 500 ? "The answer was not confirmed." : "Not accepted."), message, ...more);
    page.say("");
    notice.querySelector("strong").focus();
  }

  view.note = (message) => tell("info", "", message);
  return view;
}

const HEADS = {
  invalid_answer: "The answer does not fit the question.",
  unauthorized: "The backend requires credentials.",
  forbidden: "The backend refuses these credentials.",
  no_connection: "Not sent, or not confirmed.",
};

// --- the controls of each kind: {element, show?}; `send` takes the choice that fills the holes of the answer

const CONTROLS = {
  confirm: buttons,
  choice: buttons,
  tool_approval: approvals,
  text: (question, send) => valueControls(text({ label: "Answer", rule: question.response_schema ?? true, root: question.response_schema ?? true }), send),
  form: schemaControls,
  any: (question, send) => (isObject(question.response_schema) ? schemaControls(question, send) : freeControls(send)),
};

function buttons(question, send) {
  if (!question.options.length) return CONTROLS.any(question, send);
  if (question.multiple) return several(question, send);
  const style = (index) => (question.kind === "confirm" && index === 0 ? "primary" : "");
  const all = question.options.map(({ label, answer }, index) => button(label, () => send({ value: answer }), style(index)));
  return { element: h("div", { class: question.kind === "choice" ? "buttons choices" : "buttons" }, all) };
}

// Several options may be chosen: their answers are lists, and the answer is all of them joined.
function several({ options }, send) {
  const control = boxes(options.map(({ label, answer }) => ({ label, value: answer })), { label: "Choose one or several", rule: { minItems: 1 }, root: true, optional: false });
  return valueControls(control, ({ value }) => send({ value: value.flat() }));
}

function valueControls(control, send, label = "Send answer") {
  const submit = () => sendValue(control, (value) => send({ value }));
  const element = h("div", { class: "fields" }, control.element, h("div", { class: "buttons" }, button(label, submit, "primary"), h("span", { class: "keys", "aria-hidden": "true" }, "Ctrl + Enter")));
  onShortcut(element, submit);
  return { element, show: control.show };
}

function sendValue(control, send) {
  const { value, problems } = control.read();
  if (control.show(problems)) control.focus();
  else send(value);
}

const onShortcut = (element, submit) =>
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    if (event.ctrlKey || event.metaKey || event.target.tagName === "INPUT") {
      event.preventDefault();
      submit();
    }
  });

function schemaControls({ form, response_schema }, send) {
  const schema = form ?? response_schema;
  return valueControls(isForm(schema) ? switchable(schema) : editor(schema), send);
}

const isForm = (schema) => drawing(schema, schema).type === "form";

// A form that may be left for JSON, and back where the form has a field for each member.
function switchable(schema, { value, rule = schema, label = "Answer as JSON" } = {}) {
  const asJson = (current) => json({ label, rule, root: rule, optional: false, value: current });
  return alternatives(editor(schema, { value }), asJson(value), ["Edit as JSON", "Edit as a form"], (isJson, current) =>
    isJson ? asJson(current) : covers(schema, current) ? editor(schema, { value: current }) : null,
  );
}

const covers = (schema, value) => isObject(value) && Object.keys(value).every((name) => Object.hasOwn(schema.properties ?? {}, name));

function freeControls(send) {
  const asJson = (value) =>
    json({ label: "Answer as JSON", rule: true, root: true, optional: false, value, advice: ". Write words in quotes, or answer with a text." });
  const asText = (value) => text({ label: "Answer as text", value });
  const control = alternatives(asJson(), asText(), ["Answer with a text instead", "Answer with JSON instead"], (isText, value) =>
    isText ? asText(shown(value)) : asJson(value),
  );
  return valueControls(control, send);
}

// --- tool approvals: one card for each call

function approvals(question, send) {
  const single = question.actions.length === 1;
  if (!question.actions.length) return CONTROLS.any(question, send);
  const isTitled = single && !question.prompt; // the title of the page names the tool
  const cards = question.actions.map((action) => approval(action, { single, isTitled }, (decision) => send({ decision, decisions: [decision] })));
  const element = h("div", { class: "actions" }, cards.map((card) => card.element));
  if (single) return { element };
  const error = h("p", { class: "error", role: "alert" });
  const submit = () => {
    const decided = cards.map((card) => card.decide());
    const missing = decided.findIndex((each) => each === null);
    error.textContent = cards.every((card) => card.isDecided()) ? "" : `Decide about each of the ${cards.length} calls.`;
    if (missing < 0) send({ decisions: decided.map(([decision]) => decision) });
    else cards[missing].focus();
  };
  element.append(error, h("div", { class: "buttons" }, button(`Send ${cards.length} decisions`, submit, "primary")));
  return { element };
}

function approval(action, { single, isTitled }, send) {
  const names = Object.keys(action.decisions);
  const description = action.description?.split(`\n\nTool: ${action.name}\nArgs: `)[0]; // LangChain's, which repeats the call
  const body = h("div", { class: "decision" });
  const args = h("div", {}, table(action.args));
  let [chosen, control] = [null, null];

  const decide = () => {
    if (chosen === null) return null;
    if (control === null) return [fill(action.decisions[chosen], {})];
    const { value, absent, problems } = control.read();
    if (control.show(problems)) {
      control.focus();
      return null;
    }
    return [fill(action.decisions[chosen], { [control.hole]: absent ? "" : value })];
  };
  const submit = () => {
    const decided = decide();
    if (decided) send(decided[0]);
  };
  const choose = (name) => {
    chosen = name;
    controls.forEach((each, index) => {
      each.setAttribute("aria-pressed", names[index] === name);
      each.classList.remove("primary");
    });
    control = decisionEditor(action, name);
    args.hidden = control?.hole === "args";
    body.replaceChildren(...(control ? [control.element] : []));
    if (single && !control) submit();
    else if (single) body.append(h("div", { class: "buttons" }, button(SUBMIT[name] ?? verb(name), submit, "primary")));
    control?.focus();
  };
  const controls = names.map((name) =>
    h("button", { type: "button", class: `button ${single && POSITIVE.has(name) ? "primary" : ""}`, "aria-pressed": "false", onclick: () => choose(name) }, verb(name)),
  );
  const label = h("h3", { id: uid("tool"), class: isTitled ? "hidden" : null }, h("code", {}, action.name));
  const element = h(
    "section",
    { class: "action", "aria-labelledby": label.id },
    label,
    description && h("p", { class: "description" }, description),
    args,
    h("div", { class: "buttons", role: "group", "aria-label": `Decision about ${action.name}` }, controls),
    body,
  );
  onShortcut(body, () => single && submit());
  return { element, decide, isDecided: () => chosen !== null, focus: () => (control ?? controls[0]).focus() };
}

const SUBMIT = { edit: "Send the edited call", reject: "Reject the call", respond: "Send the reply", response: "Send the reply" };

// The editor for the hole of a decision; null if it has none. The tool's name is not a hole: an edit cannot change it.
function decisionEditor(action, name) {
  const [hole] = holes(action.decisions[name]);
  if (hole === undefined) return null;
  if (hole === "args") return { ...argumentsEditor(action), hole };
  const isReply = name.startsWith("respon");
  return { ...text({ label: isReply ? "Reply" : "Reason", optional: !isReply }), hole };
}

function argumentsEditor({ args, args_schema: known }) {
  const schema = known ?? inferred(args);
  const rule = known ?? (isObject(args) ? { type: "object" } : true);
  const label = "Arguments as JSON";
  if (schema !== null && isForm(schema)) {
    if (covers(schema, args)) return switchable(schema, { value: args, rule, label });
  } else if (schema !== null) return editor(schema, { value: args, label: "Value" });
  return json({ label, rule, root: rule, optional: false, value: args });
}

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
  if (kind === "tool_approval" || !isObject(value)) return null;
  const rest = Object.entries(value).filter(([, item]) => item !== prompt);
  return rest.length ? h("div", { class: "context" }, table(Object.fromEntries(rest))) : null;
}

const raw = ({ value, response_schema: schema }) =>
  h(
    "details",
    { class: "raw" },
    h("summary", {}, "Question as JSON"),
    h("pre", { class: "value", tabindex: 0 }, JSON.stringify(value, null, 2)),
    schema === null || schema === undefined ? null : [h("p", { class: "hint" }, "Schema of the answer"), h("pre", { class: "value", tabindex: 0 }, JSON.stringify(schema, null, 2))],
  );

const list = (items) => (items.length ? h("ul", {}, items.map((item) => h("li", {}, item))) : "");
