// Editors of one value each. All have {element, read, show, focus}: `read()` gives {value, problems}, with `absent` for
// an optional field that is empty; `show(problems)` marks the places, and returns whether one was marked.

import { button, h, isObject, shown, uid } from "./dom.js";
import { parse } from "./api.js";
import { drawing, problems as check } from "./schema.js";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

// An editor for a schema; without one, for any JSON.
export function editor(schema, { root = schema, value, label = null, optional = false, hint = null } = {}) {
  const { type, schema: rule, options } = drawing(schema, root);
  const given = {
    root,
    rule: schema ?? true,
    value: value === undefined ? rule?.default : value,
    label: label ?? rule?.title ?? "Answer",
    optional,
    hint: hint ?? (typeof rule?.description === "string" ? rule.description : null),
    nullable: optional ? false : nullable(schema),
  };
  if (type === "form") return form(rule, given, label === null);
  if (type === "choice") return options.length <= 4 ? radios(options, given) : select(options, given);
  if (type === "several") return rule.maxItems === 1 ? radios(options.map(listed), given) : boxes(options, given);
  if (type === "string")
    return line(given, { multiline: multiline(rule, given.value), type: inputOf(rule.format, given.value) });
  if (type === "number") return numeric(given);
  return json(given);
}

const INPUTS = { date: "date", email: "email", uri: "url" };
const inputOf = (format, value) =>
  format === "date" && value && !/^\d{4}-\d\d-\d\d$/.test(value) ? "text" : (INPUTS[format] ?? "text"); // which shows it
const listed = ({ label, value }) => ({ label, value: [value] });
const nullable = (schema) =>
  schema?.nullable === true ||
  [schema?.anyOf ?? []].flat().some((each) => each?.type === "null") ||
  [schema?.type ?? []].flat().includes("null");
const multiline = (rule, value) =>
  (typeof value === "string" && (/[\r\n]/.test(value) || value.length > 70)) ||
  rule?.maxLength > 200 ||
  rule?.contentMediaType !== undefined;

// A text without a schema.
export const text = (options) =>
  line({ rule: true, root: true, optional: false, ...options }, { multiline: true, type: "text" });

function line(given, { multiline, type }) {
  const control = multiline ? h("textarea", { rows: 3 }) : h("input", { type, autocomplete: "off" });
  control.value = given.value ?? "";
  const initial = control.value; // without what the control does not show, such as carriage returns
  const read = () => {
    if (control.validity.badInput) return wrong("is incomplete");
    const isGiven = typeof given.value === "string";
    if (isGiven && control.value === initial) return checked(given, given.value);
    return control.value !== "" || isGiven ? checked(given, control.value) : empty(given);
  };
  return field(given, control, read);
}

function numeric(given) {
  const control = h("input", { type: "text", inputmode: "decimal", autocomplete: "off" });
  control.value = given.value === undefined || given.value === null ? "" : shown(given.value);
  const read = () => {
    const written = control.value.trim();
    if (written === "") return empty(given);
    return NUMBER.test(written) ? checked(given, parse(written)) : wrong("has to be a number, such as 12 or 0.5");
  };
  return field(given, control, read);
}

export function json(given) {
  const control = h("textarea", {
    rows: 5,
    class: "code",
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
  });
  control.value = given.value === undefined ? "" : JSON.stringify(given.value, null, 2);
  const read = () => {
    if (control.value.trim() === "")
      return given.optional ? { absent: true, problems: [] } : wrong("is required, as JSON");
    try {
      return checked(given, parse(control.value));
    } catch (error) {
      return wrong(`is not valid JSON: ${error.message}${given.advice ?? ""}`);
    }
  };
  return field(given, control, read, { live: true });
}

function select(options, given) {
  const control = h("select", {}, h("option", { value: "" }, given.optional ? "Not set" : "Choose…"));
  options.forEach(({ label }, index) => control.append(h("option", { value: `${index}` }, label)));
  const chosen = options.findIndex(({ value }) => same(value, given.value));
  if (chosen >= 0) control.value = `${chosen}`;
  return field(given, control, () =>
    control.value === "" ? empty(given) : checked(given, options[control.value].value),
  );
}

function radios(options, given) {
  const name = uid("choice");
  const all = given.optional ? [...options, { label: "Not set", value: undefined }] : options;
  const inputs = all.map(({ value }) => {
    const input = h("input", { type: "radio", name, id: uid("option") });
    input.checked = same(value, given.value);
    return input;
  });
  const group = h(
    "div",
    { class: "pills" },
    inputs.map((input, index) => h("label", { class: "pill" }, input, h("span", {}, all[index].label))),
  );
  const read = () => {
    const chosen = all[inputs.findIndex((input) => input.checked)];
    return chosen === undefined || chosen.value === undefined ? empty(given) : checked(given, chosen.value);
  };
  return field(given, group, read, { focusable: inputs });
}

// Several of the options, as a list.
export function boxes(options, given) {
  const inputs = options.map(({ value }) => {
    const input = h("input", { type: "checkbox" });
    input.checked = Array.isArray(given.value) && given.value.some((item) => same(item, value));
    return input;
  });
  const group = h(
    "div",
    { class: "pills" },
    inputs.map((input, index) => h("label", { class: "pill" }, input, h("span", {}, options[index].label))),
  );
  const read = () => {
    const value = options.filter((_, index) => inputs[index].checked).map((option) => option.value);
    return given.optional && !value.length ? empty(given) : checked(given, value);
  };
  return field(given, group, read, { focusable: inputs });
}

function form(rule, given, outermost) {
  const required = new Set(Array.isArray(rule.required) ? rule.required : []);
  const parts = Object.entries(rule.properties).map(([name, property]) => {
    const value = given.value && Object.hasOwn(given.value, name) ? given.value[name] : undefined;
    const title = typeof property?.title === "string" ? property.title : name;
    return [name, editor(property, { root: given.root, value, label: title, optional: !required.has(name) })];
  });
  const general = h("p", { class: "error", role: "alert" });
  const content = [...parts.map(([, part]) => part.element), general];
  const element = outermost
    ? h("div", { class: "fields" }, content)
    : h("fieldset", { class: "fields group" }, h("legend", {}, given.label, mark(given)), hintOf(given), content);
  const read = () => {
    const found = [];
    const members = [];
    for (const [name, part] of parts) {
      const { value, absent, problems } = part.read();
      found.push(...problems.map(({ path, problem }) => ({ path: path ? `${name}.${path}` : name, problem })));
      if (!absent) members.push([name, value]);
    }
    if (given.optional && !members.length) return { absent: true, problems: [] };
    const value = Object.fromEntries(members);
    return { value, problems: found.length ? found : check(given.rule, value, given.root) };
  };
  const show = (problems) => {
    const rest = [...problems];
    let marked = false;
    for (const [name, part] of parts) {
      const mine = rest.filter(({ path }) => path === name || path.startsWith(`${name}.`));
      mine.forEach((each) => rest.splice(rest.indexOf(each), 1));
      marked = part.show(mine.map(({ path, problem }) => ({ path: path.slice(name.length + 1), problem }))) || marked;
    }
    general.textContent = rest.map(sentence).join(" ");
    return marked || rest.length > 0;
  };
  const focus = () => (parts.find(([, part]) => part.invalid()) ?? parts[0])?.[1].focus();
  return { element, read, show, focus, invalid: () => parts.some(([, part]) => part.invalid()) };
}

// The label, the hint, the control and its problem, connected for screen readers.
function field(given, control, read, { live = false, focusable = [control] } = {}) {
  const [id, hint, error] = [
    uid("field"),
    hintOf(given),
    h("p", { class: "error", id: uid("error"), "aria-live": "polite" }),
  ];
  const described = [hint?.id, error.id].filter(Boolean).join(" ");
  const isGroup = focusable[0] !== control;
  if (isGroup) control.setAttribute("aria-describedby", described);
  else {
    control.id = id;
    control.setAttribute("aria-describedby", described);
    if (!given.optional) control.setAttribute("aria-required", "true");
  }
  const element = isGroup
    ? h("fieldset", { class: "field" }, h("legend", {}, given.label, mark(given)), hint, control, error)
    : h("div", { class: "field" }, h("label", { for: id }, given.label, mark(given)), hint, control, error);
  let wasShown = live;
  const show = (problems) => {
    wasShown = true;
    error.textContent = problems.map(sentence).join(" ");
    focusable.forEach((each) =>
      problems.length ? each.setAttribute("aria-invalid", "true") : each.removeAttribute("aria-invalid"),
    );
    return problems.length > 0;
  };
  let waiting = 0;
  element.addEventListener("input", () => {
    clearTimeout(waiting);
    if (wasShown) waiting = setTimeout(() => show(read().problems), 250);
  });
  return {
    element,
    read,
    show,
    focus: () => (focusable.find((each) => each.checked) ?? focusable[0]).focus(),
    invalid: () => error.textContent !== "",
  };
}

// Two editors of the same value, of which one is shown: a form, or JSON; words, or JSON.
export function alternatives(first, second, names, convert) {
  let [current, other] = [first, second];
  const change = button(
    names[0],
    () => {
      const { value, problems } = current.read();
      [current, other] = [other, current];
      if (!problems.length && value !== undefined) {
        const replacement = convert(current === second, value);
        if (replacement !== null) {
          if (current === second) second = replacement;
          else first = replacement;
          current = replacement;
        }
      }
      change.textContent = current === second ? names[1] : names[0];
      holder.replaceChildren(current.element, change);
      current.focus();
    },
    "link",
  );
  const holder = h("div", { class: "alternatives" }, current.element, change);
  return {
    element: holder,
    read: () => current.read(),
    show: (problems) => current.show(problems),
    focus: () => current.focus(),
    invalid: () => current.invalid(),
  };
}

export const isForm = (schema) => drawing(schema, schema).type === "form";

// A form that may be left for JSON, and back where the form has a field for each member.
export function switchable(schema, { value, rule = schema, label = "Answer as JSON" } = {}) {
  const asJson = (current) => json({ label, rule, root: rule, optional: false, value: current });
  return alternatives(
    editor(schema, { value }),
    asJson(value),
    ["Edit as JSON", "Edit as a form"],
    (isJson, current) =>
      isJson ? asJson(current) : covers(schema, current) ? editor(schema, { value: current }) : null,
  );
}

// True if a form has a field for each member of a value.
export const covers = (schema, value) =>
  isObject(value) && Object.keys(value).every((name) => Object.hasOwn(schema.properties ?? {}, name));

// Ctrl + Enter sends, and Enter in a field of one line.
export const onShortcut = (element, submit) =>
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    if (event.ctrlKey || event.metaKey || event.target.tagName === "INPUT") {
      event.preventDefault();
      submit();
    }
  });

const checked = (given, value) => ({ value, problems: check(given.rule, value, given.root) });
const wrong = (problem) => ({ problems: [{ path: "", problem }] });
function empty(given) {
  if (given.optional) return { absent: true, problems: [] };
  if (given.nullable) return { value: null, problems: [] };
  return wrong("is required");
}
const same = (left, right) => left !== undefined && JSON.stringify(left) === JSON.stringify(right);
const mark = ({ optional }) => (optional ? h("span", { class: "optional" }, " optional") : null);
const hintOf = ({ hint }) => (hint ? h("p", { class: "hint", id: uid("hint") }, hint) : null);
export const sentence = ({ path, problem }) => `${path || "This"} ${problem}.`;
