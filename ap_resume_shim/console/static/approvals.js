// Tool approvals: one card for each call, with the decisions that the agent allows.

import { fill, placeholders } from "./api.js";
import { button, content, h, isObject, table, uid } from "./dom.js";
import { covers, editor, isForm, json, onShortcut, switchable, text } from "./editor.js";
import { inferred } from "./schema.js";

const POSITIVE = new Set(["approve", "accept"]);
const VERBS = {
  edit: "Edit",
  reject: "Reject",
  respond: "Respond",
  response: "Respond",
  approve: "Approve",
  accept: "Accept",
  ignore: "Ignore",
};
const verb = (name) => VERBS[name] ?? name;

// The controls for a question with calls: {element}. `send` takes the choice that fills the placeholders of the answer.
export function approvals(question, send) {
  const single = question.actions.length === 1;
  const isTitled = single && !question.prompt; // the title of the page names the tool
  const cards = question.actions.map((action) =>
    approval(action, { single, isTitled }, (decision) => send({ decision, decisions: [decision] })),
  );
  const element = h(
    "div",
    { class: "actions" },
    cards.map((card) => card.element),
  );
  if (single) return { element };
  const error = h("p", { class: "error", role: "alert" });
  const submit = () => {
    const decided = cards.map((card) => card.decide());
    const missing = decided.findIndex((each) => each === null);
    error.textContent = cards.every((card) => card.isDecided())
      ? ""
      : `Decide about each of the ${cards.length} calls.`;
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
    return [fill(action.decisions[chosen], { [control.placeholder]: absent ? "" : value })];
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
    args.hidden = control?.placeholder === "args";
    body.replaceChildren(...(control ? [control.element] : []));
    if (single && !control) submit();
    else if (single) body.append(h("div", { class: "buttons" }, button(SUBMIT[name] ?? verb(name), submit, "primary")));
    control?.focus();
  };
  const controls = names.map((name) =>
    h(
      "button",
      {
        type: "button",
        class: `button ${single && POSITIVE.has(name) ? "primary" : ""}`,
        "aria-pressed": "false",
        onclick: () => choose(name),
      },
      verb(name),
    ),
  );
  const label = h("h3", { id: uid("tool"), class: isTitled ? "hidden" : null }, h("code", {}, action.name));
  const element = h(
    "section",
    { class: "action", "aria-labelledby": label.id },
    label,
    description && h("div", { class: "description" }, content(description)),
    args,
    h("div", { class: "buttons", role: "group", "aria-label": `Decision about ${action.name}` }, controls),
    body,
  );
  onShortcut(body, () => single && submit());
  return { element, decide, isDecided: () => chosen !== null, focus: () => (control ?? controls[0]).focus() };
}

const SUBMIT = {
  edit: "Send the edited call",
  reject: "Reject the call",
  respond: "Send the reply",
  response: "Send the reply",
};

// The editor for the placeholder of a decision; null if it has none. An edit cannot change the tool's name.
function decisionEditor(action, name) {
  const [placeholder] = placeholders(action.decisions[name]);
  if (placeholder === undefined) return null;
  if (placeholder === "args") return { ...argumentsEditor(action), placeholder };
  const isReply = name.startsWith("respon");
  return { ...text({ label: isReply ? "Reply" : "Reason", optional: !isReply }), placeholder };
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
