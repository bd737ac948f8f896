// The controls of each kind of question: {element, show?}. `send` takes the choice for the placeholders of the answer.

import { approvals } from "./approvals.js";
import { button, h, isObject, shown } from "./dom.js";
import { alternatives, boxes, editor, isForm, json, onShortcut, switchable, text } from "./editor.js";

export function controlsOf(question, send) {
  const isUsable = question.kind !== "tool_approval" || question.actions.length;
  return ((isUsable && CONTROLS[question.kind]) || CONTROLS.any)(question, send);
}

const CONTROLS = {
  confirm: buttons,
  choice: buttons,
  tool_approval: approvals,
  text: (question, send) =>
    valueControls(
      text({ label: "Answer", rule: question.response_schema ?? true, root: question.response_schema ?? true }),
      send,
    ),
  form: schemaControls,
  any: (question, send) => (isObject(question.response_schema) ? schemaControls(question, send) : freeControls(send)),
};

function buttons(question, send) {
  if (!question.options.length) return CONTROLS.any(question, send);
  if (question.multiple) return several(question, send);
  const style = (index) => (question.kind === "confirm" && index === 0 ? "primary" : "");
  const all = question.options.map(({ label, answer }, index) =>
    button(label, () => send({ value: answer }), style(index)),
  );
  return { element: h("div", { class: question.kind === "choice" ? "buttons choices" : "buttons" }, all) };
}

// Several options may be chosen: their answers are lists, and the answer is all of them joined.
function several({ options }, send) {
  const control = boxes(
    options.map(({ label, answer }) => ({ label, value: answer })),
    { label: "Choose one or several", rule: { minItems: 1 }, root: true, optional: false },
  );
  return valueControls(control, ({ value }) => send({ value: value.flat() }));
}

function valueControls(control, send, label = "Send answer") {
  const submit = () => sendValue(control, (value) => send({ value }));
  const element = h(
    "div",
    { class: "fields" },
    control.element,
    h(
      "div",
      { class: "buttons" },
      button(label, submit, "primary"),
      h("span", { class: "keys", "aria-hidden": "true" }, "Ctrl + Enter"),
    ),
  );
  onShortcut(element, submit);
  return { element, show: control.show };
}

function sendValue(control, send) {
  const { value, problems } = control.read();
  if (control.show(problems)) control.focus();
  else send(value);
}

function schemaControls({ form, response_schema }, send) {
  const schema = form ?? response_schema;
  return valueControls(isForm(schema) ? switchable(schema) : editor(schema), send);
}

function freeControls(send) {
  const asJson = (value) =>
    json({
      label: "Answer as JSON",
      rule: true,
      root: true,
      optional: false,
      value,
      advice: ". Write words in quotes, or answer with a text.",
    });
  const asText = (value) => text({ label: "Answer as text", value });
  const control = alternatives(
    asJson(),
    asText(),
    ["Answer with a text instead", "Answer with JSON instead"],
    (isText, value) => (isText ? asText(shown(value)) : asJson(value)),
  );
  return valueControls(control, send);
}
