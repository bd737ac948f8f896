// Elements and texts. Values are only ever text: nothing here takes HTML, and no attribute's name comes from data.

let ids = 0;

export const uid = (prefix) => `${prefix}-${++ids}`;

export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  const parts = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...parts.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

// Text with the characters that reorder what a person reads made visible: `exe.fdp` must not look like `pdf.exe`.
const visible = (text) =>
  text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (mark) => `[U+${mark.charCodeAt(0).toString(16).toUpperCase()}]`);

export const button = (text, onclick, style = "") =>
  h("button", { type: "button", class: `button ${style}`, onclick }, text);

// What a value is to a reader: strings without quotes, everything else as JSON.
export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

export const isObject = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value) && !JSON.isRawJSON?.(value);

const LONG = 1500; // characters; a longer text has a scroll bar of its own
export const content = (text) => (text.length > LONG ? h("pre", { class: "value", tabindex: 0 }, text) : text);

// The members of an object, one a row; another value alone.
export function table(value) {
  if (!isObject(value)) return h("pre", { class: "value", tabindex: 0 }, shown(value));
  const rows = Object.entries(value).map(([name, item]) =>
    h("div", {}, h("dt", {}, name), h("dd", { class: typeof item === "string" ? null : "code" }, content(shown(item)))),
  );
  return rows.length ? h("dl", { class: "table" }, rows) : h("p", { class: "hint" }, "No values.");
}

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export function time(text) {
  const date = new Date(text);
  if (Number.isNaN(date.valueOf())) return h("span", {}, text);
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, relative(date));
}

function relative(date) {
  const seconds = (date - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  return unit ? RELATIVE.format(Math.trunc(seconds / size), unit) : seconds > 0 ? "in a moment" : "just now";
}
